"""Improved precision and recall of samples (Kynkaanniemi et al. 2019, arXiv 1904.06991)."""

from __future__ import annotations

import torch
from torch import Tensor

NEIGHBOURS = 3  # k, as in the paper


def neighbour_radii(features: Tensor, k: int = NEIGHBOURS, rows: int = 1000) -> Tensor:
    """Distance of each vector to its k-th nearest other one, ``[N, D] -> [N]``; holds ``rows x N`` distances at once.

    Raises:
        ValueError: if there are not more than ``k`` vectors.
    """
    if features.ndim != 2 or k < 1 or len(features) <= k:
        raise ValueError(f"need features [N > {k}, D] for neighbour {k}, got {list(features.shape)}")
    # The nearest of all is the vector itself.
    return torch.cat([torch.cdist(part, features).kthvalue(k + 1, dim=1).values for part in features.split(rows)])


def covered(points: Tensor, centres: Tensor, radii: Tensor, rows: int = 1000) -> Tensor:
    """Which points lie in at least one ball (equation 1), ``[M, D], [N, D], [N] -> bool [M]``."""
    return torch.cat([(torch.cdist(part, centres) <= radii).any(1) for part in points.split(rows)])


def precision_recall(
    real: Tensor,           # features of real images, [N, D]
    fake: Tensor,           # features of generated images, [M, D]
    k: int = NEIGHBOURS,    # a set's manifold: balls around its vectors that reach to the k-th neighbour
    rows: int = 1000,       # vectors whose distances are held at once
) -> tuple[float, float]:
    """Share of samples on the manifold of the images, and of images on that of the samples (equation 2).

    Raises:
        ValueError: if a set has not more than ``k`` vectors, or the widths differ.
    """
    if real.shape[1:] != fake.shape[1:]:
        raise ValueError(f"features must have one width, got {list(real.shape)} and {list(fake.shape)}")
    # float64: distances come from a matrix product, whose rounding must stay far below the smallest radius.
    real, fake = real.double(), fake.double()
    precision = covered(fake, real, neighbour_radii(real, k, rows), rows)
    recall = covered(real, fake, neighbour_radii(fake, k, rows), rows)
    return precision.double().mean().item(), recall.double().mean().item()
