"""Losses of an encoder that is trained beside a GAN: reconstruction, and one distribution of codes.

Reconstructing real images gives the synthesis network a direct lesson on every one of them (Larsen et al. 2016, arXiv
1512.09300). The mapping network has to draw from the encoder's distribution of codes: the sliced Wasserstein distance
(Kolouri et al. 2018, arXiv 1804.01947) says how far off it is.
"""

from __future__ import annotations

import torch
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


def sliced_wasserstein(x: Tensor, y: Tensor, directions: int = 128) -> Tensor:
    """Squared sliced Wasserstein-2 distance of two samples of one size (Bonneel et al. 2015).

    Args:
        x, y: ``[N, D]``.
        directions: random directions that both are projected on.

    Returns:
        A scalar: the mean over directions of the mean squared distance of the sorted projections.

    Raises:
        ValueError: if the shapes differ.
    """
    if x.shape != y.shape or x.ndim != 2:
        raise ValueError(f"need two samples [N, D] of one shape, got {list(x.shape)} and {list(y.shape)}")
    theta = F.normalize(torch.randn(x.shape[1], directions, device=x.device), dim=0)
    return ((x @ theta).sort(dim=0).values - (y @ theta).sort(dim=0).values).square().mean()
