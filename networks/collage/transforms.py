"""Features of another picture moved, scaled or mirrored before they are blended in: U in Suzuki et al. 2018, section 5.

Only by axis: each of x and y is a linear map of cells, a small matrix, so that whole cells move exactly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Transform:
    """Where features go: mirrored and scaled about the middle of the image, then shifted.

    Args:
        right: to the right, in widths of the image.
        down: downwards, in widths of the image.
        scale: 2 makes things twice as large.
        mirror: from right to left.

    Raises:
        ValueError: if a number is not finite, or the scale not above 0.
    """

    right: float = 0.0
    down: float = 0.0
    scale: float = 1.0
    mirror: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.right) and math.isfinite(self.down) and 0 < self.scale < math.inf):
            raise ValueError(f"a shift must be finite and a scale above 0, got {self}")

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``[N, C, H, W]`` moved, and where it comes from within the map: ``[1, 1, H, W]``, 1 there and 0 elsewhere.

        What comes from beyond the border is not wrapped around: it is 0, and so is the second map.
        """
        if self == Transform():
            return x, x.new_ones(1, 1, *x.shape[2:])
        columns = _matrix(x.shape[3], self.right, self.scale, self.mirror).to(x)
        rows = _matrix(x.shape[2], self.down, self.scale, False).to(x)
        inside = rows.sum(1)[:, None] * columns.sum(1)[None]
        return torch.einsum("yh,nchw,xw->ncyx", rows, x, columns), inside[None, None]


def _matrix(size: int, shift: float, scale: float, mirror: bool) -> Tensor:
    """Row i: the weights of the old cells in the new cell i, linear between the two nearest; none beyond the border."""
    middle = (size - 1) / 2
    at = (torch.arange(size, dtype=torch.float64) - shift * size - middle) / scale
    at = (-at if mirror else at) + middle
    at = torch.where((at - at.round()).abs() < 1e-6, at.round(), at)  # whole cells exactly
    low, matrix = at.floor(), torch.zeros(size, size, dtype=torch.float64)
    share = at - low
    inside = (at >= 0) & (at <= size - 1)
    for place, weight in ((low, 1 - share), (low + 1, share)):
        index = place.clamp(0, size - 1).long()
        matrix[torch.arange(size), index] += torch.where(inside, weight, torch.zeros_like(weight))
    return matrix
