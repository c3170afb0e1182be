"""Results: what a section returns, the table for people, the JSON line, and the files that keep full runs."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks.settings import ROOT
from launch.hardware import cpu_name
from launch.reports.document import align
from networks.checkpoints.atomic import atomic_path

Figure = float | int | str | None

# What issue and README promise: name -> (comparison, bound).
TARGETS: dict[str, tuple[str, float]] = {
    "train_speedup_512": (">=", 25), "train_speedup_64": (">=", 2), "miou_gain": (">=", 5),
    "reference_gap_to_original": ("<=", 1), "labels_to_match_16": ("<=", 8), "memory_ratio_512": (">=", 20),
    "peak_gb_1024_train": ("<", 8), "peak_gb_1024_infer": ("<", 4),
    "infer_macs_ratio_512": (">=", 20), "infer_speedup_512": (">=", 10),
    "steps_ratio": (">=", 3), "step_memory_ratio": (">=", 3), "checkpoint_mb": ("<=", 15),
    "avatar_mapper_minutes": ("<=", 10), "eight_texts_over_one": ("<=", 5),
    "eight_texts_over_one_conditioned": ("<=", 2), "points_behind_bank": ("<=", 3),
    "points_behind_conditioned": ("<=", 3),
    "directions_ratio": (">=", 4), "directions_ratio_gradient": (">=", 20), "directions_agreement": (">=", 0.95),
}  # fmt: skip
GPU_TARGETS = {"steps_ratio": (">=", 5.0), "directions_ratio": (">=", 20.0)}  # where a GPU has others
NO_FIGURES = ("rows", "command", "hardware", "versions")  # of what `keep_rows` keeps


@dataclass(frozen=True)
class Result:
    """What a section measured."""

    figures: Mapping[str, Figure]                          # headline figures by name
    notes: Mapping[str, Any] = field(default_factory=dict)  # counts, parts and curves


def target(name: str, device: str = "cpu") -> tuple[str, float] | None:
    """What is promised of a figure on such a device; None where nothing is."""
    return (GPU_TARGETS if device == "cuda" and name in GPU_TARGETS else TARGETS).get(name)


def reached(name: str, value: Figure, device: str = "cpu") -> bool | None:
    """Whether a figure reaches its target; None where it has none or was not measured.

    Example:
        >>> reached("memory_ratio_512", 21.0), reached("peak_gb_1024_train", 9.0), reached("miou_default", 0.5)
        (True, False, None)
    """
    promised = target(name, device)
    if promised is None or not isinstance(value, (int, float)):
        return None
    how, bound = promised
    return {">=": value >= bound, "<=": value <= bound, "<": value < bound}[how]


def hardware(device: str) -> dict[str, Any]:
    """The machine, as far as it bears on a figure."""
    machine = {"cpu": cpu_name(), "cores": os.cpu_count(), "threads": torch.get_num_threads()}
    if device == "cuda":
        machine["gpu"] = torch.cuda.get_device_name()
    return machine


def versions() -> dict[str, str]:
    """Of what the figures depend on, and the commit where git knows it."""
    found = {"python": platform.python_version(), "torch": torch.__version__}
    ask = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(ask, cwd=ROOT, capture_output=True, text=True, check=False)
    return {**found, "commit": commit.stdout.strip()} if commit.returncode == 0 else found


def read_sections(path: Path) -> dict[str, Any]:
    """The sections kept by earlier runs; none if the file is not there or cannot be read."""
    try:
        return json.loads(path.read_text())["sections"]
    except (OSError, ValueError, KeyError):
        return {}


def summary(sections: Mapping[str, Any], failed: Mapping[str, str]) -> dict[str, Any]:
    """One object: every figure by name, then where each section's figures come from."""
    figures = {name: value for entry in sections.values() for name, value in entry["figures"].items()}
    return {**figures, "sections": dict(sections), "failed": dict(failed)}


