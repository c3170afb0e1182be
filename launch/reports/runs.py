"""Runs as they lie on disk, gathered for a report: what each measured, or why it has nothing to show.

A sweep's folder says itself which jobs it has. In any other folder a run is a folder with a ``config.yaml``; runs of
one experiment belong together, and the options that tell them apart are their axes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from yaml import YAMLError

from launch.figures import Measured, read_figures
from launch.options import options
from launch.record import flat
from launch.schemas import VERBS, group_schemas
from launch.sweep_state import DONE, STOPPED, Sweep
from networks.checkpoints.errors import GanvasError

MOST_AXES = 4  # more options than that tell nobody which run is meant: runs then go by their names
UNREADABLE = "unreadable"


@dataclass(frozen=True)
class Run:
    """One run, finished or not."""

    name: str                         # its folder, from the one that was asked for
    path: Path
    at: Mapping[str, str]             # axis -> value
    seed: str
    status: str                       # of launch.sweep_state, or unreadable
    reason: str = ""                  # why it is not done, in a sentence, where that is known
    measured: Measured | None = None  # what it measured, if it is done


@dataclass(frozen=True)
class Gathered:
    """Runs that one table can hold."""

    experiment: str             # what they are runs of
    runs: tuple[Run, ...]
    axes: Mapping[str, tuple[str, ...]]   # name -> values in their order
    size: str = ""              # of a sweep
    figures: tuple[str, ...] = ()        # what a sweep's table shows

    @property
    def varied(self) -> dict[str, tuple[str, ...]]:
        """The axes with more than one value."""
        return {axis: values for axis, values in self.axes.items() if len(values) > 1}

    @property
    def done(self) -> tuple[Run, ...]:
        """The runs that measured something."""
        return tuple(run for run in self.runs if run.measured is not None)


def gather(folder: Path) -> list[Gathered]:
    """All runs of a folder, those that belong together in one piece.

    Raises:
        GanvasError: if there is no such folder, it holds no runs, or a sweep of another format.
    """
    if not folder.is_dir():
        raise GanvasError(f"runs={folder} is no folder: give a sweep's folder, or one that holds runs.")
    sweeps = sorted(file.parent for file in folder.rglob("sweep.json"))
    found = [*map(_of_sweep, sweeps), *_of_folder(folder, sweeps)]
    if not found:
        raise GanvasError(f"runs={folder} holds no runs: give a sweep's folder, or one with runs, which have a "
                          "config.yaml each.")  # fmt: skip
    return found


def _of_sweep(folder: Path) -> Gathered:
    sweep = Sweep(folder)
    record = sweep.record()
    runs = []
    for job in record["jobs"]:
        run = Run(job["name"], sweep.run_of(job["name"]), job["at"], str(job["seed"]), STOPPED)
        try:
            state = sweep.status(job["name"])
            measured = read_figures(run.path) if state.status == DONE else None
            runs.append(replace(run, status=state.status, reason=state.reason, measured=measured))
        except GanvasError as error:
            runs.append(replace(run, status=UNREADABLE, reason=str(error)))
    return Gathered(record["experiment"] or folder.name, tuple(runs), _axes([run.at for run in runs], in_order=True),
                    record["size"], tuple(record["figures"]))  # fmt: skip


def _of_folder(folder: Path, sweeps: Sequence[Path]) -> list[Gathered]:
    """The runs that belong to none of ``sweeps``."""
    kinds: dict[str, list[tuple[Run, dict[str, str]]]] = {}
    lost: list[Run] = []
    paths = sorted(file.parent for file in folder.rglob("config.yaml") if _is_run(file.relative_to(folder)))
    for path in (path for path in paths if not any(path.is_relative_to(sweep) for sweep in sweeps)):
        run = _run(path.relative_to(folder).as_posix(), path)
        try:
            config = _config(path / "config.yaml")
        except (OSError, ValueError, YAMLError, GanvasError) as error:
            lost.append(replace(run, status=UNREADABLE, reason=f"config.yaml cannot be read: {_one_line(error)}"))
            continue
        verb = run.measured.verb if run.measured else "unfinished"
        kinds.setdefault(config.get("experiment") or config.get("task.name") or verb, []).append((run, config))
    found = [_alike(kind, entries) for kind, entries in sorted(kinds.items())]
    return [*found, Gathered("runs that cannot be read", tuple(lost), {})] if lost else found


def _run(name: str, path: Path) -> Run:
    """A run that lies by itself; whether it goes on somewhere nobody knows."""
    try:
        measured = read_figures(path)
    except GanvasError as error:
        return Run(name, path, {}, "", UNREADABLE, str(error))
    if measured is not None:
        return Run(name, path, {}, "", DONE, measured=measured)
    older = (path / "report.md").exists()
    why = "it has no figures.json, as runs of older versions: its command writes one" if older else (
        "it is not finished: its command goes on with it")  # fmt: skip
    return Run(name, path, {}, "", STOPPED, why)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _config(path: Path) -> dict[str, str]:
    """A run's options by dotted keys, as text.

    Raises:
        GanvasError: if it is no configuration.
    """
    found = OmegaConf.load(path)
    if not isinstance(found, DictConfig):
        raise GanvasError(f"{path} is no configuration: its run is lost, start it again.")
    return {key: "" if value is None else str(value) for key, value in flat(found).items()}


def _is_run(config: Path) -> bool:
    """Whether a ``config.yaml`` is a run's own; W&B keeps one of its own deeper inside."""
    return not {"wandb", "checkpoints", "export"} & set(config.parts[:-1])


