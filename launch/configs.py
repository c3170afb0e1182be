"""``ganvas configs``: the experiments that ``ganvas train`` and ``ganvas sweep`` know, one line each."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from launch.compose import GRIDS, choices_of
from launch.paths import CONF
from launch.schemas_paper import SIZES
from networks.checkpoints.errors import GanvasError


def run(cfg: DictConfig) -> None:
    """Print each experiment whose name contains ``cfg.match``: what it is, how long it takes, and what it needs.

    Raises:
        GanvasError: if none does.
    """
    names = [name for name in choices_of("experiment") if cfg.match in name]
    if not names:
        raise GanvasError(f"no experiment's name contains `{cfg.match}`: `ganvas configs` lists all.")
    width = max(map(len, names))
    for name in names:
        path = CONF / "experiment" / f"{name}.yaml"
        print(f"{name:<{width}}  {summary(path)} {sizes(path) if name.startswith(GRIDS) else cost(path)}")


def summary(path: Path) -> str:
    """The first comment of a configuration that is not a directive to Hydra."""
    return next(iter(_comments(path)), "")


def cost(path: Path) -> str:
    """What an experiment takes and needs, by its comment ``# Takes TIME; needs WHAT.``, as a sentence."""
    return next((line for line in _comments(path) if line.startswith("Takes ")), "")


def sizes(path: Path) -> str:
    """What each size of a paper's grid takes and needs."""
    found = OmegaConf.load(path).sizes
    return " ".join(f"size={name}: {_size(found[name])}." for name in SIZES if name in found)


def _size(size: DictConfig) -> str:
    minutes = size.get("minutes")
    takes = "unmeasured" if minutes is None else f"{minutes:g} minutes" if minutes >= 1 else f"{60 * minutes:g} seconds"
    return f"{takes}, {size.needs}"


def _comments(path: Path) -> list[str]:
    lines = (line.lstrip("# ").strip() for line in path.read_text().splitlines() if line.startswith("#"))
    return [line for line in lines if line and not line.startswith("@package")]
