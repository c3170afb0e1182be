"""The sum of maps of several sizes, each enlarged to one size, without an enlarged map in memory.

Maps may be pieces, and the result a window. The two ops are each other's transposes: differentiable to any order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from cuda_ops.registration import register
from cuda_ops.resize import band, span

MOST_MAPS = 16         # what the kernel takes
LARGEST = 1 << 15      # pixels a side, so that positions are exact in 32 bits
TILE = 128             # outputs a side that the reference makes at a time: of each map it then needs a few rows


class Piece(NamedTuple):
    """A part of a map."""

    x: Tensor     # [N, C, h, w]
    top: int      # its first row in the map
    left: int     # its first column
    height: int   # of the map
    width: int


class Frame(NamedTuple):
    """A window of an output."""

    top: int
    left: int
    height: int        # of the window
    width: int
    out_height: int    # of the output
    out_width: int


def upsample_sum(pieces: Sequence[Piece], frame: Frame, nearest: bool = False) -> Tensor:
    """The window of the sum of the enlarged maps.

    Args:
        pieces: 1 to 16, of the same N, C, type and device; each holds what the window needs of its map.
        frame: the window, and the size that the maps are enlarged (or reduced) to.
        nearest: by repetition; otherwise bilinearly, with half-pixel centres and clamped borders.

    Returns:
        ``[N, C, frame.height, frame.width]``.

    Raises:
        ValueError: if a shape, type or device is another one, or a piece does not hold what the window needs.
    """
    _check(pieces, frame, nearest)
    places = [number for piece in pieces for number in piece[1:]]
    return UPSAMPLE_SUM([piece.x for piece in pieces], places, list(frame), nearest)


def _check(pieces: Sequence[Piece], frame: Frame, nearest: bool) -> None:
    if not 1 <= len(pieces) <= MOST_MAPS:
        raise ValueError(f"there must be 1 to {MOST_MAPS} maps, got {len(pieces)}")
    first = pieces[0].x
    for piece in pieces:
        x = piece.x
        if x.ndim != 4 or x.shape[:2] != first.shape[:2] or x.dtype != first.dtype or x.device != first.device:
            raise ValueError(f"maps must be alike, [N, C, h, w], got {_kind(first)} and {_kind(x)}")
        if max(piece.height, piece.width, frame.out_height, frame.out_width) > LARGEST:
            raise ValueError(f"sides may have {LARGEST} pixels at most, got {piece[3:]} and {frame[4:]}")
        for axis in (0, 1):
            begin, end = span(frame[axis], frame[axis] + frame[axis + 2], piece[axis + 3], frame[axis + 4], nearest)
            have = piece[axis + 1], piece[axis + 1] + x.shape[axis + 2]
            if begin < have[0] or end > have[1]:
                raise ValueError(f"the window {list(frame)} needs samples {begin} to {end} of a map's dimension "
                                 f"{axis + 2}, its piece has {have[0]} to {have[1]}")  # fmt: skip


def _kind(x: Tensor) -> str:
    return f"{list(x.shape)} of {x.dtype} on {x.device}"


# The reference: products with banded matrices, a tile of the output at a time.


class _Part(NamedTuple):
    """What a tile needs of one map."""

    rows: slice        # of the piece
    columns: slice
    down: Tensor       # [tile's rows, rows]
    across: Tensor     # [tile's columns, columns]


def _tiles(
    like: Tensor, places: list[int], window: list[int], nearest: bool
) -> Iterator[tuple[slice, slice, list[_Part]]]:
    """Tiles of the window: rows, columns, and the part of each map."""
    top, left, height, width, out_height, out_width = window
    maps = [places[i : i + 4] for i in range(0, len(places), 4)]
    key = nearest, like.dtype, like.device
    for y in range(0, height, TILE):
        down = top + y, top + min(y + TILE, height)
        for x in range(0, width, TILE):
            across = left + x, left + min(x + TILE, width)
            parts = []
            for at_row, at_column, rows, columns in maps:
                r, c = span(*down, rows, out_height, nearest), span(*across, columns, out_width, nearest)
                parts.append(_Part(
                    slice(r[0] - at_row, r[1] - at_row), slice(c[0] - at_column, c[1] - at_column),
                    band(*down, rows, out_height, *key), band(*across, columns, out_width, *key),
                ))  # fmt: skip
            yield slice(y, down[1] - top), slice(x, across[1] - left), parts


def _reference(maps: list[Tensor], places: list[int], window: list[int], nearest: bool) -> Tensor:
    out = _fake(maps, places, window, nearest)
    for rows, columns, parts in _tiles(maps[0], places, window, nearest):
        wide = [x[:, :, part.rows, part.columns] @ part.across.T for x, part in zip(maps, parts, strict=True)]
        # One product for all maps: what is summed over are their rows.
        out[:, :, rows, columns] = torch.cat([part.down for part in parts], 1) @ torch.cat(wide, 2)
    return out


def _backward_reference(
    grad: Tensor, sizes: list[int], places: list[int], window: list[int], nearest: bool
) -> list[Tensor]:
    found = [x.zero_() for x in _backward_fake(grad, sizes, places, window, nearest)]
    for rows, columns, parts in _tiles(grad, places, window, nearest):
        down = torch.cat([part.down for part in parts], 1)
        narrow = (down.T @ grad[:, :, rows, columns]).split([part.down.shape[1] for part in parts], 2)
        for x, part, gathered in zip(found, parts, narrow, strict=True):
            x[:, :, part.rows, part.columns] += gathered @ part.across
    return found


def _empty(x: Tensor, size: Sequence[int]) -> Tensor:
    """``[N, C, *size]`` in the layout of ``x``."""
    last = not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if last else torch.contiguous_format
    return torch.empty(*x.shape[:2], *size, dtype=x.dtype, device=x.device, memory_format=layout)


def _fake(maps: list[Tensor], places: list[int], window: list[int], nearest: bool) -> Tensor:
    return _empty(maps[0], window[2:4])


def _backward_fake(
    grad: Tensor, sizes: list[int], places: list[int], window: list[int], nearest: bool
) -> list[Tensor]:
    return [_empty(grad, size) for size in zip(sizes[::2], sizes[1::2], strict=True)]


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    maps, *ctx.how = inputs
    ctx.sizes = [side for x in maps for side in x.shape[2:]]


def _backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    return UPSAMPLE_SUM_BACKWARD(grad, ctx.sizes, *ctx.how), None, None, None


def _backward_setup(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    _, _, *ctx.how = inputs


def _double_backward(ctx: Any, grads: list[Tensor]) -> tuple[Any, ...]:
    return UPSAMPLE_SUM(grads, *ctx.how), None, None, None, None


UPSAMPLE_SUM = register(
    "upsample_sum(Tensor[] maps, int[] places, int[] window, bool nearest) -> Tensor",
    _reference, _fake, _setup, _backward,
)  # fmt: skip
UPSAMPLE_SUM_BACKWARD = register(
    "upsample_sum_backward(Tensor grad, int[] sizes, int[] places, int[] window, bool nearest) -> Tensor[]",
    _backward_reference, _backward_fake, _backward_setup, _double_backward,
)  # fmt: skip