def _alike(kind: str, entries: Sequence[tuple[Run, dict[str, str]]]) -> Gathered:
    """Runs of one kind, placed by the options that differ among them."""
    seeds = sorted({key for _, config in entries for key in config if key.rpartition(".")[2].endswith("seed")})
    keys = _telling([config for _, config in entries], [*seeds, *_free()])
    varied = [key for key in seeds if len({config.get(key) for _, config in entries}) > 1]
    runs = []
    for run, config in entries:
        at = {"run": run.name} if keys is None else {key: config.get(key, "-") for key in keys}
        seed = "/".join(config.get(key, "-") for key in varied) or config.get("seed", "")
        runs.append(replace(run, at=at, seed=seed))
    return Gathered(kind, tuple(runs), _axes([run.at for run in runs], in_order=False))


def _telling(configs: Sequence[Mapping[str, str]], leave_out: Sequence[str]) -> list[str] | None:
    """The options that tell configurations apart, as few as do; None if they are too many.

    Options go together, such as a head's kind and its width. One that tells no more of them apart is left out; names
    are asked before numbers, options near the root before those deep inside.
    """

    def outside(key: str) -> bool:
        return not any(f"{key}.".startswith(f"{left}.") for left in leave_out)

    every = {key for config in configs for key in config if outside(key)}
    differ = [key for key in every if len({config.get(key) for config in configs}) > 1]
    differ.sort(key=lambda key: (key.rpartition(".")[2] not in ("kind", "name"), key.count("."), key))
    kept: list[str] = []
    groups = 1
    for key in differ:
        finer = len({tuple(config.get(k) for k in [*kept, key]) for config in configs})
        if finer > groups:
            kept.append(key)
            groups = finer
    return kept if len(kept) <= MOST_AXES else None


def _free() -> list[str]:
    """Options that no figure depends on: where a run lies and is logged, on what it runs, what it is called."""
    found = {"command", "experiment"}
    for verb, schema in VERBS.items():
        found |= {item.name for item in fields(schema) if item.metadata.get("free")} | {"out", "device"}
        for group, choices in group_schemas(verb).items():
            for choice in choices.values():
                found |= {key for key, item in options(choice, f"{group}.") if item.metadata.get("free")}
    return sorted(found)


def _axes(places: Sequence[Mapping[str, str]], in_order: bool) -> dict[str, tuple[str, ...]]:
    """Axis -> its values: numbers by size, words as they come or by the alphabet."""
    found: dict[str, tuple[str, ...]] = {}
    for axis in dict.fromkeys(axis for place in places for axis in place):
        values = list(dict.fromkeys(place[axis] for place in places if axis in place))
        if all(number(value) is not None for value in values):
            values.sort(key=lambda value: number(value) or 0.0)
        elif not in_order:
            values.sort()
        found[axis] = tuple(values)
    return found


def number(text: str) -> float | None:
    """The number that ``text`` is, if it is one.

    Example:
        >>> number("1e-3"), number("linear"), number("true")
        (0.001, None, None)
    """
    try:
        return float(text)
    except ValueError:
        return None
