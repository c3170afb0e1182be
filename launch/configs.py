"""``ganvas configs``: the experiments that ``ganvas train`` knows, one line each."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from launch.compose import choices_of
from launch.paths import CONF
from networks.checkpoints.errors import GanvasError


def run(cfg: DictConfig) -> None:
    """Print the name and the first comment line of each experiment whose name contains ``cfg.match``.

    Raises:
        GanvasError: if none does.
    """
    names = [name for name in choices_of("experiment") if cfg.match in name]
    if not names:
        raise GanvasError(f"no experiment's name contains `{cfg.match}`: `ganvas configs` lists all.")
    width = max(map(len, names))
    for name in names:
        print(f"{name:<{width}}  {summary(CONF / 'experiment' / f'{name}.yaml')}")


def summary(path: Path) -> str:
    """The first comment of a configuration that is not a directive to Hydra."""
    comments = (line.lstrip("# ").strip() for line in path.read_text().splitlines() if line.startswith("#"))
    return next((line for line in comments if line and not line.startswith("@package")), "")
