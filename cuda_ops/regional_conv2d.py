"""StyleGAN2's layer with a style at each pixel: what regions with styles of their own are drawn by.

``y = d(p) conv(S(p) x, w)`` with ``S(p) = sum_k m_k(p) s_k`` at the input and ``d(p) = (sum_io w^2 S(p)^2 + eps)^-1/2``
at the output's resolution. With one region that is everywhere it is :func:`cuda_ops.modulated_conv2d.modulated_conv2d`.

The energy under the root is quadratic in the weights of the regions: ``sum_kl m_k m_l e_kl`` with a small table ``e``
of each sample, so that no map of squared styles meets the squared kernel.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from cuda_ops.bias_act import ACTIVATIONS
from cuda_ops.channel_affine import channel_affine
from cuda_ops.checks import check_floating, check_same_device
from cuda_ops.conv2d import conv2d
from cuda_ops.modulated_conv2d import EPSILON, SLOPES


def regional_conv2d(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    regions: Tensor,
    regions_out: Tensor | None = None,
    noise: Tensor | None = None,
    noise_strength: Tensor | None = None,
    bias: Tensor | None = None,
    up: int = 1,
    resample_filter: Tensor | None = None,
    demodulate: bool = True,
    act: str = "linear",
    gain: float | None = None,
    clamp: float | None = None,
) -> Tensor:
    """``clamp(gain * act(d(p) conv(S(p) x, w) + strength * noise + bias))``, differentiable to any order.

    Args:
        x: input, ``[N, I, H, W]``.
        weight: ``[O, I, k, k]``, k odd.
        styles: of the regions, ``[N, K, I]``.
        regions: their weights at each pixel of the input, ``[N, K, H, W]``; they sum to one.
        regions_out: the same at the output's resolution, ``[N, K, up*H, up*W]``; ``regions`` where ``up`` is 1.
        noise: ``[up*H, up*W]`` for all samples, or ``[N, 1, up*H, up*W]``.
        noise_strength: a number, ``[]``; 1 by default.
        bias: ``[O]``.
        up: 1, or 2 to double the resolution.
        resample_filter: low-pass filter, needed for ``up=2``.
        demodulate: scale each output channel of each pixel to unit expected norm by d.
        act: ``linear``, ``relu`` or ``lrelu``.
        gain: factor after the activation, above zero; the activation's own by default.
        clamp: bound on the magnitude of the result, above zero; none by default.

    Returns:
        ``[N, O, up*H, up*W]`` of the type of ``x``.

    Raises:
        ValueError: if shapes, types or devices do not go together, or an option is unknown.
    """
    regions_out = regions if regions_out is None else regions_out
    _check(x, weight, styles, regions, regions_out, up, resample_filter, act)
    if x.dtype == torch.float16 and demodulate:  # as in modulated_conv2d
        weight = weight / (math.sqrt(weight[0].numel()) * weight.abs().amax(dim=[1, 2, 3], keepdim=True))
        styles = styles / styles.abs().amax(dim=[1, 2], keepdim=True)
    y = conv2d(x * _mixed(regions, styles).to(x.dtype), weight.to(x.dtype), resample_filter if up == 2 else None)
    if demodulate:
        y = y * _demodulation(weight, styles, regions_out).to(x.dtype)
    noise = noise[None, None] if noise is not None and noise.ndim == 2 else noise
    strength = None
    if noise is not None:
        strength = (x.new_ones([]) if noise_strength is None else noise_strength).expand(1, y.shape[1])
    activation = SLOPES[act], ACTIVATIONS[act].gain if gain is None else gain, math.inf if clamp is None else clamp
    return channel_affine(y, None, noise, strength, None if bias is None else bias[None], activation)


def _mixed(regions: Tensor, table: Tensor) -> Tensor:
    """``[N, K, H, W]`` and ``[N, K, C]`` to the sums ``[N, C, H, W]``, laid out with channels last."""
    return (regions.flatten(2).mT @ table.to(regions)).unflatten(1, regions.shape[2:]).permute(0, 3, 1, 2)


def _demodulation(weight: Tensor, styles: Tensor, regions: Tensor) -> Tensor:
    """Equation 3 of StyleGAN2 at each pixel, ``[N, O, H, W]``."""
    kernel = weight.square().sum(dim=[2, 3])              # [O, I]
    energies = _pairs(styles) @ kernel.T                  # [N, K * K, O]
    return (_mixed(_pairs(regions), energies).clamp(min=0) + EPSILON).rsqrt()


def _pairs(x: Tensor) -> Tensor:
    """``[N, K, ...]`` to the products of each with each, ``[N, K * K, ...]``.

    Half of them occur twice; to take those alone would cost more launches on a GPU than it saves sums.
    """
    return (x[:, :, None] * x[:, None]).flatten(1, 2)


def _check(
    x: Tensor, weight: Tensor, styles: Tensor, regions: Tensor, regions_out: Tensor, up: int, f: Tensor | None, act: str
) -> None:  # fmt: skip
    tensors = {"x": x, "weight": weight, "styles": styles, "regions": regions, "regions_out": regions_out}
    check_floating(**tensors)
    check_same_device(**tensors)
    if x.ndim != 4 or weight.ndim != 4 or weight.shape[2] != weight.shape[3] or weight.shape[2] % 2 == 0:
        raise ValueError(f"x must be [N, I, H, W] and weight [O, I, k, k] with an odd k, got {list(x.shape)} and "
                         f"{list(weight.shape)}")  # fmt: skip
    n, c, height, width = x.shape
    if styles.ndim != 3 or styles.shape[::2] != (n, c) or weight.shape[1] != c:
        raise ValueError(f"styles must be [{n}, K, {c}] and weight [O, {c}, k, k], got {list(styles.shape)} and "
                         f"{list(weight.shape)}")  # fmt: skip
    if up not in (1, 2) or (up == 2 and f is None):
        raise ValueError(f"up must be 1, or 2 with a resample_filter, got up={up}")
    k = styles.shape[1]
    for name, maps, factor in (("regions", regions, 1), ("regions_out", regions_out, up)):
        size = [n, k, factor * height, factor * width]
        if list(maps.shape) != size:
            raise ValueError(f"{name} must be {size}, got {list(maps.shape)}")
    if act not in SLOPES:
        raise ValueError(f"act must be one of {sorted(SLOPES)}, got {act!r}")
