"""TensorBoard: figures, pictures and tables below ``<run>/tensorboard``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from launch.loggers.base import Cell, Logger
from networks.checkpoints.images import read_image


class TensorBoardLog(Logger):
    """One event file for each time that the run is started.

    Args:
        cfg: the run's configuration, shown as text.
        folder: the run directory.
    """

    def __init__(self, cfg: DictConfig, folder: Path) -> None:
        self._cfg, self._folder = cfg, folder
        self._last = 0
        self._open: Any = None

    def rewind(self, step: int) -> None:
        self._open = self._begin(step + 1)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        self._last = step
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def image(self, name: str, path: Path, step: int) -> None:
        self._writer.add_image(name, read_image(path), step)

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
        lines = [columns, ["---"] * len(columns), *rows]
        self._writer.add_text(name, "\n".join(_line(row) for row in lines))

    def finish(self, figures: Mapping[str, float | str], bundles: Sequence[Path]) -> None:
        for name, value in figures.items():
            if not isinstance(value, str):
                self._writer.add_scalar(f"headline/{name}", value, self._last)

    def close(self) -> None:
        if self._open is not None:
            self._open.close()

    @property
    def _writer(self) -> Any:
        if self._open is None:
            self._open = self._begin(None)
        return self._open

    def _begin(self, purge: int | None) -> Any:
        from torch.utils.tensorboard import SummaryWriter  # here: the package behind it is optional

        writer = SummaryWriter(str(self._folder / "tensorboard"), purge_step=purge)
        writer.add_text("config", "".join(f"    {line}\n" for line in OmegaConf.to_yaml(self._cfg).splitlines()))
        return writer


def _line(cells: Sequence[Cell]) -> str:
    return "| " + " | ".join("" if cell is None else str(cell) for cell in cells) + " |"
