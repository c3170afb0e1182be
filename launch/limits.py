"""What a configuration must keep to before anything is loaded or drawn."""

from __future__ import annotations

from collections.abc import Mapping

from omegaconf import DictConfig, OmegaConf

from networks.checkpoints.errors import GanvasError


def require_at_least(cfg: DictConfig, minima: Mapping[str, float]) -> None:
    """Refuse the first of ``minima``, by dotted keys, that is not kept; null is what a key stands at when left out.

    Raises:
        GanvasError: naming the key and the least it may be.
    """
    for key, least in minima.items():
        value = OmegaConf.select(cfg, key)
        if value is not None and not value >= least:  # nan is not, either
            raise GanvasError(f"{key}={value} must be at least {least}.")


def several_devices(cfg: DictConfig) -> bool:
    """Whether ``cfg.trainer`` asks for more than one device, or for all that there are."""
    return cfg.trainer.devices != 1 or cfg.trainer.num_nodes != 1


def require_one_device(cfg: DictConfig) -> None:
    """Refuse several devices where each would do the same work.

    Raises:
        GanvasError: naming what to use.
    """
    if several_devices(cfg):
        raise GanvasError(f"task={cfg.task.name} trains on one device: use trainer=cpu or trainer=gpu.")
