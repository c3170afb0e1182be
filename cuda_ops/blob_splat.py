"""Blobs to weights at each pixel, on a whole pyramid of resolutions (BlobGAN, Epstein et al. 2022, section 3.1)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cuda_ops.blob_splat_reference import View, factors, formula, logits, splat, splat_backward
from cuda_ops.checks import DTYPES, check_floating, check_same_device, check_same_dtype
from cuda_ops.registration import as_variable, register

AREA = 0.02      # of the released models
MAX_BLOBS = 191  # with the background, what a kernel keeps in shared memory


def blob_splat(
    centre: Tensor,
    size: Tensor,
    log_aspect: Tensor,
    angle: Tensor,
    resolution: int,
    smallest: int,
    *,
    opacity: Tensor | None = None,
    order: Tensor | None = None,
    area: float = AREA,
    offset: float = 0.0,
    dtype: torch.dtype | None = None,
) -> dict[int, Tensor]:
    """The share of each blob, and of the background behind them, in each pixel.

    A blob's opacity is ``opacity * sigmoid(size - d^2)``, with the Mahalanobis distance ``d`` from its centre under the
    covariance ``R diag(area * e^log_aspect, area / e^log_aspect) R^T + 1e-5``. Blobs cover one another in their order:
    ``w_i = o_i prod_{j in front of i} (1 - o_j)``, and the background gets the rest.

    Args:
        centre: x to the right and y down, in widths of the image, ``[N, K, 2]``, K of 191 or less; may lie
            outside [0, 1].
        size: the logit of the opacity at the centre, ``[N, K]``.
        log_aspect: logarithm of a blob's length along ``angle`` over its width, ``[N, K]``.
        angle: unit vectors ``(cos, sin)``, ``[N, K, 2]``; not normalised here.
        resolution: of the first level.
        smallest: resolution of the last level; the first's, halved any number of times.
        opacity: bounds of the opacities, in [0, 1], ``[N, K]``; 1 by default.
        order: the blobs' indices from back to front, ``[K]`` or ``[N, K]`` of int64; ascending by default. Whether a
            row is a permutation is not checked.
        area: geometric mean of a blob's two variances.
        offset: where in a pixel it is sampled: 0 at its corner, as the released models do, 0.5 in its middle.
        dtype: of the result; that of ``centre`` by default. Computed in float32, or float64 for float64.

    Returns:
        Weights by resolution, the largest first, ``[N, K + 1, R, R]`` each: the background's, then the blobs' by index.
        They sum to 1 over the maps. Each level is the mean over 2x2 pixels of the one before. Twice differentiable.

    Raises:
        ValueError: if shapes, types or devices do not go together, or a number is out of range.

    Example:
        >>> one = torch.ones(1, 1)
        >>> levels = blob_splat(torch.tensor([[[0.5, 0.5]]]), one, 0 * one, torch.tensor([[[1.0, 0.0]]]), 8, 4)
        >>> [list(level.shape) for level in levels.values()]
        [[1, 2, 8, 8], [1, 2, 4, 4]]
    """
    _check(centre, size, log_aspect, angle, opacity, order)
    view = _view(resolution, smallest, area, offset)
    dtype = centre.dtype if dtype is None else dtype
    if dtype not in DTYPES:
        raise ValueError(f"dtype must be one of {list(DTYPES)}, got {dtype}")
    blobs = _packed(centre, size, log_aspect, angle, opacity)
    blobs = blobs.to(torch.float64 if dtype == torch.float64 else torch.float32)
    if order is not None:
        order = order.expand(size.shape)
    if blobs.is_cuda and blobs.dtype == torch.float64:  # for checks of gradients: there are no kernels
        levels = formula(blobs, order, view)
    else:
        levels = BLOB_SPLAT(blobs, order, *view, dtype)
    return dict(zip(view.resolutions, levels, strict=True))


def blob_opacity(
    centre: Tensor,
    size: Tensor,
    log_aspect: Tensor,
    angle: Tensor,
    resolution: int,
    *,
    opacity: Tensor | None = None,
    area: float = AREA,
    offset: float = 0.0,
) -> Tensor:
    """Each blob's own opacity, whatever covers it: ``[N, K, R, R]``, to draw it.

    Arguments are those of :func:`blob_splat`. In plain PyTorch, differentiable to any order.
    """
    _check(centre, size, log_aspect, angle, opacity, None)
    view = _view(resolution, resolution, area, offset)
    blobs = _packed(centre, size, log_aspect, angle, opacity)
    return blobs[..., 6, None, None] * torch.sigmoid(logits(factors(blobs, view)))


def _packed(centre: Tensor, size: Tensor, log_aspect: Tensor, angle: Tensor, opacity: Tensor | None) -> Tensor:
    """``[N, K, 7]``."""
    last = torch.ones_like(size) if opacity is None else opacity
    return torch.cat([centre, size[..., None], log_aspect[..., None], angle, last[..., None]], 2)


def _check(
    centre: Tensor, size: Tensor, log_aspect: Tensor, angle: Tensor, opacity: Tensor | None, order: Tensor | None
) -> None:
    if centre.ndim != 3 or not 1 <= centre.shape[1] <= MAX_BLOBS or centre.shape[2] != 2:
        raise ValueError(f"centre must be [N, K, 2] with K of 1 to {MAX_BLOBS}, got {list(centre.shape)}")
    n, k, _ = centre.shape
    named = {"centre": centre, "size": size, "log_aspect": log_aspect, "angle": angle, "opacity": opacity}
    check_floating(**named)
    check_same_dtype(**named)
    check_same_device(**named, order=order)
    for name, tensor in named.items():
        shape = [n, k, 2] if name == "angle" else [n, k]
        if tensor is not None and name != "centre" and list(tensor.shape) != shape:
            raise ValueError(f"{name} must be {shape}, for a centre of {[n, k, 2]}, got {list(tensor.shape)}")
    if order is None:
        return
    if order.dtype != torch.int64 or list(order.shape) not in ([k], [n, k]):
        kind = str(order.dtype).removeprefix("torch.")
        raise ValueError(f"order must be {[k]} or {[n, k]} of int64, got {list(order.shape)} of {kind}")


def _view(resolution: int, smallest: int, area: float, offset: float) -> View:
    if smallest < 1 or resolution < smallest:
        raise ValueError(f"resolution and smallest must be 1 or more, in this order, got {resolution} and {smallest}")
    times, rest = divmod(resolution, smallest)
    if rest or times & (times - 1):
        raise ValueError(f"resolution must be smallest times a power of 2, got {resolution} and {smallest}")
    if not area > 0:
        raise ValueError(f"area must be more than 0, got {area}")
    return View(resolution, smallest, float(area), float(offset))


# The registered ops. Blobs are packed, in float32 or float64; a backward pass keeps them and nothing else.


def _reference(
    blobs: Tensor, order: Tensor | None, resolution: int, smallest: int, area: float, offset: float, dtype: torch.dtype
) -> list[Tensor]:
    return splat(blobs, order, View(resolution, smallest, area, offset), dtype)


def _fake(
    blobs: Tensor, _: Tensor | None, resolution: int, smallest: int, area: float, offset: float, dtype: torch.dtype
) -> list[Tensor]:
    n, k, _ = blobs.shape
    resolutions = View(resolution, smallest, area, offset).resolutions
    return [blobs.new_empty(n, k + 1, r, r, dtype=dtype) for r in resolutions]


def _keep(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    blobs, order, *view, _ = inputs
    ctx.save_for_backward(blobs, order)
    ctx.view = View(*view)


def _backward(ctx: Any, grads: list[Tensor]) -> tuple[Tensor | None, ...]:
    blobs, order = ctx.saved_tensors
    return BLOB_SPLAT_BACKWARD(grads, blobs, order, *ctx.view), *[None] * 6


BLOB_SPLAT = register(
    "blob_splat(Tensor blobs, Tensor? order, int resolution, int smallest, float area, float offset, "
    "ScalarType dtype) -> Tensor[]",
    _reference, _fake, _keep, _backward,
)  # fmt: skip


def _backward_reference(
    grads: list[Tensor], blobs: Tensor, order: Tensor | None, resolution: int, smallest: int, area: float, offset: float
) -> Tensor:
    return splat_backward(grads, blobs, order, View(resolution, smallest, area, offset))


def _fake_backward(_: list[Tensor], blobs: Tensor, *__: Any) -> Tensor:
    return torch.empty_like(blobs, memory_format=torch.contiguous_format)


def _keep_for_second(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    grads, blobs, order, *view = inputs
    ctx.save_for_backward(blobs, order, *grads)
    ctx.view = View(*view)


def _second_backward(ctx: Any, upstream: Tensor) -> tuple[Any, ...]:
    """By the formula: what a path-length penalty needs, and rare enough."""
    blobs, order, *grads = ctx.saved_tensors
    higher = torch.is_grad_enabled()
    with torch.enable_grad():
        blobs, *grads = (as_variable(t) for t in (blobs, *grads))
        levels = [level.to(g.dtype) for level, g in zip(formula(blobs, order, ctx.view), grads, strict=True)]
        (first,) = torch.autograd.grad(levels, blobs, grads, create_graph=True)
        of_blobs, *of_grads = torch.autograd.grad(first, [blobs, *grads], upstream, create_graph=higher)
    return of_grads, of_blobs, *[None] * 5


BLOB_SPLAT_BACKWARD = register(
    "blob_splat_backward(Tensor[] grads, Tensor blobs, Tensor? order, int resolution, int smallest, float area, "
    "float offset) -> Tensor",
    _backward_reference, _fake_backward, _keep_for_second, _second_backward,
)  # fmt: skip
