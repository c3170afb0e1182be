"""The page about runs that belong together: what they found in one sentence, the table, plots, pictures, protocols."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from launch.reports.columns import Arm, Column, arms, columns, lower_is_better
from launch.reports.document import Heading, Lead, Listing, Part, Picture, Table, Text
from launch.reports.pictures import BEGINNING, side_by_side
from launch.reports.plots import bars, lines
from launch.reports.published import Paper
from launch.reports.runs import Gathered, number
from launch.reports.values import Value
from networks.durations import duration

MOST_COLUMNS = 3   # of one figure; one with more protocols has a table of its own, a row each
# Pictures that show what a run does, the most telling first; others are taken by the alphabet ...
TELLING = ("inverted-held-out-images", "generated-images", "k-fold-on-the-labels", "contact_sheet", "edits",
           "samples")
# ... but for those that are the same in every arm, or are plots.
UNTOLD = ("labelled", "training-images", "classes-iou", "coverage", "label-curve", "course-")


@dataclass(frozen=True)
class Comparison:
    """Runs of one kind, what is shown of them, and what a paper found."""

    gathered: Gathered
    figures: tuple[str, ...]
    paper: Paper | None
    level: int = 1            # of the heading

    @property
    def arms(self) -> list[Arm]:
        """Every place of the grid."""
        return arms(self.gathered)

    @property
    def columns(self) -> list[Column]:
        """Every column that the finished runs need."""
        return columns(self.gathered.done, self.figures, () if self.paper is None else self.paper.varied)

    @property
    def together(self) -> list[Column]:
        """The columns that go into the table."""
        return [column for column in self.columns if column.figure not in self._scattered()]

    def _scattered(self) -> list[str]:
        names = [column.figure for column in self.columns]
        return [name for name in dict.fromkeys(names) if names.count(name) > MOST_COLUMNS]

    def parts(self) -> Iterator[Part]:
        """The page, from the sentence to the missing runs."""
        yield Heading(self._title(), self.level)
        yield Lead(self._lead())
        if self.paper is not None:
            yield Text(self.paper.question)
        if same := [f"{axis} {values[0]}" for axis, values in self.gathered.axes.items() if len(values) == 1]:
            yield Text(f"In all runs: {', '.join(same)}.")
        yield from self._plots()
        if self.together:
            yield self.table()
            yield Text("Mean ± standard deviation over the seeds; n is their number.")
        yield from self._absent()
        yield from self._unfinished()
        yield from self._pictures()
        for name in self._scattered():
            yield from self._scattered_table(name)
        yield from self._published()
        yield from self._protocols()
        yield from self._made()

    def _title(self) -> str:
        name = self.paper.title if self.paper is not None else self.gathered.experiment
        return f"{name} ({self.gathered.size})" if self.gathered.size else name

    def _lead(self) -> str:
        """What the first figure says, and how many runs say it."""
        done, every = len(self.gathered.done), len(self.gathered.runs)
        count = f"{done} of {every} runs {'is' if done == 1 else 'are'} done."
        if not self.columns:
            return count
        column = self.columns[0]
        found = [(arm, value) for arm in self.arms if (value := arm.value(column)) is not None]
        found.sort(key=lambda pair: pair[1].mean, reverse=not lower_is_better(column.figure))
        (best, top), (worst, bottom) = found[0], found[-1]
        if len(found) == 1:
            return f"{column.title} is {_over_seeds(top)}. {count}"
        return (f"{column.title} is best with {best.name}: {_over_seeds(top)}; it is worst with {worst.name}: "
                f"{bottom}{_chance(top, bottom)}. {count}")  # fmt: skip

    def table(self) -> Table:
        """An arm a row, a figure by one protocol a column, and beside it what was published by the same protocol."""
        axes = list(self.gathered.varied) or ["runs"]
        header, cells = [*axes], [[arm.at.get(axis, "all") for axis in axes] for arm in self.arms]
        for column in self.together:
            header.append(column.title)
            beside = self.paper.beside(column) if self.paper is not None else []
            for arm, row in zip(self.arms, cells, strict=True):
                value = arm.value(column)
                row.append("-" if value is None else _cell(value, len(arm.done)))
            if beside:
                header.append(f"{column.title}, published")
                for arm, row in zip(self.arms, cells, strict=True):
                    row.append(next((found.shown(column.figure) for found in beside if found.at == arm.at), "-"))
        for arm, row in zip(self.arms, cells, strict=True):
            row.append(str(len(arm.done)))
        best = frozenset(place for column in self.together for place in self._best(column, header.index(column.title)))
        return Table((*header, "n"), tuple(map(tuple, cells)), range(len(axes), len(header) + 1), best)

    def _best(self, column: Column, place: int) -> list[tuple[int, int]]:
        """The cell of a column that is best, where there are several."""
        found = {i: value.mean for i, arm in enumerate(self.arms) if (value := arm.value(column)) is not None}
        if len(found) < 2:
            return []
        return [((min if lower_is_better(column.figure) else max)(found, key=found.__getitem__), place)]

    def _scattered_table(self, name: str) -> Iterator[Part]:
        """A figure that nearly every arm has by a protocol of its own."""
        ours = [column for column in self.columns if column.figure == name]
        rows = [(arm.name, _cell(value, len(arm.done)), column.apart) for arm in self.arms for column in ours
                if (value := arm.value(column)) is not None]  # fmt: skip
        yield Heading(f"{name}, each by its own protocol", self.level + 1)
        yield Table(("runs", name, "measured on"), tuple(rows), figures=(1,))

    def _absent(self) -> Iterator[Part]:
        """Figures that were asked for and that no run has."""
        shown = {column.figure for column in self.columns}
        absent = [name for name in self.figures if name not in shown]
        if absent and self.gathered.done:
            known = sorted({name for run in self.gathered.done for name in run.measured.figures})
            yield Text(f"No run measured {', '.join(f'`{name}`' for name in absent)}; there are "
                       f"{', '.join(f'`{name}`' for name in known)}.")  # fmt: skip

    def _unfinished(self) -> Iterator[Part]:
        rows = [(run.name, run.status, run.reason or "-") for run in self.gathered.runs if run.measured is None]
        if rows:
            yield Heading("Not in the table", self.level + 1)
            yield Table(("run", "state", "why"), tuple(rows))

    def _plots(self) -> Iterator[Part]:
        """Each column over the axis that has an order, or else over the first one."""
        axes = self.gathered.varied
        if not axes:
            return
        ordered = [axis for axis, values in axes.items() if all(number(value) is not None for value in values)]
        axis = max(ordered or [next(iter(axes))], key=lambda name: len(axes[name]))
        for i, column in enumerate(self.together):
            series = self._series(column, axis)
            if sum(map(len, series.values())) < 2:
                continue  # a point alone tells less than the table
            published = self.paper.points(column, axis) if self.paper is not None else {}
            if ordered:
                by_number = {name: _numbers(points) for name, points in series.items()}
                image = lines(by_number, axis, column.figure, _numbers(published))
            else:
                image = bars(series, column.figure, published)
            said = f"{column.title} by {axis}; bars are standard deviations over the seeds."
            yield Picture(f"{i + 1}-{_file_name(column.title)}", image, said)

    def _series(self, column: Column, axis: str) -> dict[str, dict[str, Value]]:
        """Name of a series, from the other axes -> value on the axis -> figure."""
        found: dict[str, dict[str, Value]] = {}
        for arm in self.arms:
            value = arm.value(column)
            if value is not None and axis in arm.at:
                name = ", ".join(f"{other} {at}" for other, at in arm.at.items() if other != axis)
                found.setdefault(name, {})[arm.at[axis]] = value
        return found

    def _pictures(self) -> Iterator[Part]:
        found = representative(self.arms)
        if found is None:
            return
        name, files = found
        opened = {arm: Image.open(file) for arm, file in files.items()}
        height = None if self.paper is None else self.paper.height
        beside = side_by_side(opened, BEGINNING if height is None else (BEGINNING[0], height))
        yield Heading("What they look like", self.level + 1)
        yield Picture(_file_name(name), beside, f"The beginning of `{name}` of each arm's first seed.")

    def _published(self) -> Iterator[Part]:
        """The rows that must not stand beside ours, with what sets them apart."""
        rows = self.paper.apart(self.columns) if self.paper is not None else []
        if not rows:
            return
        axes = list(dict.fromkeys(axis for row in rows for axis in row.at))
        names = list(dict.fromkeys(name for row in rows for name in row.figures))
        yield Heading("Published, by other protocols", self.level + 1)
        yield Text("These are not comparable with the table above: they were measured on other images, or otherwise.")
        yield Table(
            (*axes, *names, "measured on", "source"),
            tuple((*(row.at.get(axis, "-") for axis in axes), *map(row.shown, names), str(row.protocol), row.source)
                  for row in rows),
            range(len(axes), len(axes) + len(names)),
        )  # fmt: skip

    def _protocols(self) -> Iterator[Part]:
        if not self.columns:
            return
        said: dict[str, list[str]] = {}
        for column in self.together:  # a figure in a table of its own has its protocols there
            for protocol in column.protocols:
                said.setdefault(str(protocol), []).append(f"`{column.title}`")
        beside = [row for column in self.columns for row in (self.paper.beside(column) if self.paper else [])]
        sources = list(dict.fromkeys(f"Published by the same protocol: {row.source}." for row in beside))
        yield Heading("Protocols", self.level + 1)
        yield Listing((*(f"{', '.join(names)}: {text}." for text, names in said.items()), *sources))

    def _made(self) -> Iterator[Part]:
        """On what and by what."""
        done = [run.measured for run in self.gathered.done]
        if not done:
            return
        seconds = [measured.seconds for measured in done if measured.seconds is not None]
        took = f"{duration(sum(seconds))} for {len(seconds)} runs, one after another" if seconds else "not known"
        machines = sorted({measured.hardware for measured in done})
        versions = sorted({measured.version for measured in done})
        yield Heading("How it was made", self.level + 1)
        yield Listing((
            f"Hardware: {'; '.join(machines)}.", f"Ganvas {', '.join(versions)}.", f"Time: {took}.",
            f"The first run: `{_anywhere(done[0].command, self.gathered.done[0].path.parent)}`",
        ))  # fmt: skip


def representative(of: Sequence[Arm]) -> tuple[str, dict[str, Path]] | None:
    """The picture that most arms have: its name, and the file of each arm's first finished run."""
    files = {arm.name: _files(arm.done[0].path) for arm in of if arm.done}
    names = sorted({name for found in files.values() for name in found if not name.startswith(UNTOLD)})
    if not names:
        return None
    order = {name: i for i, name in enumerate(TELLING)}
    count = {name: sum(name in found for found in files.values()) for name in names}
    name = min(names, key=lambda name: (-count[name], order.get(name, len(order)), name))
    return name, {arm: found[name] for arm, found in files.items() if name in found}