def write(path: Path, title: str, sections: Mapping[str, Any], failed: Mapping[str, str]) -> None:
    """Keep the results as ``path`` (JSON) and beside it as Markdown."""
    texts = {
        path: json.dumps(summary(sections, failed), indent=1) + "\n",
        path.with_suffix(".md"): markdown(title, sections),
    }  # fmt: skip
    for target, text in texts.items():
        with atomic_path(target) as temporary:
            temporary.write_text(text)


def table(sections: Mapping[str, Any]) -> str:
    """The headline figures in columns."""
    rows = [("figure", "value", "target", "section")]
    for section, entry in sections.items():
        device = entry.get("settings", {}).get("device", "cpu")
        for name, value in entry["figures"].items():
            rows.append((name, show(value), _verdict(name, value, device), section))
    return align(rows)


def show(value: Any) -> str:
    """A figure with as many digits as mean something.

    Example:
        >>> show(1234.5), show(0.71234), show(2e-7), show(None), show([1, 2])
        ('1234', '0.712', '2e-07', '-', '1, 2')
    """
    if value is None:
        return "-"
    if isinstance(value, list):
        return ", ".join(map(show, value))
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def markdown(title: str, sections: Mapping[str, Any]) -> str:
    """The results page: the table, then each section with its protocol."""
    lines = [f"# {title}", "", table(sections), ""]
    for name, entry in sections.items():
        machine = ", ".join(f"{k} {v}" for k, v in {**entry["hardware"], **entry["versions"]}.items())
        lines += [f"## {name}", "", f"`{entry['command']}`, {entry['date']}, {entry['seconds']:.0f} s; {machine}.", ""]
        for key, value in entry["notes"].items():
            if _is_rows(value):
                lines += ["", f"{key}:", "", _columns(value), ""]
            else:
                lines.append(f"- {key}: {_flat(value)}")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def keep_rows(
    out: Path, title: str, command: str, rows: Sequence[Mapping[str, Any]], record: Mapping[str, Any],
    device: str = "cpu",
) -> None:  # fmt: skip
    """Print rows as a table and the whole as one JSON line, and keep both: ``out`` (JSON) and beside it Markdown.

    Args:
        out: the JSON file.
        title: of the page, and under it what was measured.
        command: as another machine would give it.
        rows: figures by name, the same names in each.
        record: headline figures and counts.
        device: ``cpu`` or ``cuda``.
    """
    machine = {"hardware": hardware(device), "versions": versions()}
    whole = {**record, "rows": [dict(row) for row in rows], "command": command, **machine}
    for path, text in {out: json.dumps(whole, indent=1), out.with_suffix(".md"): rows_page(title, whole)}.items():
        with atomic_path(path) as temporary:
            temporary.write_text(text + "\n")
    print(_columns(rows))
    print(json.dumps(whole))


def rows_page(title: str, whole: Mapping[str, Any]) -> str:
    """The Markdown of :func:`keep_rows` for what it keeps as JSON; a list of rows among the figures is a table, too."""
    machine = whole["hardware"], whole["versions"]
    record = {name: value for name, value in whole.items() if name not in NO_FIGURES}
    tables = {name: value for name, value in record.items() if _is_rows(value)}
    found = "\n".join(f"- {name}: {show(value)}" for name, value in record.items()
                      if not isinstance(value, dict) and name not in tables)  # fmt: skip
    words = ", ".join(f"{name} {value}" for part in machine for name, value in part.items())
    further = [f"{name}:\n\n{_columns(rows)}" for name, rows in tables.items()]
    return "\n\n".join([f"# {title}", _columns(whole["rows"]), found, *further, f"`{whole['command']}`; {words}."])


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _columns(rows: Sequence[Mapping[str, Any]]) -> str:
    return align([list(rows[0]), *[[show(value) for value in row.values()] for row in rows]]) if rows else "nothing"


def _flat(value: Any) -> str:
    return ", ".join(f"{k} {show(v)}" for k, v in value.items()) if isinstance(value, dict) else show(value)


def _verdict(name: str, value: Figure, device: str) -> str:
    promised = target(name, device)
    if promised is None:
        return ""
    how, bound = promised
    met = {True: "reached", False: "MISSED", None: "not measured"}[reached(name, value, device)]
    return f"{how} {bound:g} {met}"
