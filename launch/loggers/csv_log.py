"""Figures as ``metrics.csv``, a row a step and a column a figure, and tables as ``tables/<name>.csv``."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from launch.loggers.base import Cell, Logger
from networks.checkpoints.atomic import atomic_path


class CsvLog(Logger):
    """Files that spreadsheets open.

    Args:
        folder: where they go; a ``metrics.csv`` that is there is gone on with.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._path = folder, folder / "metrics.csv"
        self._columns = ["step"]
        if self._path.exists():
            with self._path.open(newline="") as file:
                self._columns = next(csv.reader(file), self._columns)

    def rewind(self, step: int) -> None:
        self._write([row for row in self._rows() if float(row["step"]) <= step])

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        row = {"step": step, **values}
        new = [name for name in row if name not in self._columns]
        if new or not self._path.exists():
            rows = self._rows()
            self._columns += new
            self._write([*rows, row])
        else:
            with self._path.open("a", newline="") as file:
                csv.DictWriter(file, self._columns).writerow(row)

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
        with (
            atomic_path(self._folder / "tables" / f"{name}.csv") as temporary,
            temporary.open("w", newline="") as file,
        ):
            csv.writer(file).writerows([columns, *rows])

    def _rows(self) -> list[dict[str, Any]]:
        if not self._path.exists():
            return []
        with self._path.open(newline="") as file:
            # A line that a power cut left half-written is skipped.
            return [row for row in csv.DictReader(file) if None not in row and None not in row.values()]

    def _write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        with atomic_path(self._path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, self._columns)
            writer.writeheader()
            writer.writerows(rows)
