"""The record of a run: one directory that says what ran, how it went and what came out; opened again, the run goes on.

``runs/<experiment>/<time>/{config.yaml,command.txt,metrics.jsonl,report.md,figures.json,images/,checkpoints/,export/}``
"""

from __future__ import annotations

import json
import math
import os
import shlex
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from launch.figures import Figures, read_figures, values, write_figures
from launch.loggers import Cell, check_loggers, open_loggers
from launch.options import may_change
from networks.checkpoints.atomic import atomic_path
from networks.checkpoints.errors import GanvasError

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image


class RunRecord:
    """A run directory that is being written.

    Args:
        path: the directory, which exists and holds ``config.yaml``.
        cfg: the run's configuration.
        resumed: whether the directory had been written before.
        made: the folders that were made for it, the innermost first.
    """

    def __init__(self, path: Path, cfg: DictConfig, resumed: bool, made: Sequence[Path] = ()) -> None:
        self.path, self.resumed, self._made = path, resumed, made
        self.uses: dict[str, int] = {}  # option -> how much of it the work at hand can use; 0: none. The task says it
        self.images = path / "images"
        self.checkpoints = path / "checkpoints"
        self.export = path / "export"
        self.metrics = path / "metrics.jsonl"
        self.report = path / "report.md"
        for folder in (self.images, self.checkpoints, self.export):
            folder.mkdir(exist_ok=True)
        self._cfg, self._opened = cfg, time.monotonic()
        self._loggers = open_loggers(cfg, "train", path)

    @classmethod
    def open(cls, cfg: DictConfig) -> RunRecord:
        """Start the run that ``cfg`` describes, or go on with it where ``cfg.out`` holds it already.

        Raises:
            GanvasError: if ``cfg.out`` holds another run, naming the first key that differs, or is no run directory, or
                ``cfg.logger`` cannot be had.
        """
        check_loggers(cfg)
        path = Path(cfg.out) if cfg.out else _fresh_path(cfg.experiment or cfg.task.name)
        saved = path / "config.yaml"
        resumed = saved.exists()
        if resumed:
            _refuse_other_run(saved, cfg)
            for half in path.rglob(".*.part"):  # what a killed run was writing
                half.unlink()
        elif path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise GanvasError(f"{path} exists and is not a run directory: give another out=, or an empty folder.")
        made = [folder for folder in (path, *path.parents) if not folder.exists()]
        try:
            path.mkdir(parents=True, exist_ok=True)
            if not resumed:
                _write_whole(saved, OmegaConf.to_yaml(cfg))
            with (path / "command.txt").open("a") as file:
                file.write(cfg.command + "\n")
        except OSError as error:
            raise GanvasError(f"cannot write into {path}: {error.strerror}; give another out=.") from error
        return cls(path, cfg, resumed, made)

    @property
    def resume_command(self) -> str:
        """What to type to go on with this run."""
        words = [word for word in shlex.split(self._cfg.command) if not word.startswith("out=")]
        return shlex.join([*words, f"out={self.path}"])

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Add one line to ``metrics.jsonl`` (and to the loggers).

        Args:
            values: name -> figure; a figure that is not finite is written as null.
            step: the run's clock, e.g. images seen.
        """
        figures = {name: _json_number(value) for name, value in values.items()}
        line = json.dumps({"step": step, **figures}) + "\n"
        # One write to a file opened for appending: a killed run leaves whole lines.
        descriptor = os.open(self.metrics, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)
        self._loggers.scalars(values, step)

    def rewind(self, step: int) -> None:
        """Drop the lines after ``step``: a resumed run writes them again."""
        if self.metrics.exists():
            kept = [json.dumps(line) + "\n" for line in read_metrics(self.metrics) if line["step"] <= step]
            _write_whole(self.metrics, "".join(kept))
        if self.resumed:
            self._loggers.rewind(step)

    def image(self, name: str, picture: Image, step: int = 0) -> Path:
        """Keep a picture as ``images/<name>.png`` (and show it in the loggers).

        Returns:
            Where it lies; ``path.relative_to(record.path)`` is the link for ``report.md``.
        """
        path = self.images / f"{name}.png"
        with atomic_path(path) as temporary:
            picture.save(temporary, format="PNG")
        self._loggers.image(name, path, step)
        return path

    def overlays(
        self, name: str, images: np.ndarray, masks: Mapping[str, np.ndarray], classes: Sequence[str]
    ) -> None:
        """Show masks over their images in W&B, where each layer and class can be switched on and off.

        Args:
            name: of the set.
            images: ``uint8 [N, H, W, 3]``.
            masks: name of a layer -> class ids ``uint8 [N, H, W]``, 255 = ignore.
            classes: name of each class id.
        """
        self._loggers.overlays(name, images, masks, classes)

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
        """Show a table in the loggers; ``report.md`` has its own."""
        self._loggers.table(name, columns, rows)

    def write_report(self, markdown: str) -> None:
        """Write ``report.md``, whole or not at all."""
        _write_whole(self.report, markdown)

    def finish(self, figures: Figures) -> None:
        """Close the record with ``figures.json``, and print its last lines: the figures, the report and the bundles."""
        numbers = values(figures)
        if not self.report.exists():
            self.write_report(_plain_report(self._cfg, numbers))
        self._log_last(numbers)
        write_figures(self.path, "train", self._cfg, figures, self._seconds(), self._hardware())
        bundles = sorted(self.export.glob("*.safetensors"))
        self._loggers.finish(numbers, bundles)
        for name, value in numbers.items():
            print(f"{name}: {value:.4g}" if isinstance(value, float) else f"{name}: {value}")
        print(f"report: {self.report}")
        for bundle in bundles:
            print(f"bundle: {bundle}")

    def _seconds(self) -> float | None:
        """What the whole run took; None for one in several parts, whose pauses and losses nobody knows."""
        if not self.resumed:
            return time.monotonic() - self._opened
        done = read_figures(self.path)  # of a run that was finished before, and is opened once more
        return done.seconds if done else None

    def _hardware(self) -> str:
        from launch.hardware import device_of, machine  # here: they need torch, which a record does not

        return machine(device_of(self._cfg.trainer))

    def _log_last(self, figures: Mapping[str, float]) -> None:
        """Add the headline figures to the last line of ``metrics.jsonl``; again if a done run is opened again."""
        if not figures:
            return
        lines = list(read_metrics(self.metrics)) if self.metrics.exists() else []
        last = lines.pop() if lines else {"step": 0}
        last |= {name: _json_number(value) for name, value in figures.items()}
        _write_whole(self.metrics, "".join(json.dumps(line) + "\n" for line in [*lines, last]))

    @property
    def begun(self) -> bool:
        """Whether there is something to go on from: a checkpoint, a bundle or a report."""
        kept = [*self.checkpoints.glob("[!.]*"), *self.export.glob("[!.]*")]
        return bool(kept) or self.report.exists()

    def withdraw(self) -> None:
        """Remove a run that has not begun, so that ``out=`` is free for the corrected command.

        What somebody else put into the directory keeps all of it in place. What cannot be removed stays.
        """
        self.close()  # the loggers write until then
        ours = {"config.yaml", "command.txt", "metrics.jsonl", "images", "checkpoints", "export",
                "wandb", "tensorboard", "metrics.csv", "tables"}  # fmt: skip
        with suppress(OSError):
            foreign = {path.name for path in self.path.iterdir()} - ours
            if self.begun or foreign or any(self.images.iterdir()):
                return
            for name in ours:
                found = self.path / name
                shutil.rmtree(found) if found.is_dir() else found.unlink(missing_ok=True)
            for folder in self._made:
                folder.rmdir()  # fails where another run has moved in beside this one

    def close(self) -> None:
        """Let go of what an unfinished run holds open; after :meth:`finish` there is nothing to do."""
        self._loggers.close()


def read_metrics(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a ``metrics.jsonl``; one that a power cut left half-written is skipped."""
    for line in path.read_text().splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            continue


