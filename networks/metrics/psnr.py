"""Peak signal-to-noise ratio."""

from __future__ import annotations

from torch import Tensor


def psnr(x: Tensor, y: Tensor) -> Tensor:
    """PSNR in dB of each image, ``[N, C, H, W]`` in [-1, 1] -> ``[N]``; infinite for equal images.

    Raises:
        ValueError: if the shapes differ.

    Example:
        >>> import torch
        >>> psnr(torch.ones(1, 3, 4, 4), torch.full((1, 3, 4, 4), 0.8)).item()
        20.0
    """
    if x.shape != y.shape:
        raise ValueError(f"images must have one shape, got {list(x.shape)} and {list(y.shape)}")
    peak = 2.0  # from -1 to 1
    return 10 * (peak**2 / (x - y).square().flatten(1).mean(1)).log10()
