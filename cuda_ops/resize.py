"""Resizing along one axis as ``interpolate`` does: bilinear, half-pixel centres, clamped borders; or by repetition."""

from __future__ import annotations

import functools

import torch
from torch import Tensor


def neighbours(position: Tensor, size: int, out: int, nearest: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Where output positions fall between the samples of a map.

    Args:
        position: integer output coordinates, any shape, ``0 <= position < out``.
        size: samples of the map along this axis.
        out: samples of the output along this axis.
        nearest: all weight on the sample that the position lies in, the lower one.

    Returns:
        lower index, upper index, and the weight of the upper one (float64), each shaped like ``position``.

    Example:
        >>> [t.tolist() for t in neighbours(torch.tensor([0, 1, 2, 3]), 2, 4)]
        [[0, 0, 0, 1], [1, 1, 1, 1], [0.0, 0.25, 0.75, 0.25]]
    """
    if nearest:
        source = (position.double() * size / out).floor()
    else:
        source = ((position.double() + 0.5) * (size / out) - 0.5).clamp(min=0.0)
    low = source.floor().clamp(max=size - 1)
    return low.long(), (low.long() + 1).clamp(max=size - 1), source - low


def span(start: int, stop: int, size: int, out: int, nearest: bool = False) -> tuple[int, int]:
    """The samples that outputs ``start:stop`` lie between, as the ends of a range.

    Example:
        >>> span(0, 2, 4, 8), span(3, 8, 4, 8)
        ((0, 2), (1, 4))
    """
    if nearest:
        return start * size // out, (stop - 1) * size // out + 1
    first, last = (max((2 * position + 1) * size - out, 0) // (2 * out) for position in (start, stop - 1))
    return first, min(last + 2, size)


@functools.lru_cache(maxsize=256)
def band(
    start: int, stop: int, size: int, out: int, nearest: bool, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """What makes outputs ``start:stop`` of the samples in their span: ``[stop - start, samples]``.

    Example:
        >>> band(0, 2, 2, 4, False, torch.float32, torch.device("cpu")).tolist()
        [[1.0, 0.0], [0.75, 0.25]]
    """
    begin, end = span(start, stop, size, out, nearest)
    low, high, t = neighbours(torch.arange(start, stop), size, out, nearest)
    high = torch.where(t > 0, high, low)  # a neighbour without weight may lie beyond the span
    weights = torch.zeros(stop - start, end - begin, dtype=torch.float64)
    weights.scatter_add_(1, low[:, None] - begin, 1 - t[:, None])
    weights.scatter_add_(1, high[:, None] - begin, t[:, None])
    return weights.to(device, dtype)
