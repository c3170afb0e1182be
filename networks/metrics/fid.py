"""Frechet distance between two sets of features (Heusel et al. 2017, arXiv 1706.08500, equation 6).

"FID" where the features are Inception's; a figure names its network, for figures of two networks do not compare.
"""

from __future__ import annotations

import torch
from torch import Tensor


def fid(real: Tensor, fake: Tensor) -> float:
    """``|m_x - m_y|^2 + tr(C_x + C_y - 2 (C_x C_y)^(1/2))`` of the sets' means and covariances, ``[N, D], [M, D]``.

    With ``C = A^T A``, the eigenvalues of ``(C_x C_y)^(1/2)`` are the singular values of ``A_x A_y^T``. So there is no
    root of a general matrix, whose rounding is complex, nothing is added to the diagonal where a set has fewer vectors
    than dimensions, and no covariance is formed, which would square the condition number.

    The distance is biased, the more the smaller the sets: compare figures of one size only.

    Raises:
        ValueError: if a set has fewer than two vectors, or the widths differ.

    Example:
        >>> x = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
        >>> round(fid(x, x + 3), 6)
        18.0
    """
    if real.ndim != 2 or real.shape[1:] != fake.shape[1:] or min(len(real), len(fake)) < 2:
        raise ValueError(f"need two sets [N >= 2, D] of one width, got {list(real.shape)} and {list(fake.shape)}")
    mean_x, x = _mean_and_factor(real)
    mean_y, y = _mean_and_factor(fake)
    overlap = torch.linalg.svdvals(x @ y.T).sum()
    distance = (mean_x - mean_y).square().sum() + x.square().sum() + y.square().sum() - 2 * overlap
    return max(distance.item(), 0.0)  # rounding may take equal sets below zero


def _mean_and_factor(features: Tensor) -> tuple[Tensor, Tensor]:
    """In float64: the mean ``[D]``, and ``[min(N, D), D]`` whose Gram matrix ``A^T A`` is the unbiased covariance."""
    features = features.double()
    mean = features.mean(0)
    factor = (features - mean) / (len(features) - 1) ** 0.5
    return mean, torch.linalg.qr(factor, mode="r").R if len(factor) > factor.shape[1] else factor
