"""The sum of maps of several sizes, each enlarged bilinearly to one size, without an enlarged map in memory.

Maps may be pieces, and the result a window. The two ops are each other's transposes: differentiable to any order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from cuda_ops.bilinear import band, span
from cuda_ops.registration import register

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


def upsample_sum(pieces: Sequence[Piece], frame: Frame) -> Tensor:
    """The window of the sum of the enlarged maps.

    Args:
        pieces: 1 to 16, of the same N, C, type and device; each holds what the window needs of its map.
        frame: the window, and the size that the maps are enlarged (or reduced) to.

    Returns:
        ``[N, C, frame.height, frame.width]``.

    Raises:
        ValueError: if a shape, type or device is another one, or a piece does not hold what the window needs.
    """
    _check(pieces, frame)
    places = [number for piece in pieces for number in piece[1:]]
    return UPSAMPLE_SUM([piece.x for piece in pieces], places, list(frame))


def _check(pieces: Sequence[Piece], frame: Frame) -> None:
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
            begin, end = span(frame[axis], frame[axis] + frame[axis + 2], piece[axis + 3], frame[axis + 4])
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


def _tiles(like: Tensor, places: list[int], window: list[int]) -> Iterator[tuple[slice, slice, list[_Part]]]:
    """Tiles of the window: rows, columns, and the part of each map."""
    top, left, height, width, out_height, out_width = window
    maps = [places[i : i + 4] for i in range(0, len(places), 4)]
    key = like.dtype, like.device
    for y in range(0, height, TILE):
        down = top + y, top + min(y + TILE, height)
        for x in range(0, width, TILE):
            across = left + x, left + min(x + TILE, width)
            parts = []
            for at_row, at_column, rows, columns in maps:
                r, c = span(*down, rows, out_height), span(*across, columns, out_width)
                parts.append(_Part(
                    slice(r[0] - at_row, r[1] - at_row), slice(c[0] - at_column, c[1] - at_column),
                    band(*down, rows, out_height, *key), band(*across, columns, out_width, *key),
                ))  # fmt: skip
            yield slice(y, down[1] - top), slice(x, across[1] - left), parts


def _reference(maps: list[Tensor], places: list[int], window: list[int]) -> Tensor:
    out = _fake(maps, places, window)
    for rows, columns, parts in _tiles(maps[0], places, window):
        wide = [x[:, :, part.rows, part.columns] @ part.across.T for x, part in zip(maps, parts, strict=True)]
        # One product for all maps: what is summed over are their rows.
        out[:, :, rows, columns] = torch.cat([part.down for part in parts], 1) @ torch.cat(wide, 2)
    return out


def _backward_reference(grad: Tensor, sizes: list[int], places: list[int], window: list[int]) -> list[Tensor]:
    found = [x.zero_() for x in _backward_fake(grad, sizes, places, window)]
    for rows, columns, parts in _tiles(grad, places, window):
        down = torch.cat([part.down for part in parts], 1)
        narrow = (down.T @ grad[:, :, rows, columns]).split([part.down.shape[1] for part in parts], 2)
        for x, part, gathered in zip(found, parts, narrow, strict=True):
            x[:, :, part.rows, part.columns] += gathered @ part.across
    return found


def _layout(x: Tensor) -> torch.memory_format:
    last = not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format


def _fake(maps: list[Tensor], places: list[int], window: list[int]) -> Tensor:
    x = maps[0]
    return x.new_empty(*x.shape[:2], *window[2:4]).contiguous(memory_format=_layout(x))


def _backward_fake(grad: Tensor, sizes: list[int], places: list[int], window: list[int]) -> list[Tensor]:
    pairs = zip(sizes[::2], sizes[1::2], strict=True)
    layout = _layout(grad)
    return [grad.new_empty(*grad.shape[:2], *size).contiguous(memory_format=layout) for size in pairs]


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    maps, ctx.places, ctx.window = inputs
    ctx.sizes = [side for x in maps for side in x.shape[2:]]


def _backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    return UPSAMPLE_SUM_BACKWARD(grad, ctx.sizes, ctx.places, ctx.window), None, None


def _backward_setup(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    _, _, ctx.places, ctx.window = inputs


def _double_backward(ctx: Any, grads: list[Tensor]) -> tuple[Any, ...]:
    return UPSAMPLE_SUM(grads, ctx.places, ctx.window), None, None, None


UPSAMPLE_SUM = register(
    "upsample_sum(Tensor[] maps, int[] places, int[] window) -> Tensor", _reference, _fake, _setup, _backward
)
UPSAMPLE_SUM_BACKWARD = register(
    "upsample_sum_backward(Tensor grad, int[] sizes, int[] places, int[] window) -> Tensor[]",
    _backward_reference, _backward_fake, _backward_setup, _double_backward,
)  # fmt: skip