def _fresh_path(experiment: str) -> Path:
    base = Path("runs") / experiment / datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    tries = (base.with_name(f"{base.name}-{i}") if i > 1 else base for i in range(1, 1000))
    return next(path for path in tries if not path.exists())


def _refuse_other_run(saved: Path, cfg: DictConfig) -> None:
    before = flat(OmegaConf.load(saved))
    now = flat(OmegaConf.create(OmegaConf.to_yaml(cfg)))
    absent = object()
    for key in sorted(before.keys() | now.keys()):
        if not may_change(cfg, key) and before.get(key, absent) != now.get(key, absent):
            raise GanvasError(
                f"{saved.parent} holds a run with {key}={before.get(key)} and this one has {key}={now.get(key)}: "
                "give the same options to resume it, or another out=."
            )


def flat(node: Any, prefix: str = "") -> dict[str, Any]:
    """A configuration by dotted keys: ``{"a": {"b": 1}}`` -> ``{"a.b": 1}``; lists stay whole."""
    found: dict[str, Any] = {}
    for key, value in OmegaConf.to_container(node).items() if isinstance(node, DictConfig) else node.items():
        if isinstance(value, dict) and value:
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def _plain_report(cfg: DictConfig, figures: Mapping[str, float]) -> str:
    rows = [f"| {name} | {value} |" for name, value in figures.items()]
    table = ["| figure | value |", "|---|---|", *rows] if rows else []
    return "\n".join([f"# {cfg.experiment or cfg.task.name}", "", f"`{cfg.command}`", "", *table, ""])


def _json_number(value: float) -> float | int | None:
    number = value if isinstance(value, int) else float(value)
    return number if math.isfinite(number) else None


def _write_whole(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text)
