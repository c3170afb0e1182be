"""Images of any size and number of channels in the form that perceptual critics see."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional as F

SIZES = (32, 256)  # pixels a side: smaller images are enlarged, larger ones averaged down, by whole factors


def for_critic(images: Tensor) -> Tensor:
    """``[N, C, R, R]`` to ``[N, 3, r, r]`` with r in ``SIZES``; one channel stands for all three.

    Example:
        >>> import torch
        >>> for_critic(torch.zeros(1, 1, 1024, 1024)).shape
        torch.Size([1, 3, 256, 256])
    """
    size, (low, high) = images.shape[-1], SIZES
    images = F.avg_pool2d(images, size // high) if size > high else enlarged(images, low)
    return images.expand(-1, 3, -1, -1)


def enlarged(images: Tensor, least: int) -> Tensor:
    """``[N, C, R, R]`` with each pixel repeated by the smallest whole factor that gives ``least`` pixels a side."""
    size = images.shape[-1]
    return images if size >= least else F.interpolate(images, scale_factor=math.ceil(least / size))
