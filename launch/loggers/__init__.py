"""Where figures and pictures go beside the record: W&B, TensorBoard, a CSV file, any of them or none (``logger=``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from omegaconf import DictConfig

from launch.loggers.base import Cell, Guest, Logger, Loggers
from networks.checkpoints.errors import GanvasError

__all__ = ["LOGGERS", "Cell", "Logger", "Loggers", "check_loggers", "log_result", "open_loggers"]


def _wandb(cfg: DictConfig, verb: str, folder: Path) -> Logger:
    from launch.loggers.wandb_log import WandbLog

    return WandbLog(cfg, verb, folder)


def _tensorboard(cfg: DictConfig, _verb: str, folder: Path) -> Logger:
    from launch.loggers.tensorboard_log import TensorBoardLog

    return TensorBoardLog(cfg, folder)


def _csv(_cfg: DictConfig, _verb: str, folder: Path) -> Logger:
    from launch.loggers.csv_log import CsvLog

    return CsvLog(folder)


# Name in logger= -> what people call it, and what begins it.
LOGGERS: dict[str, tuple[str, Callable[[DictConfig, str, Path], Logger]]] = {
    "wandb": ("W&B", _wandb),
    "tensorboard": ("TensorBoard", _tensorboard),
    "csv": ("CSV", _csv),
}


def check_loggers(cfg: DictConfig) -> None:
    """Refuse what ``cfg.logger`` cannot mean, or what is not installed.

    Raises:
        GanvasError: naming what there is, or what to install.
    """
    for name in cfg.logger:
        if name not in LOGGERS and name != "none":
            raise GanvasError(f"logger={name} is not known: choose of {', '.join(LOGGERS)} and none.")
    if "none" in cfg.logger and len(cfg.logger) > 1:
        raise GanvasError(f"logger=[{','.join(cfg.logger)}] says both none and some: leave one out.")
    if "tensorboard" in cfg.logger and find_spec("tensorboard") is None:
        raise GanvasError("logger=tensorboard needs the package tensorboard: pip install 'ganvas[tensorboard]', or "
                          "choose logger=csv.")  # fmt: skip


def open_loggers(cfg: DictConfig, verb: str, folder: Path) -> Loggers:
    """The loggers that ``cfg.logger`` names; each begins with the first thing to log.

    Args:
        cfg: with ``logger`` and ``wandb``.
        verb: of the command, W&B's type of job.
        folder: where they write: the run directory.

    Raises:
        GanvasError: as :func:`check_loggers`.
    """
    check_loggers(cfg)
    names = [name for name in dict.fromkeys(cfg.logger) if name != "none"]
    if cfg.wandb.mode == "disabled":
        names = [name for name in names if name != "wandb"]
    return Loggers([Guest(LOGGERS[name][0], partial(LOGGERS[name][1], cfg, verb, folder)) for name in names])


def log_result(
    cfg: DictConfig, verb: str, folder: Path, figures: Mapping[str, float], pictures: Mapping[str, Path] | None = None,
    each: Sequence[Mapping[str, Cell]] = (), bundles: Sequence[Path] = (),
) -> None:  # fmt: skip
    """Log what a verb found that has nothing to tell before it is done.

    Args:
        cfg: with ``logger`` and ``wandb``.
        verb: of the command.
        folder: its ``out``.
        figures: by name.
        pictures: name -> file.
        each: rows of a table of single images, with the same names in each.
        bundles: what was written to be used.
    """
    loggers = open_loggers(cfg, verb, folder)
    loggers.scalars(figures, 0)
    for name, path in (pictures or {}).items():
        loggers.image(name, path, 0)
    if each:
        loggers.table("each", list(each[0]), [list(row.values()) for row in each])
    loggers.finish(figures, bundles)
    loggers.close()
