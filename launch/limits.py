"""What a configuration must keep to before anything is loaded or drawn."""

from __future__ import annotations

from collections.abc import Mapping

from omegaconf import DictConfig, ListConfig, OmegaConf

from networks.checkpoints.errors import GanvasError

LARGEST = 3.4028234663852886e38   # that 32 bits hold

def require_at_least(cfg: DictConfig, minima: Mapping[str, float]) -> None:
    """Refuse the first of ``minima``, by dotted keys, that is not kept; null is what a key stands at when left out.

    Raises:
        GanvasError: naming the key and the least it may be.
    """
    for key, least in minima.items():
        value = OmegaConf.select(cfg, key)
        if value is not None and not value >= least:  # nan is not, either
            raise GanvasError(f"{key}={value} must be at least {least}.")


def require_finite(cfg: DictConfig, *keys: str) -> None:
    """Refuse the first of these dotted keys that is nan, or larger than networks can hold, or that lists such a number.

    Raises:
        GanvasError: naming the key and what it is.
    """
    for key in keys:
        value = OmegaConf.select(cfg, key)
        numbers = value if isinstance(value, ListConfig) else [value]
        if not all(is_finite(number) for number in numbers):
            raise GanvasError(f"{key}={value} must be finite: give numbers that are neither nan nor inf, nor as large "
                              "as such.")  # fmt: skip


def is_finite(number: float) -> bool:
    """Whether it is a finite number in 32 bits, too."""
    return abs(number) <= LARGEST   # nan is not, either


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
