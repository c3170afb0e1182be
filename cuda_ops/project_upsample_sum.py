"""Feature maps of several sizes projected, enlarged to one size and added: the core of a segmentation head.

In the papers every map is enlarged to the output's size and then projected (Ling et al. 2021, arXiv 2111.03186, section
3.2). A 1x1 convolution commutes with bilinear enlargement, whose weights add up to one: here each map is projected at
its own resolution by the library's matrix product, and only the few projected channels are enlarged, all in one pass
(``cuda_ops/upsample_sum.py``). Maps of the output's own size add their products to that sum.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cuda_ops.checks import check_floating, check_same_device
from cuda_ops.resize import span
from cuda_ops.upsample_sum import Frame, Piece, upsample_sum

Window = tuple[int, int, int, int]  # rows top:bottom and columns left:right, in the order top, bottom, left, right
Size = tuple[int, int]


def project_upsample_sum(
    maps: Sequence[Tensor], weights: Sequence[Tensor], size: Size, bias: Tensor | None = None,
    window: Window | None = None, nearest: bool = False,
) -> Tensor:  # fmt: skip
    """``sum_i enlarge(weights[i] maps[i]) + bias``, differentiable to any order.

    Args:
        maps: ``[N, C_i, h_i, w_i]``, stored in any floating type: they are projected in the type of the weights.
        weights: ``[O, C_i]``, one for each map.
        size: height and width that the maps are enlarged to, or reduced.
        bias: ``[O]``.
        window: a part of the output, ``(top, bottom, left, right)``: computed from the parts of the maps that it needs.
        nearest: enlarge by repetition; otherwise bilinearly, with half-pixel centres.

    Returns:
        ``[N, O, *size]``, or that window of it.

    Raises:
        ValueError: if shapes, types or devices do not go together, or the window is empty or beyond the output.
    """
    window = (0, size[0], 0, size[1]) if window is None else window
    _check(maps, weights, size, bias, window)
    total = weights[0].new_zeros(1) if bias is None else bias  # the weights of an enlargement add up to one
    start = total.view(1, -1, 1, 1)
    small, large = dict[Size, Piece](), list[tuple[Tensor, Tensor]]()
    for x, weight in zip(maps, weights, strict=True):
        whole, piece = _needed(x, size, window, nearest)
        if whole == size:
            large.append((piece.x, weight))
            continue
        before = small[whole].x if whole in small else (start if not small else start.new_zeros(1, 1, 1, 1))
        small[whole] = piece._replace(x=add_projection(before, piece.x, weight[None]))
    frame = Frame(window[0], window[2], window[1] - window[0], window[3] - window[2], *size)
    result = upsample_sum(list(small.values()), frame, nearest) if small else start
    for x, weight in large:
        result = add_projection(result, x, weight[None])
    return result


def add_projection(total: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """``total`` plus a 1x1 convolution of ``x``, in one pass over the output.

    Maps may be stored in half precision: they take the weight's type here.

    Args:
        total: ``[N, O, h, w]``, or anything that broadcasts to it.
        x: ``[N, C, h, w]``.
        weight: ``[N or 1, O, C]``.
    """
    weight = weight.expand(len(x), -1, -1)
    return torch.baddbmm(total.flatten(2), weight, x.flatten(2).to(weight.dtype)).unflatten(2, x.shape[2:])


def _needed(x: Tensor, size: Size, window: Window, nearest: bool) -> tuple[Size, Piece]:
    """The size of a map, and the piece of it that the window of the output needs."""
    height, width = x.shape[2:]
    if (height, width) == size:
        top, bottom, left, right = window
    else:
        top, bottom = span(*window[:2], height, size[0], nearest)
        left, right = span(*window[2:], width, size[1], nearest)
    return (height, width), Piece(x[:, :, top:bottom, left:right], top, left, height, width)


def _check(
    maps: Sequence[Tensor], weights: Sequence[Tensor], size: Size, bias: Tensor | None, window: Window
) -> None:  # fmt: skip
    if not maps or len(maps) != len(weights):
        raise ValueError(f"there must be a weight for each of one or more maps, got {len(maps)} and {len(weights)}")
    named = {f"maps[{i}]": x for i, x in enumerate(maps)} | {f"weights[{i}]": w for i, w in enumerate(weights)}
    check_floating(**named, bias=bias)
    check_same_device(**named, bias=bias)
    outputs = weights[0].shape[0]
    for i, (x, weight) in enumerate(zip(maps, weights, strict=True)):
        if x.ndim != 4 or len(x) != len(maps[0]) or 0 in x.shape[2:]:
            raise ValueError(f"maps[{i}] must be [{len(maps[0])}, C, h, w] and not empty, got {list(x.shape)}")
        if weight.shape != (outputs, x.shape[1]) or weight.dtype != weights[0].dtype:
            raise ValueError(f"weights[{i}] must be [{outputs}, {x.shape[1]}] of {weights[0].dtype}, got "
                             f"{list(weight.shape)} of {weight.dtype}")  # fmt: skip
    if bias is not None and (bias.shape != (outputs,) or bias.dtype != weights[0].dtype):
        raise ValueError(f"bias must be [{outputs}] of {weights[0].dtype}, got {list(bias.shape)} of {bias.dtype}")
    top, bottom, left, right = window
    if not (0 <= top < bottom <= size[0] and 0 <= left < right <= size[1]):
        raise ValueError(f"the window must be a part of {list(size)}, top, bottom, left, right, got {list(window)}")
