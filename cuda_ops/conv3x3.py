"""3x3 convolution at one resolution, by minimal filtering where that is faster (Lavin & Gray 2016, arXiv 1509.09308).

Winograd's F(4x4, 3x3): a 4x4 tile of the output takes 36 products of numbers that are linear in a 6x6 tile of the input
and in the kernel; the direct sum takes 144. Over all tiles and channels they are 36 matrix products, with a few
additions before and after. On a CPU that is 2 to 3 times as fast as a direct convolution, and 3 to 4 times for the
gradient of the weights.

The linear maps are those of a polynomial to its values at 0, +-A, +-B and infinity. With A = 1/sqrt(2) and B = sqrt(2)
in place of the paper's 1 and 2, the rounding error in single precision is that of a direct convolution.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from cuda_ops.registration import register

TILE = 4              # outputs a side of a tile
POINTS = TILE + 2     # inputs, and products, a side of a tile
LEAST_CHANNELS = 64   # with fewer the additions take as long as the products that are spared
LEAST_TILES = 64      # with fewer in a batch the kernel's own transform does
CHUNK = 600_000       # numbers of a batch that are transformed at a time, so that they stay in a cache

A, B = math.sqrt(0.5), math.sqrt(2)


def conv3x3(x: Tensor, weight: Tensor) -> Tensor:
    """``F.conv2d(x, weight, padding=1)``, differentiable to any order in reverse mode.

    Args:
        x: ``[N, I, H, W]``.
        weight: ``[O, I, 3, 3]``.

    Returns:
        ``[N, O, H, W]``, in the memory layout of ``x``.

    Raises:
        ValueError: if the shapes are others, or do not go together.
    """
    if x.ndim != 4 or weight.ndim != 4 or weight.shape[1:] != (x.shape[1], 3, 3):
        raise ValueError(f"x must be [N, I, H, W] and weight [O, I, 3, 3], got {list(x.shape)} and "
                         f"{list(weight.shape)}")  # fmt: skip
    if _pays(x, weight):
        return CONV3X3(x, weight, False)
    return F.conv2d(x, weight, padding=1)


def _pays(x: Tensor, weight: Tensor) -> bool:
    if x.device.type != "cpu" or not x.dtype == weight.dtype == torch.float32:
        return False
    if torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling():
        return False
    n, _, height, width = x.shape
    return (
        height % TILE == width % TILE == 0
        and min(weight.shape[:2]) >= LEAST_CHANNELS
        and n * height * width >= LEAST_TILES * TILE**2
    )


@torch.autocast("cpu", enabled=False)  # a backward pass may run inside one
def _convolve(x: Tensor, weight: Tensor, turned: bool) -> Tensor:
    kernel = _kernel_points(weight, turned)  # [36, I, O]
    n, _, height, width = x.shape
    out = x.new_empty(n, height, width, kernel.shape[2])
    x_last = _channels_last(x)
    for images, rows in _parts(n, height, width * max(kernel.shape[1:])):
        products = torch.bmm(_input_points(x_last[images], rows), kernel)
        _output_from_points(products, out[images, rows])
    return _as_laid_out(out.permute(0, 3, 1, 2), x)


@torch.autocast("cpu", enabled=False)
def _correlate(x: Tensor, grad: Tensor) -> Tensor:
    n, _, height, width = x.shape
    x_last, grad_last = _channels_last(x), _channels_last(grad)
    points = x.new_empty(POINTS**2, grad.shape[1], x.shape[1])
    before = 0.0  # what is there counts as nothing, then as the sum so far
    for images, rows in _parts(n, height, width * max(grad.shape[1], x.shape[1])):
        ends = _gradient_points(grad_last[images, rows]).transpose(1, 2)
        points.baddbmm_(ends, _input_points(x_last[images], rows), beta=before)
        before = 1.0
    gradient = _kernel_map(points).T @ points.flatten(1)  # [9, O * I]
    return gradient.T.reshape(*points.shape[1:], 3, 3)


def _channels_last(x: Tensor) -> Tensor:
    """``[N, C, H, W]`` to ``[N, H, W, C]``, contiguous."""
    return x.permute(0, 2, 3, 1).contiguous()


def _as_laid_out(y: Tensor, like: Tensor) -> Tensor:
    """``y``, which is channels_last, in the layout of ``like``."""
    return y if like.is_contiguous(memory_format=torch.channels_last) else y.contiguous()


def _parts(n: int, height: int, numbers: int) -> Iterator[tuple[slice, slice]]:
    """A batch of ``n`` images, of ``height`` rows of ``numbers`` each, in parts of about CHUNK transformed numbers.

    A part is some images, whole, or some rows of tiles of one image. Parts are about equal.
    """
    rows = CHUNK / (numbers * POINTS**2 / TILE**2)
    step = math.ceil(n / math.ceil(n * height / rows))
    bands = max(math.ceil(height / rows), 1)
    band = math.ceil(height / TILE / bands) * TILE
    for i in range(0, n, step):
        for top in range(0, height, band):
            yield slice(i, i + step), slice(top, min(top + band, height))


# The maps. Along one side each takes and fills sequences of slices; along both it is applied twice. Sums of the values
# at +p and -p are shared, so a side takes a dozen additions.


def _kernel_map(like: Tensor) -> Tensor:
    """``[36, 9]``: a 3x3 kernel, row by row, to its polynomial at pairs of points.

    Each value is divided by the product of the point's distances to the others, as in Lagrange's interpolation.
    """
    rows = [(1 / (A * A * B * B), 0.0, 0.0)]
    for point, other in ((A, B), (-A, B), (B, A), (-B, A)):
        norm = 2 * point**2 * (point**2 - other**2)
        rows.append((1 / norm, point / norm, point**2 / norm))
    side = torch.tensor([*rows, (0.0, 0.0, 1.0)], dtype=torch.float64)
    return torch.kron(side, side).to(like)


def _kernel_points(weight: Tensor, turned: bool) -> Tensor:
    """``[O, I, 3, 3]`` to ``[36, I, O]``; turned by half a circle, ``[36, O, I]``."""
    side = _kernel_map(weight)
    points = (side.flip(1) if turned else side) @ weight.reshape(-1, 9).T
    points = points.view(POINTS**2, *weight.shape[:2])
    return points if turned else points.transpose(1, 2)


def _input_points(x: Tensor, part: slice) -> Tensor:
    """``[n, H, W, C]`` to the values of its overlapping 6x6 tiles in some rows, ``[36, tiles, C]``."""
    n, whole, width, channels = x.shape
    height = part.stop - part.start
    down, across = height // TILE, width // TILE
    padded = x.new_zeros(n, height + 2, width + 2, channels)
    first, last = max(part.start - 1, 0), min(part.stop + 1, whole)
    padded[:, first - part.start + 1 : last - part.start + 1, 1:-1] = x[:, first:last]
    rows = x.new_empty(POINTS, n, down, width + 2, channels)
    _input_side([padded[:, i : i + height - 3 : TILE] for i in range(POINTS)], rows)
    points = x.new_empty(POINTS, POINTS, n, down, across, channels)
    _input_side([rows[:, :, :, j : j + width - 3 : TILE] for j in range(POINTS)], points.unbind(1))
    return points.view(POINTS**2, -1, channels)


def _input_side(d: Sequence[Tensor], out: Sequence[Tensor]) -> None:
    a2, b2 = A * A, B * B
    for point, other, plus, minus in ((A, b2, out[1], out[2]), (B, a2, out[3], out[4])):
        even, odd = torch.sub(d[4], d[2], alpha=other), torch.sub(d[3], d[1], alpha=other)
        torch.add(even, odd, alpha=point, out=plus)
        torch.sub(even, odd, alpha=point, out=minus)
    torch.sub(d[4], d[2], alpha=a2 + b2, out=out[0]).add_(d[0], alpha=a2 * b2)
    torch.sub(d[5], d[3], alpha=a2 + b2, out=out[5]).add_(d[1], alpha=a2 * b2)


def _output_from_points(products: Tensor, out: Tensor) -> None:
    """``[36, tiles, C]`` into the 4x4 tiles of ``out`` ``[n, H, W, C]``."""
    n, height, width, channels = out.shape
    down, across = height // TILE, width // TILE
    points = products.view(POINTS, POINTS, n, down, across, channels)
    rows = out.new_empty(TILE, POINTS, n, down, across, channels)
    _output_side(points, rows)
    tiles = out.view(n, down, TILE, across, TILE, channels).permute(2, 4, 0, 1, 3, 5)
    _output_side(rows.unbind(1), tiles.unbind(1))


def _output_side(m: Sequence[Tensor], out: Sequence[Tensor]) -> None:
    (even_a, odd_a), (even_b, odd_b) = ((m[i] + m[i + 1], m[i] - m[i + 1]) for i in (1, 3))
    torch.add(m[0], even_a, out=out[0]).add_(even_b)
    torch.add(odd_a.mul_(A), odd_b, alpha=B, out=out[1])
    torch.add(even_a.mul_(A * A), even_b, alpha=B * B, out=out[2])
    torch.add(m[5], odd_a, alpha=A * A, out=out[3]).add_(odd_b, alpha=B**3)


def _gradient_points(grad: Tensor) -> Tensor:
    """The transpose of :func:`_output_from_points`: ``[n, H, W, C]`` to ``[36, tiles, C]``."""
    n, height, width, channels = grad.shape
    down, across = height // TILE, width // TILE
    rows = grad.new_empty(POINTS, n, down, width, channels)
    _gradient_side([grad[:, i::TILE] for i in range(TILE)], rows)
    points = grad.new_empty(POINTS, POINTS, n, down, across, channels)
    _gradient_side([rows[:, :, :, j::TILE] for j in range(TILE)], points.unbind(1))
    return points.view(POINTS**2, -1, channels)


def _gradient_side(y: Sequence[Tensor], out: Sequence[Tensor]) -> None:
    out[0].copy_(y[0])
    for point, plus, minus in ((A, out[1], out[2]), (B, out[3], out[4])):
        even, odd = torch.add(y[0], y[2], alpha=point**2), torch.add(y[1], y[3], alpha=point**2)
        torch.add(even, odd, alpha=point, out=plus)
        torch.sub(even, odd, alpha=point, out=minus)
    out[5].copy_(y[3])


# The registered ops: the convolution, or with `turned` its gradient for the input, which is the kernel turned round,
# from O to I channels; and the gradient for the weights. Each is linear in both arguments, so their derivatives are
# each other.


def _fake(x: Tensor, weight: Tensor, turned: bool) -> Tensor:
    last = x.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if last else torch.contiguous_format
    shape = (x.shape[0], weight.shape[1 if turned else 0], *x.shape[2:])
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, ctx.turned = inputs
    ctx.save_for_backward(x, weight)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
    x, weight = ctx.saved_tensors
    of_x = CONV3X3(grad, weight, not ctx.turned) if ctx.needs_input_grad[0] else None
    ends = (grad, x) if ctx.turned else (x, grad)
    of_weight = CONV3X3_OF_WEIGHT(*ends) if ctx.needs_input_grad[1] else None
    return of_x, of_weight, None


def _fake_of_weight(x: Tensor, grad: Tensor) -> Tensor:
    o, i = grad.shape[1], x.shape[1]
    return x.new_empty(9, o * i).T.reshape(o, i, 3, 3)


def _keep_of_weight(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward_of_weight(ctx: Any, weight: Tensor) -> tuple[Tensor | None, Tensor | None]:
    x, grad = ctx.saved_tensors
    of_x = CONV3X3(grad, weight, True) if ctx.needs_input_grad[0] else None
    of_grad = CONV3X3(x, weight, False) if ctx.needs_input_grad[1] else None
    return of_x, of_grad


CONV3X3 = register(
    "conv3x3(Tensor x, Tensor weight, bool turned) -> Tensor", _convolve, _fake, _keep, _backward,
)  # fmt: skip
CONV3X3_OF_WEIGHT = register(
    "conv3x3_of_weight(Tensor x, Tensor grad) -> Tensor", _correlate, _fake_of_weight, _keep_of_weight,
    _backward_of_weight,
)  # fmt: skip
