"""Values that a configuration derives from others: ``${auto:NAME,RESOLUTION}``.

The rules are those of ``cfg=auto`` in the ADA paper's code for one GPU (Karras et al. 2020b, arXiv 2006.06676).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from omegaconf import OmegaConf


def _batch_size(resolution: int) -> int:
    """As many images as fit: 32 up to 128x128, 16 at 256x256, 4 at 1024x1024."""
    return max(min(4096 // resolution, 32), 1)


# Resolution -> the value.
AUTO: Mapping[str, Callable[[int], float]] = {
    "batch_size": _batch_size,
    "ema_halflife": lambda resolution: _batch_size(resolution) * 10_000 / 32,
    "lr": lambda resolution: 2.0e-3 if resolution >= 1024 else 2.5e-3,
    "channel_base": lambda resolution: 32768 if resolution >= 512 else 16384,
    "mbstd_group_size": lambda resolution: min(_batch_size(resolution), 4),
}


def auto(name: str, resolution: int) -> float:
    """One value by its name.

    Raises:
        ValueError: if there is no such name, or no resolution.

    Example:
        >>> auto("batch_size", 256)
        16
    """
    if name not in AUTO or not isinstance(resolution, int) or resolution < 1:
        raise ValueError(f"auto knows {', '.join(AUTO)} of a resolution, got {name} of {resolution}")
    return AUTO[name](resolution)


def register() -> None:
    """Tell OmegaConf of ``${auto:…}``."""
    OmegaConf.register_new_resolver("auto", auto, replace=True)
