"""Resampling by 2 with a low-pass filter: the anti-aliased steps of StyleGAN2 (Karras et al. 2020, appendix B).

The general op inserts zeros, pads, filters and decimates. For an even number of taps, as in StyleGAN2, a step here is
exactly one depthwise (transposed) convolution, which PyTorch differentiates to any order.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def setup_filter(taps: Sequence[float] = (1, 3, 3, 1)) -> Tensor:
    """The separable filter as an outer product that sums to one, ``[len(taps), len(taps)]``.

    Example:
        >>> setup_filter([1, 1]).tolist()
        [[0.25, 0.25], [0.25, 0.25]]
    """
    f = torch.as_tensor(taps, dtype=torch.float32)
    f = torch.outer(f, f)
    return f / f.sum()


def _check(x: Tensor, f: Tensor, even: bool) -> None:
    if x.ndim != 4:
        raise ValueError(f"x must be [N, C, H, W], got {list(x.shape)}")
    if f.ndim != 2 or f.shape[0] != f.shape[1] or (even and f.shape[0] % 2):
        raise ValueError(f"f must be a square filter{' with an even side' if even else ''}, got {list(f.shape)}")


def _depthwise(f: Tensor, x: Tensor) -> Tensor:
    return f.to(x.dtype).expand(x.shape[1], 1, *f.shape)


def upsample2d(x: Tensor, f: Tensor) -> Tensor:
    """Twice the resolution: zero insertion, then the filter with gain 4 (``[N, C, H, W] -> [N, C, 2H, 2W]``)."""
    _check(x, f, even=True)
    k = _depthwise(f * 4, x)
    return F.conv_transpose2d(x, k, stride=2, padding=f.shape[0] // 2 - 1, groups=x.shape[1])


def downsample2d(x: Tensor, f: Tensor) -> Tensor:
    """Half the resolution: the filter, then every second sample (``[N, C, 2H, 2W] -> [N, C, H, W]``)."""
    _check(x, f, even=True)
    return F.conv2d(x, _depthwise(f.flip(0, 1), x), stride=2, padding=f.shape[0] // 2 - 1, groups=x.shape[1])


def filter2d(x: Tensor, f: Tensor, padding: int, gain: float = 1.0) -> Tensor:
    """Filter at one resolution, with ``padding`` zeros on each side."""
    _check(x, f, even=False)
    return F.conv2d(x, _depthwise(f.flip(0, 1) * gain, x), padding=padding, groups=x.shape[1])
