"""Modulation by a style at each pixel in plain PyTorch, without the map of styles: in parts, and by a formula.

With weights ``w_i`` at a pixel and styles ``s_i`` of C channels, the modulated map is ``y = x m r``, where ``m = sum_i
w_i s_i`` and ``r = (mean_c m^2 + eps)^(-1/2)``. The mean over the channels needs no channel: it is ``q = w^T G w`` with
the Gram matrix ``G = S S^T / C`` of the styles, a few numbers a sample.

Gradients, with ``g`` that of ``y``, ``h = g x`` and ``b_i = sum_c h_c s_ic`` (so that ``sum_c h_c m_c = w . b``):

    dL/dx = g m r
    dL/dq = -(w . b) r^3 / 2
    dL/dw = r b + 2 dL/dq G w
    dL/ds = sum_pixels (w r) h + (2 / C) dG S,    dG = sum_pixels dL/dq w w^T
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from cuda_ops.checks import is_channels_last

CHUNK = 1 << 18  # numbers of x in a part, so that its maps stay in a cache


def formula(x: Tensor, weights: Tensor, styles: Tensor, eps: float) -> Tensor:
    """The straightforward form, differentiable: the map of styles, normalised at each pixel."""
    style = torch.einsum("nkhw,nkc->nchw", weights, styles)
    return x * style * (style.square().mean(1, keepdim=True) + eps).rsqrt()


class Norm(NamedTuple):
    """What normalises the styles of each pixel."""

    gram_weights: Tensor  # G w, [N, K, P]
    inverse: Tensor       # r, [N, 1, P]


def norm(w: Tensor, s: Tensor, eps: float) -> Norm:
    """Of weights ``[N, K, P]`` and styles ``[N, K, C]``."""
    gram_weights = (s @ s.mT / s.shape[2]) @ w
    # Rounding may leave a q of nearly nothing below zero.
    q = (w * gram_weights).sum(1, keepdim=True).clamp_min(0)
    return Norm(gram_weights, (q + eps).rsqrt())


def modulate(x: Tensor, weights: Tensor, styles: Tensor, eps: float) -> Tensor:
    """``y``, in the memory layout of ``x``; not differentiable."""
    if x is not (x_flat := flat(x)):
        return torch.empty_like(x).copy_(modulate(x_flat, weights, styles, eps))
    w, s = in_single_precision(weights.flatten(2), styles)
    w = w * norm(w, s, eps).inverse
    y = torch.empty_like(x)
    last = is_channels_last(x)
    for n, p in parts(x):
        torch.mul(x.flatten(2)[n, :, p], outer(w[n, :, p], s[n], last), out=y.flatten(2)[n, :, p])
    return y


def modulate_backward(
    grad: Tensor, x: Tensor, weights: Tensor, styles: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients for ``x``, the weights and the styles; not differentiable."""
    if x is not (x_flat := flat(x)):
        of_x, *others = modulate_backward(grad, x_flat, weights, styles, eps)
        return torch.empty_like(x).copy_(of_x), *others
    grad = grad.contiguous(memory_format=torch.channels_last if is_channels_last(x) else torch.contiguous_format)
    w, s = in_single_precision(weights.flatten(2), styles)
    gram_weights, r = norm(w, s, eps)
    scaled = w * r
    of_x, last = torch.empty_like(x), is_channels_last(x)
    b, of_s = torch.empty_like(w), torch.zeros_like(s)
    for n, p in parts(x):
        g, h = grad.flatten(2)[n, :, p].to(s.dtype), x.flatten(2)[n, :, p].to(s.dtype)
        torch.mul(g, outer(scaled[n, :, p], s[n], last), out=of_x.flatten(2)[n, :, p])
        h = g * h
        torch.matmul(s[n], h, out=b[n, :, p])
        of_s[n] += scaled[n, :, p] @ h.mT
    of_q = (w * b).sum(1, keepdim=True) * r.pow(3) / -2
    of_w = r * b + 2 * of_q * gram_weights
    of_s += (w * of_q) @ w.mT @ s * (2 / s.shape[2])
    return of_x, of_w.view_as(weights).to(weights.dtype), of_s.to(styles.dtype)


def outer(w: Tensor, s: Tensor, last: bool) -> Tensor:
    """The styles of some pixels, ``[n, C, p]``, channels last in memory or not."""
    return (w.mT @ s).mT if last else s.mT @ w


def in_single_precision(*tensors: Tensor) -> list[Tensor]:
    """Half types in float32, float64 as it is."""
    return [t if t.dtype == torch.float64 else t.float() for t in tensors]


def flat(x: Tensor) -> Tensor:
    """``x``, or a copy whose pixels are one dimension, of a single stride."""
    return x if x.is_contiguous() or is_channels_last(x) else x.contiguous()


def parts(x: Tensor) -> Iterator[tuple[slice, slice]]:
    """Samples and pixels of pieces of about CHUNK numbers."""
    n, channels, height, width = x.shape
    pixels = max(CHUNK // max(channels, 1), 1)
    samples = max(CHUNK // max(channels * height * width, 1), 1)
    for i in range(0, n, samples):
        for j in range(0, height * width, pixels):
            yield slice(i, i + samples), slice(j, j + pixels)
