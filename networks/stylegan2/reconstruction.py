"""The loss of an encoder that is trained beside a GAN."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def pyramid_l1(x: Tensor, y: Tensor, levels: int = 3) -> Tensor:
    """Mean absolute difference of pixels and of their neighbour differences, summed over halved resolutions.

    Args:
        x, y: images ``[N, C, H, W]``.
        levels: resolutions compared: the images' own, half of it, and so on.

    Returns:
        A scalar.
    """
    total = x.new_zeros([])
    for level in range(levels):
        d = x - y
        edges = d.diff(dim=2).abs().mean() + d.diff(dim=3).abs().mean()
        total = total + d.abs().mean() + edges
        if level + 1 < levels:
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
    return total
