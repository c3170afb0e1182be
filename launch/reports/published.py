"""A paper's own rows beside ours: in the same table where the protocol is the same, else in one of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from omegaconf import DictConfig, OmegaConf

from launch.compose import choices_of, compose
from launch.figures import Protocol
from launch.reports.columns import ASPECTS, Column
from launch.reports.values import Value, digits

NEVER_THE_SAME = ("generator",)  # weights of two trainings differ, and a paper's have no hash


@dataclass(frozen=True)
class PublishedRow:
    """One row of a paper's table."""

    at: Mapping[str, str]
    figures: Mapping[str, float]
    deviations: Mapping[str, float]
    source: str
    protocol: Protocol

    def shown(self, figure: str) -> str:
        """A figure with its deviation, where the paper gives one; a dash where it gives neither."""
        if figure not in self.figures:
            return "-"
        value = self.figures[figure]
        known = self.deviations.get(figure)
        return digits(value) if known is None else f"{digits(value)} ± {digits(known, value)}"

    def differs(self, ours: Protocol) -> list[str]:
        """The aspects in which this protocol is another than ours."""
        return [name for name in ASPECTS if name not in NEVER_THE_SAME
                and getattr(self.protocol, name) != getattr(ours, name)]  # fmt: skip


@dataclass(frozen=True)
class Paper:
    """What a paper's experiment asks, and what the paper found."""

    title: str
    question: str
    rows: tuple[PublishedRow, ...]
    varied: tuple[str, ...] = ()   # aspects of protocols that the axes vary on purpose
    height: int | None = None      # pixels of each arm's picture that a page shows; None: as of all

    def beside(self, column: Column) -> list[PublishedRow]:
        """The rows that may stand beside a column of ours."""
        return [row for row in self.rows
                if column.figure in row.figures and not all(map(row.differs, column.protocols))]  # fmt: skip

    def apart(self, columns: list[Column]) -> list[PublishedRow]:
        """The rows that may not stand beside any of ours."""
        together = [row for column in columns for row in self.beside(column)]
        return [row for row in self.rows if row not in together]

    def points(self, column: Column, axis: str) -> dict[str, Value]:
        """The published values beside a column that lie on an axis."""
        return {
            row.at[axis]: Value(row.figures[column.figure], row.deviations.get(column.figure), 1)
            for row in self.beside(column) if axis in row.at
        }  # fmt: skip


def paper(experiment: str) -> Paper | None:
    """The paper's experiment of this name; None if ``experiment`` is none, or is no longer there."""
    if not experiment.startswith("paper/") or experiment not in choices_of("experiment"):
        return None
    found = compose("sweep", [f"experiment={experiment}"]).paper
    rows = tuple(_row(row) for row in found.published)
    return Paper(found.title, found.question, rows, tuple(found.varied), found.height)


def _row(row: DictConfig) -> PublishedRow:
    plain = OmegaConf.to_container(row, resolve=True)
    return PublishedRow(
        plain["at"], plain["figures"], plain["deviations"], plain["source"], Protocol(**plain["protocol"])
    )  # fmt: skip
