"""A 1x1 convolution modulated by a style at each pixel: what BlobGAN's layers show of themselves (Epstein et al. 2022).

``y_o = sum_c W_oc x_c m_c`` with ``m = sum_i w_i s_i``, without any norm. By linearity it is a small product for each
blob, ``sum_i w_i (sum_c W_oc s_ic x_c)``, which a GPU computes as one. On a CPU the styles of some pixels at a time are
made in the cache and go at once; nothing is kept but the arguments. With ``g`` the gradient of ``y``, ``t = W^T g`` and
``h = t x``:

    dL/dx = t m,    dL/dw_i = sum_c h_c s_ic,    dL/ds = sum_pixels w h,    dL/dW = sum_pixels g (x m)
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cuda_ops.checks import check_floating, check_same_device, is_channels_last
from cuda_ops.registration import differentiate_twice, register, without_autocast
from cuda_ops.spatial_modulation import check_maps
from cuda_ops.spatial_modulation_reference import flat, in_single_precision, outer, parts


def spatial_projection(x: Tensor, weights: Tensor, styles: Tensor, kernel: Tensor) -> Tensor:
    """``sum_c kernel_oc x_c m_c`` with the style ``m = sum_i weights_i styles_i`` of each pixel.

    Args:
        x: ``[N, C, H, W]``, in any memory layout.
        weights: of each blob and the background at each pixel, ``[N, K, H, W]``, K of 192 or less.
        styles: of each blob and the background, ``[N, K, C]``.
        kernel: ``[O, C]``.

    Returns:
        ``[N, O, H, W]`` of float32, or float64 for a float64 ``x``, and computed in that; on a GPU the products are
        computed in the type of ``x``, or of autocast. Differentiable twice.

    Raises:
        ValueError: if shapes, types or devices do not go together.

    Example:
        >>> x = torch.ones(1, 2, 4, 4)
        >>> y = spatial_projection(x, torch.ones(1, 1, 4, 4), torch.tensor([[[3.0, 5.0]]]), torch.ones(1, 2))
        >>> y.shape, y.mean().item()
        (torch.Size([1, 1, 4, 4]), 8.0)
    """
    check_maps(x, weights, styles)
    check_floating(kernel=kernel)
    check_same_device(x=x, kernel=kernel)
    if kernel.ndim != 2 or kernel.shape[1] != x.shape[1]:
        raise ValueError(f"kernel must be [O, {x.shape[1]}] for x of {list(x.shape)}, got {list(kernel.shape)}")
    wide = torch.promote_types(x.dtype, torch.float32)
    small = weights.to(wide), styles.to(wide), kernel.to(wide)
    if x.is_cuda:
        return by_blob(x, *small)
    return SPATIAL_PROJECTION(x, *small)


def by_blob(x: Tensor, weights: Tensor, styles: Tensor, kernel: Tensor) -> Tensor:
    """A product for each blob, then their weighted sum, in PyTorch's own operations."""
    matrices = (kernel[:, None] * styles[:, None]).flatten(1, 2)  # [N, O K, C]
    seen = torch.einsum("noc,nchw->nohw", matrices.to(x.dtype), x).to(kernel.dtype)
    return (seen.unflatten(1, (len(kernel), -1)) * weights[:, None]).sum(dim=2)


@without_autocast
def _project(x: Tensor, weights: Tensor, styles: Tensor, kernel: Tensor) -> Tensor:
    x, w, s = flat(x), weights.flatten(2), styles
    y = w.new_empty(len(x), len(kernel), w.shape[2])
    last = is_channels_last(x)
    for n, p in parts(x):
        seen = outer(w[n, :, p], s[n], last)
        seen *= in_single_precision(x.flatten(2)[n, :, p])[0]
        torch.matmul(kernel, seen, out=y[n, :, p])
    return y.unflatten(2, x.shape[2:])


@without_autocast
def _project_backward(
    grad: Tensor, x: Tensor, weights: Tensor, styles: Tensor, kernel: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    laid_out, x = x, flat(x)
    g, w, s = grad.flatten(2), weights.flatten(2), styles
    of_x, last = torch.empty_like(x), is_channels_last(x)
    of_w, of_s, of_kernel = w.new_empty(w.shape), s.new_zeros(s.shape), kernel.new_zeros(kernel.shape)
    for n, p in parts(x):
        seen, towards = outer(w[n, :, p], s[n], last), outer(g[n, :, p], kernel, last)
        torch.mul(towards, seen, out=of_x.flatten(2)[n, :, p])
        there = in_single_precision(x.flatten(2)[n, :, p])[0]
        seen *= there
        towards *= there
        of_kernel += (g[n, :, p] @ seen.mT).sum(0)
        of_s[n] += w[n, :, p] @ towards.mT
        torch.matmul(s[n], towards, out=of_w[n, :, p])
    of_x = of_x if of_x.stride() == laid_out.stride() else torch.empty_like(laid_out).copy_(of_x)
    return of_x, of_w.view_as(weights), of_s, of_kernel


def _fake(x: Tensor, weights: Tensor, _: Tensor, kernel: Tensor) -> Tensor:
    return weights.new_empty(len(x), len(kernel), *x.shape[2:])


def _keep(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
    return SPATIAL_PROJECTION_BACKWARD(grad, *ctx.saved_tensors)


SPATIAL_PROJECTION = register(
    "spatial_projection(Tensor x, Tensor weights, Tensor styles, Tensor kernel) -> Tensor",
    _project, _fake, _keep, _backward,
)  # fmt: skip


def _fake_backward(
    _: Tensor, x: Tensor, weights: Tensor, styles: Tensor, kernel: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    small = (torch.empty_like(t, memory_format=torch.contiguous_format) for t in (weights, styles, kernel))
    return torch.empty_like(x), *small


def _second_backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
    return differentiate_twice(lambda x, *small: by_blob(*in_single_precision(x), *small), ctx.saved_tensors, upstream)


SPATIAL_PROJECTION_BACKWARD = register(
    "spatial_projection_backward(Tensor grad, Tensor x, Tensor weights, Tensor styles, Tensor kernel) "
    "-> (Tensor, Tensor, Tensor, Tensor)",
    _project_backward, _fake_backward, _keep, _second_backward,
)  # fmt: skip