def _files(run: Path) -> dict[str, Path]:
    """A run's pictures by name; of one that was drawn again and again, such as samples-00008000, the last."""
    found = [*sorted((run / "images").glob("*.png")), *run.glob("contact_sheet.png")]
    return {re.sub(r"-\d{4,}$", "", file.stem): file for file in found}


def _anywhere(command: str, folder: Path) -> str:
    """A command without what says where it was run; what it read of its sweep's ``folder`` is named from there."""
    for place in dict.fromkeys((folder, folder.resolve())):
        command = command.replace(f"{place}/", "")
    return shlex.join(word for word in shlex.split(command) if not word.startswith(("out=", "wandb")))


def _over_seeds(value: Value) -> str:
    return f"{value} over {value.n} seed{'s' if value.n > 1 else ''}"


def _chance(one: Value, other: Value) -> str:
    """What keeps a difference of two arms from meaning anything, as the end of a sentence; nothing where it is clear.

    Example:
        >>> _chance(Value(0.5, None, 1), Value(0.4, 0.01, 2)), _chance(Value(0.5, 0.1, 3), Value(0.4, 0.3, 3))
        (', which one seed cannot tell from chance', ', which is within the deviation over the seeds')
        >>> _chance(Value(0.5, 0.01, 3), Value(0.4, 0.02, 3))
        ''
    """
    if one.deviation is None or other.deviation is None:
        return ", which one seed cannot tell from chance"
    within = abs(one.mean - other.mean) <= max(one.deviation, other.deviation)
    return ", which is within the deviation over the seeds" if within else ""


def _cell(value: Value, seeds: int) -> str:
    """A value; its number of seeds if it is not that of the row."""
    return str(value) if value.n == seeds else f"{value} (n={value.n})"


def _numbers(points: Mapping[str, Value]) -> dict[float, Value]:
    return {found: value for at, value in points.items() if (found := number(at)) is not None}


def _file_name(title: str) -> str:
    return re.sub(r"[^\w]+", "-", title).strip("-").lower()
