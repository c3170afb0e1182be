"""Resampling with a low-pass filter: the anti-aliased steps of StyleGAN2 (Karras et al. 2020, appendix B).

``upfirdn2d`` inserts zeros, pads or crops, filters and decimates; ``upsample2d``, ``downsample2d`` and ``filter2d``
are the steps of the networks. In plain PyTorch each is a depthwise (transposed) convolution, differentiable to any
order. The derivative of the registered op is the op with its factors exchanged and the filter turned round.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from cuda_ops import backend
from cuda_ops.checks import check_floating, check_same_device, is_channels_last
from cuda_ops.registration import register

FUSED_TAPS = 4  # a side of the largest separable filter that is worth one pass in two dimensions


def setup_filter(taps: Sequence[float] = (1, 3, 3, 1)) -> Tensor:
    """The separable filter as an outer product that sums to one, ``[len(taps), len(taps)]``.

    Example:
        >>> setup_filter([1, 1]).tolist()
        [[0.25, 0.25], [0.25, 0.25]]
    """
    f = torch.as_tensor(taps, dtype=torch.float32)
    f = torch.outer(f, f)
    return f / f.sum()


def upfirdn2d(
    x: Tensor,
    f: Tensor,
    up: int | Sequence[int] = 1,
    down: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    flip: bool = False,
    gain: float = 1.0,
) -> Tensor:
    """Insert zeros, pad or crop, filter, and keep every ``down``-th sample.

    Args:
        x: ``[N, C, H, W]``, of any strides.
        f: the filter, ``[taps_y, taps_x]``, or ``[taps]`` for one that is separable and the same both ways. Not
            differentiated.
        up: factor of the enlargement, or ``(x, y)``: each sample is followed by ``up - 1`` zeros.
        down: factor of the reduction, or ``(x, y)``.
        padding: zeros around the enlarged image: one number, ``(x, y)`` or ``(left, right, top, bottom)``; negative
            numbers crop.
        flip: correlate with the filter instead of convolving.
        gain: factor on the result.

    Returns:
        ``[N, C, (H * up + top + bottom - taps_y) // down + 1, ...]``, channels_last where ``x`` is. Differentiable for
        ``x`` to any order.

    Raises:
        ValueError: naming the argument that is wrong.

    Example:
        >>> upfirdn2d(torch.ones(1, 1, 1, 3), torch.tensor([[1.0, 2.0]]), up=(2, 1)).tolist()
        [[[[2.0, 1.0, 2.0, 1.0, 2.0]]]]
    """
    ups, downs = _pair("up", up), _pair("down", down)
    sides = _sides(padding)
    _check(x, f, ups, downs, sides)
    if f.ndim == 2:
        return _in_one_pass(x, f, ups, downs, sides, flip, gain)
    if f.shape[0] <= FUSED_TAPS and backend.has_kernels(x):
        return _in_one_pass(x, torch.outer(f, f), ups, downs, sides, flip, gain)
    x = _in_one_pass(x, f[None], (ups[0], 1), (downs[0], 1), (*sides[:2], 0, 0), flip, 1.0)
    return _in_one_pass(x, f[:, None], (1, ups[1]), (1, downs[1]), (0, 0, *sides[2:]), flip, gain)


def upsample2d(x: Tensor, f: Tensor) -> Tensor:
    """Twice the resolution: zero insertion, then the filter with gain 4 (``[N, C, H, W] -> [N, C, 2H, 2W]``)."""
    _check_square(x, f, even=True)
    half = f.shape[0] // 2
    return _in_one_pass(x, f, (2, 2), (1, 1), (half, half - 1, half, half - 1), False, 4.0)


def downsample2d(x: Tensor, f: Tensor) -> Tensor:
    """Half the resolution: the filter, then every second sample (``[N, C, 2H, 2W] -> [N, C, H, W]``)."""
    _check_square(x, f, even=True)
    return _in_one_pass(x, f, (1, 1), (2, 2), (f.shape[0] // 2 - 1,) * 4, False, 1.0)


def filter2d(x: Tensor, f: Tensor, padding: int, gain: float = 1.0) -> Tensor:
    """Filter at one resolution, with ``padding`` zeros on each side."""
    _check_square(x, f, even=False)
    return _in_one_pass(x, f, (1, 1), (1, 1), (padding,) * 4, False, gain)


def _pair(name: str, value: int | Sequence[int]) -> tuple[int, int]:
    x, y = (value, value) if isinstance(value, int) else tuple(value) if len(value) == 2 else (0, 0)
    if x < 1 or y < 1:
        raise ValueError(f"{name} must be a factor of 1 or more, or two of them (x, y), got {value}")
    return x, y


def _sides(padding: int | Sequence[int]) -> tuple[int, int, int, int]:
    if isinstance(padding, int):
        return padding, padding, padding, padding
    if len(padding) == 2:
        x, y = padding
        return x, x, y, y
    if len(padding) == 4:
        left, right, top, bottom = padding
        return left, right, top, bottom
    raise ValueError(f"padding must be one number, (x, y) or (left, right, top, bottom), got {list(padding)}")


def _check_tensors(x: Tensor, f: Tensor) -> None:
    if x.ndim != 4 or 0 in x.shape[1:]:
        raise ValueError(f"x must be [N, C, H, W], got {list(x.shape)}")
    check_floating(x=x, f=f)
    check_same_device(x=x, f=f)
    if f.requires_grad:
        raise ValueError("f must not require a gradient: filters are not differentiated")


def _check(
    x: Tensor, f: Tensor, up: tuple[int, int], down: tuple[int, int], sides: tuple[int, int, int, int]
) -> None:
    _check_tensors(x, f)
    if f.ndim not in (1, 2) or f.numel() == 0:
        raise ValueError(f"f must be [taps] or [taps_y, taps_x], got {list(f.shape)}")
    for name, size, factor, before, after, taps in (
        ("left and right", x.shape[3], up[0], *sides[:2], f.shape[-1]),
        ("top and bottom", x.shape[2], up[1], *sides[2:], f.shape[0]),
    ):
        if size * factor + before + after < taps or min(before, after) <= -size * factor:
            raise ValueError(
                f"padding must leave {name} at least the filter's {taps} samples of {size * factor}, "
                f"got {before} and {after}"
            )


def _check_square(x: Tensor, f: Tensor, even: bool) -> None:
    _check_tensors(x, f)
    if f.ndim != 2 or f.shape[0] != f.shape[1] or (even and f.shape[0] % 2):
        raise ValueError(f"f must be a square filter{' with an even side' if even else ''}, got {list(f.shape)}")


def _in_one_pass(
    x: Tensor, f: Tensor, up: tuple[int, int], down: tuple[int, int], sides: tuple[int, ...], flip: bool, gain: float
) -> Tensor:
    if not backend.has_kernels(x):
        return _plain(x, f, up, down, sides, flip, gain)
    f = f.to(torch.float64 if x.dtype == torch.float64 else torch.float32)
    return UPFIRDN2D(x, f, list(up), list(down), list(sides), flip, gain, is_channels_last(x))


# In plain PyTorch: depthwise convolutions.


def _depthwise(f: Tensor, x: Tensor) -> Tensor:
    return f.to(x.dtype).expand(x.shape[1], 1, *f.shape)


def _plain(
    x: Tensor, f: Tensor, up: Sequence[int], down: Sequence[int], sides: Sequence[int], flip: bool, gain: float
) -> Tensor:
    """A convolution, transposed where it enlarges; both pad by themselves only what is the same on two sides."""
    f = f if gain == 1 else f * gain
    left, right, top, bottom = sides
    if tuple(up) == (1, 1):
        even = (top, left) if top == bottom >= 0 and left == right >= 0 else None
        x = _padded(x, sides) if even is None else x
        f = f if flip else f.flip(0, 1)
        return F.conv2d(x, _depthwise(f, x), stride=(down[1], down[0]), padding=even or 0, groups=x.shape[1])
    # What lies beyond the padding of the whole (transposed) convolution, before and after.
    taps_y, taps_x = f.shape
    x_before, x_after = taps_x - 1 - left, taps_x - up[0] - right
    y_before, y_after = taps_y - 1 - top, taps_y - up[1] - bottom
    even = (max(min(y_before, y_after), 0), max(min(x_before, x_after), 0))
    f = f.flip(0, 1) if flip else f
    x = F.conv_transpose2d(x, _depthwise(f, x), stride=(up[1], up[0]), padding=even, groups=x.shape[1])
    rest = [even[1] - x_before, even[1] - x_after, even[0] - y_before, even[0] - y_after]
    x = _padded(x, rest)
    return x if tuple(down) == (1, 1) else x[:, :, :: down[1], :: down[0]]


def _padded(x: Tensor, sides: Sequence[int]) -> Tensor:
    """Zeros around ``x``, then cropped where a side is negative: a crop may reach into the other side's zeros."""
    x = F.pad(x, [max(side, 0) for side in sides]) if max(sides) > 0 else x
    if min(sides) >= 0:
        return x
    left, right, top, bottom = (max(-side, 0) for side in sides)
    return x[:, :, top : x.shape[2] - bottom, left : x.shape[3] - right]


# The registered op. Factors are (x, y), padding is (left, right, top, bottom), and f is float32, or float64 with x.


def _size(
    x: Tensor, f: Tensor, up: Sequence[int], down: Sequence[int], sides: Sequence[int]
) -> tuple[int, int, int, int]:
    height = (x.shape[2] * up[1] + sides[2] + sides[3] - f.shape[0]) // down[1] + 1
    width = (x.shape[3] * up[0] + sides[0] + sides[1] - f.shape[1]) // down[0] + 1
    return x.shape[0], x.shape[1], height, width


def _format(channels_last: bool) -> torch.memory_format:
    return torch.channels_last if channels_last else torch.contiguous_format


def _fake(
    x: Tensor, f: Tensor, up: list[int], down: list[int], sides: list[int], flip: bool, gain: float,
    channels_last: bool,
) -> Tensor:  # fmt: skip
    return torch.empty(
        _size(x, f, up, down, sides), dtype=x.dtype, device=x.device, memory_format=_format(channels_last)
    )


def _reference(
    x: Tensor, f: Tensor, up: list[int], down: list[int], sides: list[int], flip: bool, gain: float,
    channels_last: bool,
) -> Tensor:  # fmt: skip
    return _plain(x, f, up, down, sides, flip, gain).contiguous(memory_format=_format(channels_last))


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, f, ctx.up, ctx.down, sides, ctx.flip, ctx.gain, ctx.channels_last = inputs
    ctx.save_for_backward(f)
    # The gradient has the shape of x, so that padding which decimation never reached comes back as padding.
    ctx.sides = []
    for size, got, up, down, taps, before in (
        (x.shape[3], output.shape[3], ctx.up[0], ctx.down[0], f.shape[1], sides[0]),
        (x.shape[2], output.shape[2], ctx.up[1], ctx.down[1], f.shape[0], sides[2]),
    ):
        ctx.sides += [taps - before - 1, size * up - got * down + before - up + 1]


def _backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    (f,) = ctx.saved_tensors
    dx = UPFIRDN2D(dy, f, ctx.down, ctx.up, ctx.sides, not ctx.flip, ctx.gain, ctx.channels_last)
    return dx, *[None] * 7


UPFIRDN2D = register(
    "upfirdn2d(Tensor x, Tensor f, int[] up, int[] down, int[] sides, bool flip, float gain, bool channels_last) "
    "-> Tensor",
    _reference, _fake, _keep, _backward,
)  # fmt: skip
