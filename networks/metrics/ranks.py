"""Whether two measurements rank things alike: Spearman's rank correlation."""

from __future__ import annotations

from torch import Tensor


def ranks(values: Tensor) -> Tensor:
    """Ranks from 0 of ``[N]``, equal values at the mean of theirs.

    Example:
        >>> ranks(torch.tensor([3.0, 1.0, 3.0]))
        tensor([1.5000, 0.0000, 1.5000], dtype=torch.float64)
    """
    _, inverse, counts = values.unique(return_inverse=True, return_counts=True)
    last = counts.cumsum(0)
    return ((last - counts + last - 1).double() / 2)[inverse]


def rank_correlation(x: Tensor, y: Tensor) -> float:
    """Correlation of the ranks of ``[N]`` and ``[N]``; 0 if all values of one are equal.

    Raises:
        ValueError: if the two differ in shape, or there are fewer than two values.

    Example:
        >>> round(rank_correlation(torch.tensor([1.0, 2.0, 5.0]), torch.tensor([-9.0, 0.0, 1e6])), 9)
        1.0
    """
    if x.shape != y.shape or x.ndim != 1 or len(x) < 2:
        raise ValueError(f"ranks are compared of [N] and [N], N >= 2, got {list(x.shape)} and {list(y.shape)}")
    a, b = (r - r.mean() for r in (ranks(x), ranks(y)))
    length = a.norm() * b.norm()
    return float(a @ b / length) if length else 0.0
