"""Figures of many runs in columns: a column is a figure by one protocol, so that unlike things never stand in one.

Two protocols that differ in data, split, number of images, feature network, generator or manner are two columns, each
named by what sets it apart. Only what a paper's axes vary on purpose, as its file says, parts no columns.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from launch.figures import Protocol
from launch.reports.runs import Gathered, Run
from launch.reports.values import Value

ASPECTS = ("data", "split", "images", "network", "generator", "how")
LOWER = ("kid", "fid", "ece", "perceptual", "lpips", "loss", "seconds", "memory", "leakage",
         "outside", "_error", "seam")  # in a name: less is better


@dataclass(frozen=True)
class Column:
    """A figure by one protocol."""

    figure: str
    protocols: tuple[Protocol, ...]   # one, but for what the axes vary
    apart: str = ""   # what sets the protocol apart from those of the figure's other columns

    @property
    def title(self) -> str:
        """What stands above it."""
        return f"{self.figure} ({self.apart})" if self.apart else self.figure


@dataclass(frozen=True)
class Arm:
    """One place of the grid, with its seeds."""

    at: Mapping[str, str]
    runs: tuple[Run, ...]     # finished or not

    @property
    def name(self) -> str:
        """Where it is, in words."""
        return ", ".join(f"{axis} {value}" for axis, value in self.at.items()) or "all"

    @property
    def done(self) -> tuple[Run, ...]:
        """The runs that measured something."""
        return tuple(run for run in self.runs if run.measured is not None)

    def value(self, column: Column) -> Value | None:
        """Mean and deviation over the seeds; None if no run has the figure by that protocol."""
        found = (run.measured.figures.get(column.figure) for run in self.done)
        numbers = [figure.value for figure in found if figure is not None and figure.protocol in column.protocols]
        finite = [value for value in numbers if math.isfinite(value)]
        if not finite:
            return None
        return Value(statistics.fmean(finite), statistics.stdev(finite) if len(finite) > 1 else None, len(finite))


def arms(gathered: Gathered) -> list[Arm]:
    """Every place of the grid that has runs, in the order of the axes' values."""
    places: dict[tuple[str, ...], list[Run]] = {}
    for run in gathered.runs:
        places.setdefault(tuple(run.at.get(axis, "-") for axis in gathered.varied), []).append(run)
    order = [place for place in product(*gathered.varied.values()) if place in places]
    order += [place for place in places if place not in order]
    return [Arm(dict(zip(gathered.varied, place, strict=True)), tuple(places[place])) for place in order]


def columns(runs: Iterable[Run], figures: Sequence[str], varied: Sequence[str] = ()) -> list[Column]:
    """The columns that the finished runs need, in the order of ``figures``, and the most common protocol first.

    Args:
        runs: finished or not.
        figures: their names.
        varied: aspects of protocols that the grid's axes vary on purpose: the rows say them, and the columns need not.
    """
    found: dict[str, dict[Protocol, Counter[Protocol]]] = {name: {} for name in figures}
    blank = dict.fromkeys(varied, "")
    for run in runs:
        for name, figure in (run.measured.figures if run.measured else {}).items():
            if name in found:
                found[name].setdefault(replace(figure.protocol, **blank), Counter())[figure.protocol] += 1
    return [
        Column(name, tuple(protocols), apart(alike, [*groups]))
        for name, groups in found.items()
        for alike, protocols in sorted(groups.items(), key=lambda group: -group[1].total())
    ]  # fmt: skip


def apart(protocol: Protocol, others: Sequence[Protocol]) -> str:
    """What a protocol says that not all of ``others`` do.

    Example:
        >>> few, many = (Protocol("avatars", "heldout", n, how="inverted") for n in (4, 300))
        >>> apart(few, [few, many]), apart(few, [few])
        ('4 images', '')
    """
    varied = [name for name in ASPECTS if len({getattr(other, name) for other in others}) > 1]
    return ", ".join(said(protocol, name) for name in varied)


def said(protocol: Protocol, aspect: str) -> str:
    """One aspect of a protocol in words."""
    value = getattr(protocol, aspect)
    match aspect:
        case "images":
            return "number of images unknown" if value is None else f"{value} image{'s' if value != 1 else ''}"
        case "generator":
            return "no generator between" if value is None else f"generator {value[:8]}"
        case "network":
            return value or "no network"
        case _:
            return value or f"no {aspect}"


def lower_is_better(figure: str) -> bool:
    """Whether a figure is of the kind that one wants small, by the words in its name."""
    return any(word in figure.lower() for word in LOWER)
