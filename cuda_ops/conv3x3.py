"""3x3 convolution at one resolution, by minimal filtering where that is faster (``cuda_ops/minimal_filtering.py``).

On a CPU that is up to 2 times as fast as a direct convolution, forward and backward.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from cuda_ops import backend
from cuda_ops.minimal_filtering import POINTS, TILE, image_maps, kernel_map, kernel_points
from cuda_ops.registration import register, without_autocast

# With fewer channels the additions take as long as the products that are spared, the sooner in plain PyTorch, and the
# sooner where all is laid out anew before and after; with fewer tiles the kernel's own transform, or calling it all.
LEAST_CHANNELS = {True: 48, False: 64}        # by kernels and without, with channels last; twice as many otherwise
LEAST_WORK = {True: 1 << 20, False: 1 << 21}  # tiles times channels of the input times channels of the output
LEAST_TILES = 32
CHUNK = 600_000  # numbers of a batch that are transformed at a time, so that they stay in a cache


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
    tiles = n * height * width // TILE**2
    if height % TILE or width % TILE or tiles < LEAST_TILES:
        return False
    outputs, inputs, channels = *weight.shape[:2], min(weight.shape[:2])
    fewest = channels if x.is_contiguous(memory_format=torch.channels_last) else channels // 2
    if fewest < LEAST_CHANNELS[True]:  # before kernels are built that nobody needs
        return False
    kernels = backend.cpu_ready()
    return fewest >= LEAST_CHANNELS[kernels] and tiles * inputs * outputs >= LEAST_WORK[kernels]


@without_autocast
def _convolve(x: Tensor, weight: Tensor, turned: bool) -> Tensor:
    kernel, maps = kernel_points(weight, turned), image_maps(x.dtype)  # [36, I, O]
    n, _, height, width = x.shape
    out = x.new_empty(n, height, width, kernel.shape[2])
    x_last = _channels_last(x)
    for images, rows in _parts(n, height, width * max(kernel.shape[1:])):
        points = maps.input_points(x_last[images], rows.start, rows.stop)
        maps.output_from_points(torch.bmm(points, kernel), out[images, rows])
    return _as_laid_out(out.permute(0, 3, 1, 2), x)


@without_autocast
def _correlate(x: Tensor, grad: Tensor) -> Tensor:
    n, _, height, width = x.shape
    maps = image_maps(x.dtype)
    x_last, grad_last = _channels_last(x), _channels_last(grad)
    points = x.new_empty(POINTS**2, grad.shape[1], x.shape[1])
    before = 0.0  # what is there counts as nothing, then as the sum so far
    for images, rows in _parts(n, height, width * max(grad.shape[1], x.shape[1])):
        ends = maps.gradient_points(grad_last[images, rows]).transpose(1, 2)
        points.baddbmm_(ends, maps.input_points(x_last[images], rows.start, rows.stop), beta=before)
        before = 1.0
    if not before:  # there are no images
        points.zero_()
    gradient = kernel_map(points).T @ points.flatten(1)  # [9, O * I]
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
    if not n * height:
        return
    rows = CHUNK / (numbers * POINTS**2 / TILE**2)
    step = math.ceil(n / math.ceil(n * height / rows))
    bands = max(math.ceil(height / rows), 1)
    band = math.ceil(height / TILE / bands) * TILE
    for i in range(0, n, step):
        for top in range(0, height, band):
            yield slice(i, i + step), slice(top, min(top + band, height))


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
