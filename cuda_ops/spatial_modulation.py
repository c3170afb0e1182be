"""Modulation by a style at each pixel: the layers of BlobGAN's generator (Epstein et al. 2022, section 3.2)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cuda_ops.checks import check_floating, check_same_device
from cuda_ops.registration import differentiate_twice, register
from cuda_ops.spatial_modulation_reference import formula, in_single_precision, modulate, modulate_backward

MAX_MAPS = 192  # what a kernel keeps in shared memory


def spatial_modulation(x: Tensor, weights: Tensor, styles: Tensor, eps: float = 1e-8) -> Tensor:
    """``x * m / sqrt(mean_c m^2 + eps)`` with the style ``m = sum_i weights_i styles_i`` of each pixel.

    No map of styles is made, forward or backward, and nothing is kept but the arguments.

    Args:
        x: ``[N, C, H, W]``, in any memory layout.
        weights: of each blob and the background at each pixel, ``[N, K, H, W]``, K of 192 or less.
        styles: of each blob and the background, ``[N, K, C]``.
        eps: added to the mean square of a pixel's style. In single precision a mean square below about 1e-7 of the
            styles' own, where they cancel, is rounded.

    Returns:
        A tensor shaped, laid out and typed as ``x``; ``weights`` and ``styles`` are converted to its type. Computed in
        float32, or float64 for float64. Twice differentiable.

    Raises:
        ValueError: if shapes, types or devices do not go together, or ``eps`` is not positive.

    Example:
        >>> x = torch.ones(1, 2, 4, 4)
        >>> spatial_modulation(x, torch.ones(1, 1, 4, 4), torch.tensor([[[3.0, 3.0]]])).mean().item()
        1.0
    """
    check_maps(x, weights, styles)
    if not eps > 0:
        raise ValueError(f"eps must be more than 0, got {eps}")
    weights, styles = weights.to(x.dtype), styles.to(x.dtype)
    if x.is_cuda and x.dtype == torch.float64:  # for checks of gradients: there are no kernels
        return formula(x, weights, styles, eps)
    return SPATIAL_MODULATION(x, weights, styles, float(eps))


def check_maps(x: Tensor, weights: Tensor, styles: Tensor) -> None:
    """Raise ValueError unless they are ``[N, C, H, W]``, ``[N, K, H, W]`` and ``[N, K, C]``."""
    check_floating(x=x, weights=weights, styles=styles)
    check_same_device(x=x, weights=weights, styles=styles)
    if x.ndim != 4:
        raise ValueError(f"x must be [N, C, H, W], got {list(x.shape)}")
    n, channels, height, width = x.shape
    if weights.ndim != 4 or [weights.shape[0], *weights.shape[2:]] != [n, height, width]:
        wanted = f"[{n}, K, {height}, {width}]"
        raise ValueError(f"weights must be {wanted} for x of {list(x.shape)}, got {list(weights.shape)}")
    k = weights.shape[1]
    if not 1 <= k <= MAX_MAPS:
        raise ValueError(f"weights must have 1 to {MAX_MAPS} maps, got {k}")
    if list(styles.shape) != [n, k, channels]:
        raise ValueError(f"styles must be {[n, k, channels]} for these x and weights, got {list(styles.shape)}")


# The registered ops: all tensors of one type.


def _fake(x: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(x)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.eps = inputs
    ctx.save_for_backward(*tensors)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    return *SPATIAL_MODULATION_BACKWARD(grad, *ctx.saved_tensors, ctx.eps), None


SPATIAL_MODULATION = register(
    "spatial_modulation(Tensor x, Tensor weights, Tensor styles, float eps) -> Tensor",
    modulate, _fake, _keep, _backward,
)  # fmt: skip


def _fake_backward(_: Tensor, x: Tensor, weights: Tensor, styles: Tensor, __: float) -> tuple[Tensor, Tensor, Tensor]:
    small = (torch.empty_like(t, memory_format=torch.contiguous_format) for t in (weights, styles))
    return torch.empty_like(x), *small


def _second_backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
    def form(*inputs: Tensor) -> Tensor:
        return formula(*in_single_precision(*inputs), ctx.eps)

    return *differentiate_twice(form, ctx.saved_tensors, upstream), None


SPATIAL_MODULATION_BACKWARD = register(
    "spatial_modulation_backward(Tensor grad, Tensor x, Tensor weights, Tensor styles, float eps) "
    "-> (Tensor, Tensor, Tensor)",
    modulate_backward, _fake_backward, _keep, _second_backward,
)  # fmt: skip
