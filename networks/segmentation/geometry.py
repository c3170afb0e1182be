"""Bilinear enlargement (half-pixel centres, clamped border) of windows and single pixels: parts of the whole, exactly.

A 1x1 convolution commutes with these, so heads project at native resolution and enlarge the few projected channels.
All functions agree with ``interpolate(x, size, mode="bilinear", align_corners=False)``; those that take ``nearest``
also with ``mode="nearest"``.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag, interpolate

from cuda_ops.resize import neighbours


class Window(NamedTuple):
    """Rows ``top:bottom`` and columns ``left:right`` of a map."""

    top: int
    bottom: int
    left: int
    right: int

    @staticmethod
    def whole(size: int) -> Window:
        """All of a square map."""
        return Window(0, size, 0, size)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.bottom - self.top, self.right - self.left

    def cut(self, x: Tensor) -> Tensor:
        """This part of ``x`` ``[..., H, W]``, a view."""
        return x[..., self.top : self.bottom, self.left : self.right]

    def grow(self, by: int, size: int) -> Window:
        """``by`` more pixels on each side, as far as a map of ``size`` pixels reaches."""
        low, high = (lambda a: max(a - by, 0)), (lambda b: min(b + by, size))
        return Window(low(self.top), high(self.bottom), low(self.left), high(self.right))

    def shrink(self, factor: int) -> Window:
        """The smallest window of a map ``factor`` times coarser that covers this one."""
        return Window(self.top // factor, -(-self.bottom // factor), self.left // factor, -(-self.right // factor))

    def tiles(self, side: int) -> list[Window]:
        """Windows of at most ``side`` x ``side`` that cover this one, each pixel once.

        Example:
            >>> [tile.shape for tile in Window.whole(5).tiles(4)]
            [(4, 4), (4, 1), (1, 4), (1, 1)]
        """
        rows = [(start, min(start + side, self.bottom)) for start in range(self.top, self.bottom, side)]
        columns = [(start, min(start + side, self.right)) for start in range(self.left, self.right, side)]
        return [Window(*r, *c) for r in rows for c in columns]

    def within(self, outer: Window) -> Window:
        """The same window counted from the corner of ``outer``."""
        top, left = outer.top, outer.left
        return Window(self.top - top, self.bottom - top, self.left - left, self.right - left)


def enlarge(x: Tensor, factor: int) -> Tensor:
    """``x`` ``[N, C, h, w]`` enlarged by a whole factor."""
    if factor == 1:
        return x
    return interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


def enlarge_window(project: Tensor, have: Window, factor: int, want: Window) -> Tensor:
    """The window ``want`` of the enlarged map, from a piece of the coarse one.

    Args:
        project: the piece, ``[N, C, *have.shape]``.
        have: where it lies in the coarse map: ``want.shrink(factor).grow(1, coarse size)`` or more.
        factor: fine size over coarse size.
        want: which part of the fine map.

    Returns:
        ``[N, C, *want.shape]``.
    """
    fine = Window(*(edge * factor for edge in have))
    return want.within(fine).cut(enlarge(project, factor))


def sample_table(
    table: Tensor, size: tuple[int, int], image: Tensor, yx: Tensor, out: int, nearest: bool = False
) -> Tensor:
    """Values of enlarged maps at single pixels, in one pass and without making the maps.

    Args:
        table: native-resolution maps, one row a position: ``[N * h * w, C]``.
        size: h and w.
        image: which of the N images each pixel is in, ``[P]``.
        yx: output coordinates, ``[P, 2]``.
        out: pixels a side of the output.
        nearest: enlarge by repetition instead.

    Returns:
        ``[P, C]``, differentiable in ``table``.
    """
    height, width = size
    y0, y1, ty = neighbours(yx[:, 0], height, out, nearest)
    x0, x1, tx = neighbours(yx[:, 1], width, out, nearest)
    rows = torch.stack([y0 * width + x0, y0 * width + x1, y1 * width + x0, y1 * width + x1], dim=1)
    rows = rows + image[:, None] * (height * width)
    weights = torch.stack([(1 - ty) * (1 - tx), (1 - ty) * tx, ty * (1 - tx), ty * tx], dim=1)
    return embedding_bag(rows, table, mode="sum", per_sample_weights=weights.to(table.dtype))
