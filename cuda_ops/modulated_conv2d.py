"""The layer of StyleGAN2's generator: a convolution whose weights a style scales (Karras et al. 2020, equations 1, 3).

A kernel for each sample would be the definition. By linearity one kernel serves all, between two passes over the maps:
the style scales the input; demodulation, noise, bias and activation are one pass over the output
(``cuda_ops/channel_affine.py``). The convolution itself is the library's.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from cuda_ops.bias_act import ACTIVATIONS
from cuda_ops.channel_affine import IDENTITY, unchecked
from cuda_ops.checks import check_floating, check_same_device
from cuda_ops.conv2d import conv2d
from cuda_ops.upfirdn2d import upsample2d

SLOPES = {"linear": 1.0, "relu": 0.0, "lrelu": ACTIVATIONS["lrelu"].alpha}  # below zero
EPSILON = 1e-8


def modulated_conv2d(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
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
    """``clamp(gain * act(d * conv(s * x, w) + strength * noise + bias))``, differentiable to any order.

    Args:
        x: input, ``[N, I, H, W]``.
        weight: ``[O, I, k, k]``, k odd; not scaled by fan-in, demodulation removes its scale.
        styles: s, ``[N, I]``.
        noise: ``[up*H, up*W]`` for all samples, or ``[N, 1, up*H, up*W]``.
        noise_strength: a number, ``[]``; 1 by default.
        bias: ``[O]``.
        up: 1, or 2 to double the resolution.
        resample_filter: low-pass filter, needed for ``up=2``.
        demodulate: scale each output channel to unit expected norm by d, equation 3.
        act: ``linear``, ``relu`` or ``lrelu``.
        gain: factor after the activation, above zero; the activation's own by default.
        clamp: bound on the magnitude of the result, above zero; none by default.

    Returns:
        ``[N, O, up*H, up*W]`` of the type and in the layout of ``x``.

    Raises:
        ValueError: if shapes, types or devices do not go together, or an option is unknown.
    """
    noise = noise[None, None] if noise is not None and noise.ndim == 2 else noise
    _check(x, weight, styles, noise, noise_strength, bias, up, resample_filter, act, gain, clamp)
    if x.dtype == torch.float16 and demodulate:
        # Keeps w * s within half precision; demodulation removes both factors again.
        weight = weight / (math.sqrt(weight[0].numel()) * weight.abs().amax(dim=[1, 2, 3], keepdim=True))
        styles = styles / styles.abs().amax(dim=1, keepdim=True)
    y = _modulated(x, weight, styles, resample_filter if up == 2 else None)
    activation = SLOPES[act], ACTIVATIONS[act].gain if gain is None else gain, math.inf if clamp is None else clamp
    channels = y.shape[1]
    if noise is not None:
        noise_strength = x.new_ones([]) if noise_strength is None else noise_strength
        noise_strength = noise_strength.expand(1, channels)
    return unchecked(
        y,
        demodulation(weight, styles) if demodulate else None,
        noise,
        None if noise is None else noise_strength,
        None if bias is None else bias[None],
        activation,
    )


def demodulation(weight: Tensor, styles: Tensor) -> Tensor:
    """Equation 3 as a factor for each sample and output channel, ``[N, O]``.

    The sum over k of (w s)^2 is a matrix product: no kernel for each sample is built for it.
    """
    energy = styles.square() @ weight.square().sum(dim=[2, 3]).T
    return (energy + EPSILON).rsqrt()


def _modulated(x: Tensor, weight: Tensor, styles: Tensor, f: Tensor | None) -> Tensor:
    """``conv(styles * x, weight)``: the style goes where it costs least."""
    if weight.shape[2:] == (1, 1):
        # A matrix product for each sample anyway: the small matrices take the style, and x stays as it is.
        y = _pointwise(x, (weight[:, :, 0, 0] * styles[:, None]).to(x.dtype))
        return y if f is None else upsample2d(y, f)  # a filter without a kernel: zeros between, then the low-pass
    if len(x) == 1 and not (torch.is_grad_enabled() and (weight.requires_grad or styles.requires_grad)):
        return conv2d(x, (weight * styles[:, :, None, None]).to(x.dtype), f)
    return conv2d(unchecked(x, styles, None, None, None, IDENTITY), weight.to(x.dtype), f)


def _pointwise(x: Tensor, matrices: Tensor) -> Tensor:
    """``[N, I, H, W]`` by a matrix ``[O, I]`` for each sample, in the layout of ``x``."""
    size = x.shape[2:]
    if x.is_contiguous(memory_format=torch.channels_last):
        return (x.permute(0, 2, 3, 1).flatten(1, 2) @ matrices.mT).unflatten(1, size).permute(0, 3, 1, 2)
    return (matrices @ x.flatten(2)).unflatten(2, size)


def _check(
    x: Tensor, weight: Tensor, styles: Tensor, noise: Tensor | None, noise_strength: Tensor | None,
    bias: Tensor | None, up: int, f: Tensor | None, act: str, gain: float | None, clamp: float | None,
) -> None:  # fmt: skip
    tensors = {"x": x, "weight": weight, "styles": styles, "noise": noise, "noise_strength": noise_strength,
               "bias": bias, "resample_filter": f}  # fmt: skip
    check_floating(**tensors)
    check_same_device(**tensors)
    if x.ndim != 4 or weight.ndim != 4 or weight.shape[2] != weight.shape[3] or weight.shape[2] % 2 == 0:
        raise ValueError(f"x must be [N, I, H, W] and weight [O, I, k, k] with an odd k, got {list(x.shape)} and "
                         f"{list(weight.shape)}")  # fmt: skip
    n, c, height, width = x.shape
    if styles.shape != (n, c) or weight.shape[1] != c:
        raise ValueError(f"styles must be [{n}, {c}] and weight [O, {c}, k, k], got "
                         f"{list(styles.shape)} and {list(weight.shape)}")  # fmt: skip
    if up not in (1, 2) or (up == 2 and f is None):
        raise ValueError(f"up must be 1, or 2 with a resample_filter, got up={up}")
    size = [up * height, up * width]
    if noise is not None and list(noise.shape) not in ([n, 1, *size], [1, 1, *size]):
        raise ValueError(f"noise must be {size} or [{n}, 1, {size[0]}, {size[1]}], got {list(noise.shape)}")
    if noise_strength is not None and noise_strength.ndim:
        raise ValueError(f"noise_strength must be one number, [], got {list(noise_strength.shape)}")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"bias must be [{len(weight)}], got {list(bias.shape)}")
    if act not in SLOPES:
        raise ValueError(f"act must be one of {sorted(SLOPES)}, got {act!r}")
    for name, value in (("gain", gain), ("clamp", clamp)):
        if value is not None and not value > 0:
            raise ValueError(f"{name} must be above 0, got {value}")
