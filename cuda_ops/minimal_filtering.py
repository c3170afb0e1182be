"""The linear maps of minimal filtering: from tiles, kernels and gradients to what is multiplied, and back to an image.

Winograd's F(4x4, 3x3) (Lavin & Gray 2016, arXiv 1509.09308): a 4x4 tile of the output takes 36 products of numbers that
are linear in a 6x6 tile of the input and in the kernel; the direct sum takes 144. Over all tiles and channels they are
36 matrix products. The maps are those of a polynomial to its values at 0, +-A, +-B and infinity. With A = 1/sqrt(2) and
B = sqrt(2) in place of the paper's 1 and 2, the rounding error in single precision is that of a direct convolution.

The maps of images are in plain PyTorch here, and in ``csrc/minimal_filtering.cpp`` for who has a C++ compiler, where a
tile stays in registers meanwhile.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from cuda_ops import backend
from cuda_ops.registration import define

TILE = 4           # outputs a side of a tile
POINTS = TILE + 2  # inputs, and products, a side of a tile

A, B = math.sqrt(0.5), math.sqrt(2)


class Maps(NamedTuple):
    """Of images, ``[n, H, W, C]`` with H and W whole tiles; points are ``[36, tiles, C]``."""

    input_points: Callable[[Tensor, int, int], Tensor]        # of the 6x6 tiles of an image's rows from top to bottom
    output_from_points: Callable[[Tensor, Tensor], None]      # products into the 4x4 tiles of an image
    gradient_points: Callable[[Tensor], Tensor]               # the transpose of that


def image_maps(dtype: torch.dtype) -> Maps:
    """The kernels' where they can be had, which are for contiguous channels in float32 or float64."""
    if dtype not in (torch.float32, torch.float64) or not backend.cpu_ready():
        return IN_PYTORCH
    return KERNELS


def kernel_map(like: Tensor) -> Tensor:
    """``[36, 9]``: a 3x3 kernel, row by row, to its polynomial at pairs of points.

    Each value is divided by the product of the point's distances to the others, as in Lagrange's interpolation.
    """
    rows = [(1 / (A * A * B * B), 0.0, 0.0)]
    for point, other in ((A, B), (-A, B), (B, A), (-B, A)):
        norm = 2 * point**2 * (point**2 - other**2)
        rows.append((1 / norm, point / norm, point**2 / norm))
    side = torch.tensor([*rows, (0.0, 0.0, 1.0)], dtype=torch.float64)
    return torch.kron(side, side).to(like)


def kernel_points(weight: Tensor, turned: bool) -> Tensor:
    """``[O, I, 3, 3]`` to ``[36, I, O]``; turned by half a circle, ``[36, O, I]``."""
    side = kernel_map(weight)
    points = (side.flip(1) if turned else side) @ weight.reshape(-1, 9).T
    points = points.view(POINTS**2, *weight.shape[:2])
    return points if turned else points.transpose(1, 2)


# In plain PyTorch. Along one side each map takes and fills sequences of slices; along both it is applied twice. Sums of
# the values at +p and -p are shared, so a side takes a dozen additions.


def _input_points(x: Tensor, top: int, bottom: int) -> Tensor:
    """``[n, H, W, C]`` to the values of overlapping 6x6 tiles of the rows from top to bottom, ``[36, tiles, C]``."""
    n, whole, width, channels = x.shape
    height = bottom - top
    down, across = height // TILE, width // TILE
    padded = x.new_zeros(n, height + 2, width + 2, channels)
    first, last = max(top - 1, 0), min(bottom + 1, whole)
    padded[:, first - top + 1 : last - top + 1, 1:-1] = x[:, first:last]
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


# Steps of an op beneath its autograd. What they do on a CPU is in the library that backend.cpu_ready loads.
KERNELS = Maps(
    define("conv3x3_input_points(Tensor x, int top, int bottom) -> Tensor"),
    define("conv3x3_output_from_points(Tensor products, Tensor(a!) y) -> ()"),
    define("conv3x3_gradient_points(Tensor grad) -> Tensor"),
)
IN_PYTORCH = Maps(_input_points, _output_from_points, _gradient_points)
