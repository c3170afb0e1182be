"""What a verb measured: ``<out>/figures.json``, each figure with the protocol that makes it one.

The only writer and the only reader of that file, which lies beside ``config.yaml`` and appears when the work is done:
a folder with it is finished.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from launch.version import ganvas_version
from networks.checkpoints.atomic import atomic_path
from networks.checkpoints.errors import GanvasError

FILE, FORMAT = "figures.json", 1


class Source(NamedTuple):
    """Where images come from: the part of a protocol that is known before anything is measured."""

    data: str        # which images, e.g. "rendered avataaars with exact masks"
    split: str = ""  # which part of them, and by which draw: "split heldout, seed 0"

    def __str__(self) -> str:
        return f"{self.data} ({self.split})" if self.split else self.data


@dataclass(frozen=True)
class Protocol:
    """What a figure was measured on, and how. Figures with equal protocols may stand in one column."""

    data: str                     # as Source has it
    split: str                    # as Source has it
    images: int | None            # how many; None where a figure is quoted whose source does not say it
    network: str | None = None    # feature network or critic of the metric
    generator: str | None = None  # hash of the frozen generator that stands between; None where it is what is measured
    how: str = ""                 # what else must agree, e.g. "inverted in 60 steps"
    text: str = field(default="", compare=False)  # all of it in one sentence, for people

    def __str__(self) -> str:
        if self.text:
            return self.text
        count = "" if self.images is None else f"{self.images} "
        parts = [f"{count}{Source(self.data, self.split)}", self.how, self.network or ""]
        return ", ".join(part for part in parts if part)


class Figure(NamedTuple):
    """A number and what it is of."""

    value: float
    protocol: Protocol


Figures = Mapping[str, Figure]


@dataclass(frozen=True)
class Measured:
    """What ``figures.json`` holds."""

    verb: str
    experiment: str | None
    figures: dict[str, Figure]
    command: str
    version: str                # of Ganvas
    seconds: float | None       # the whole command took; None for a run in several parts
    hardware: str
    each: list[dict[str, Any]]  # figures of single images, where the verb has them


def values(figures: Figures) -> dict[str, float]:
    """The numbers alone."""
    return {name: figure.value for name, figure in figures.items()}


def all_by(protocol: Protocol, numbers: Mapping[str, float]) -> dict[str, Figure]:
    """Figures of one protocol."""
    return {name: Figure(value, protocol) for name, value in numbers.items()}


def write_figures(
    folder: Path, verb: str, cfg: DictConfig, figures: Figures, seconds: float | None, hardware: str,
    each: Sequence[Mapping[str, Any]] = (),
) -> Path:  # fmt: skip
    """Write ``figures.json``, whole or not at all; a figure that is not finite is written as null.

    Args:
        folder: where the verb wrote everything else.
        verb: its name.
        cfg: its configuration.
        figures: by name; none of a verb that had nothing to measure on.
        seconds: that the command took; None if that is not known.
        hardware: what it ran on.
        each: figures of single images by name.

    Raises:
        GanvasError: if the file cannot be written.
    """
    record = {
        "format": FORMAT, "verb": verb, "experiment": OmegaConf.select(cfg, "experiment"),
        "figures": {name: _json_number(figure.value) for name, figure in figures.items()},
        "protocols": {name: asdict(figure.protocol) for name, figure in figures.items()},
        "command": cfg.command, "version": ganvas_version(), "seconds": seconds, "hardware": hardware,
        **({"each": [dict(row) for row in each]} if each else {}),
    }  # fmt: skip
    with atomic_path(folder / FILE) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n")
    return folder / FILE


def write_config(folder: Path, cfg: DictConfig) -> None:
    """Write ``config.yaml``, for verbs that keep no other record.

    Raises:
        GanvasError: if it cannot be written.
    """
    with atomic_path(folder / "config.yaml") as temporary:
        temporary.write_text(OmegaConf.to_yaml(cfg))


def read_figures(folder: Path) -> Measured | None:
    """What the work in ``folder`` measured; None if it is not finished.

    Raises:
        GanvasError: if the file is damaged, or of another format.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text())
        if found["format"] != FORMAT:
            raise GanvasError(f"{path} is of format {found['format']} and this version reads {FORMAT}: run its command "
                              "again in another folder, or use the version that wrote it.")  # fmt: skip
        figures = {
            name: Figure(math.nan if value is None else value, Protocol(**found["protocols"][name]))
            for name, value in found["figures"].items()
        }
        return Measured(
            found["verb"], found["experiment"], figures, found["command"], found["version"], found["seconds"],
            found["hardware"], found.get("each", []),
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise GanvasError(f"{path} is damaged ({error}): delete it and run the command again.") from error


def _json_number(value: float) -> float | int | None:
    number = value if isinstance(value, int) else float(value)
    return number if math.isfinite(number) else None
