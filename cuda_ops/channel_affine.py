"""What stands around a modulated convolution: scales, noise and a bias of each channel, and a leaky ReLU, in one pass.

``z = x * scale + noise * noise_scale + bias``, then ``clamp(gain * leaky_relu(z))``: the style before the convolution;
after it demodulation, noise, bias and activation (Karras et al. 2020, equations 1 and 3, appendix B).

Two ops are closed under differentiation. The first also takes a second map with its scale, and a ``mask``, the output
of an earlier call, whose slope at each position then takes the activation's place: so it is its own second derivative.

    channel_affine(x, scale, y, y_scale, noise, noise_scale, bias, mask): clamp(gain * act(z)), or slope(mask) * z
    channel_affine_backward(grad, x, scale, noise, mask): with e = slope(mask) * grad, the gradient e * scale for x,
        and the sums of e * x, e * noise and e over the pixels, for the scales and the bias
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from cuda_ops import backend
from cuda_ops.checks import check_floating, check_same_device
from cuda_ops.registration import register

# Slope below zero, gain, and bound of the magnitude (infinite for none).
Activation = tuple[float, float, float]
IDENTITY: Activation = (1.0, 1.0, float("inf"))

SMALL = 1 << 19  # numbers in a map up to which plain operations take less time on a CPU than calling an op
PART = 1 << 20  # numbers that the reference's backward treats at a time: its steps then find them in a cache


def channel_affine(
    x: Tensor,
    scale: Tensor | None = None,
    noise: Tensor | None = None,
    noise_scale: Tensor | None = None,
    bias: Tensor | None = None,
    activation: Activation = IDENTITY,
) -> Tensor:
    """``clamp(gain * leaky_relu(x * scale + noise * noise_scale + bias))``, differentiable to any order.

    Args:
        x: ``[N, C, H, W]``, any floating point type.
        scale: ``[N, C]``, or ``[1, C]`` for all samples; so the other two of a channel.
        noise: ``[N, 1, H, W]`` or ``[1, 1, H, W]``.
        noise_scale: ``[N, C]`` or ``[1, C]``; with a noise only, and then needed.
        bias: ``[N, C]`` or ``[1, C]``.
        activation: slope below zero (at least 0), gain (above 0), bound (above 0).

    Returns:
        ``[N, C, H, W]`` of the type and in the layout of ``x``.

    Raises:
        ValueError: if a shape, a type or a number is another one.
    """
    _check(x, {"scale": scale, "noise_scale": noise_scale, "bias": bias}, noise, activation)
    return unchecked(x, scale, noise, noise_scale, bias, activation)


def unchecked(
    x: Tensor,
    scale: Tensor | None,
    noise: Tensor | None,
    noise_scale: Tensor | None,
    bias: Tensor | None,
    activation: Activation,
) -> Tensor:
    """:func:`channel_affine` for who has made sure of the arguments."""
    # A compiler can fuse plain operations, an op it cannot look into.
    if (torch.compiler.is_compiling() or x.numel() <= SMALL) and not backend.has_kernels(x):
        return _plain(x, scale, noise, noise_scale, bias, activation)
    # What is small comes in the type that kernels compute in.
    scale, noise, noise_scale, bias = (
        None if value is None else value.to(_sums_type(x)) for value in (scale, noise, noise_scale, bias)
    )
    return CHANNEL_AFFINE(x, scale, None, None, noise, noise_scale, bias, None, *activation)


def _plain(
    x: Tensor, scale: Tensor | None, noise: Tensor | None, noise_scale: Tensor | None, bias: Tensor | None,
    activation: Activation,
) -> Tensor:  # fmt: skip
    """As PyTorch's own operations, which it differentiates to any order."""
    slope, gain, clamp = activation
    scale, noise_scale, bias = (_small(value, x, gain) for value in (scale, noise_scale, bias))
    if noise is not None:
        bias = _added(noise, noise_scale, bias, x)
    x = x * gain if scale is None and gain != 1 else x
    if bias is None:
        z = x if scale is None else x * scale
    else:
        z = x + bias if scale is None else torch.addcmul(bias, x, scale)
    if slope != 1:
        z = F.leaky_relu(z, slope)
    return z if clamp == float("inf") else z.clamp(-clamp, clamp)


def _sums_type(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


def _check(x: Tensor, channels: dict[str, Tensor | None], noise: Tensor | None, activation: Activation) -> None:
    check_floating(x=x, noise=noise, **channels)
    check_same_device(x=x, noise=noise, **channels)
    if x.ndim != 4:
        raise ValueError(f"x must be [N, C, H, W], got {list(x.shape)}")
    n, c, height, width = x.shape
    for name, value in channels.items():
        if value is not None and (value.ndim != 2 or value.shape[0] not in (1, n) or value.shape[1] != c):
            raise ValueError(f"{name} must be [{n} or 1, {c}] for x {list(x.shape)}, got {list(value.shape)}")
    if (noise is None) != (channels["noise_scale"] is None):
        raise ValueError("noise and noise_scale go together, got only one")
    if noise is not None and (noise.ndim != 4 or noise.shape[0] not in (1, n) or noise.shape[1:] != (1, height, width)):
        raise ValueError(f"noise must be [{n} or 1, 1, {height}, {width}], got {list(noise.shape)}")
    slope, gain, clamp = activation
    if slope < 0 or gain <= 0 or clamp <= 0:
        raise ValueError(f"slope must be at least 0, gain and bound above 0, got {slope}, {gain}, {clamp}")


# The reference. Gain, and the type of the maps, go to the small tensors: a leaky ReLU lets positive factors through.


def _small(value: Tensor | None, like: Tensor, gain: float = 1.0) -> Tensor | None:
    """``[N or 1, C]`` to ``[N or 1, C, 1, 1]`` times the gain, for maps like ``like``."""
    if value is None:
        return None
    return (value if gain == 1 else value * gain).to(like.dtype)[:, :, None, None]


def _added(noise: Tensor, noise_scale: Tensor, bias: Tensor | None, like: Tensor) -> Tensor:
    """What is added to each value of a sample; in the layout of the maps, or adding it takes several times as long."""
    noise = noise.to(like.dtype)
    total = noise * noise_scale if bias is None else torch.addcmul(bias, noise, noise_scale)
    last = like.is_contiguous(memory_format=torch.channels_last)
    return total.contiguous(memory_format=torch.channels_last) if last else total


def _reference(
    x: Tensor, scale: Tensor | None, y: Tensor | None, y_scale: Tensor | None, noise: Tensor | None,
    noise_scale: Tensor | None, bias: Tensor | None, mask: Tensor | None, slope: float, gain: float, clamp: float,
) -> Tensor:  # fmt: skip
    scale, y_scale, noise_scale, bias = (_small(v, x, gain) for v in (scale, y_scale, noise_scale, bias))
    if noise is not None:
        bias = _added(noise, noise_scale, bias, x)
    out = torch.empty_like(x)
    if scale is not None and bias is not None:
        torch.addcmul(bias, x, scale, out=out)
    elif scale is not None:
        torch.mul(x, scale, out=out)
    elif bias is not None:
        torch.add(bias, x, alpha=gain, out=out)
    else:
        torch.mul(x, gain, out=out)
    if y is not None:
        out.addcmul_(y, y_scale)
    if mask is not None:
        return _slope(out, mask, slope, clamp, out)
    if slope != 1:
        F.leaky_relu_(out, slope)
    return out if clamp == float("inf") else out.clamp_(-clamp, clamp)


def _slope(grad: Tensor, mask: Tensor | None, slope: float, clamp: float, out: Tensor) -> Tensor:
    """``grad`` times the slope, but for the gain, where the output was ``mask``."""
    if slope != 1:
        torch.ops.aten.leaky_relu_backward.grad_input(grad, mask, slope, True, grad_input=out)
    elif out is not grad:
        out.copy_(grad)
    return out if clamp == float("inf") else out.masked_fill_(mask.abs() >= clamp, 0)


def _backward_reference(
    grad: Tensor, x: Tensor | None, scale: Tensor | None, noise: Tensor | None, mask: Tensor | None,
    slope: float, gain: float, clamp: float, want: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    found = dx, of_scale, of_noise, of_bias = _backward_fake(grad, x, scale, noise, mask, slope, gain, clamp, want)
    scale = _small(scale, grad, gain)
    step = max(PART * len(grad) // max(grad.numel(), 1), 1)
    for start in range(0, len(grad), step):
        part = slice(start, start + step)
        e = dx[part] if want & 1 else torch.empty_like(grad[part])
        _slope(grad[part], None if mask is None else mask[part], slope, clamp, e)
        if want & 2:
            of_scale[part] = (e * x[part]).sum((2, 3), dtype=of_scale.dtype)
        if want & 4:
            rows = noise if len(noise) == 1 else noise[part]
            of_noise[part] = (e.flatten(2) @ rows.to(e.dtype).flatten(2).mT)[:, :, 0]
        if want & 8:
            torch.sum(e, (2, 3), dtype=of_bias.dtype, out=of_bias[part])
        if want & 1 and scale is not None:
            e.mul_(scale if len(scale) == 1 else scale[part])
        elif want & 1 and gain != 1:
            e.mul_(gain)
    for sums in found[1:]:
        sums.mul_(gain)
    return found


def _fake(x: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(x)


def _backward_fake(
    grad: Tensor, x: Tensor | None, scale: Tensor | None, noise: Tensor | None, mask: Tensor | None,
    slope: float, gain: float, clamp: float, want: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    sums = _sums_type(grad)
    dx = torch.empty_like(grad) if want & 1 else grad.new_empty(0)
    shapes = (grad.shape[:2] if want & bit else [0] for bit in (2, 4, 8))
    return dx, *(grad.new_empty(shape, dtype=sums) for shape in shapes)


# Autograd.


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, scale, y, y_scale, noise, noise_scale, bias, mask, *ctx.activation = inputs
    need = ctx.needs_input_grad
    ctx.set_materialize_grads(False)
    ctx.rows = [None if value is None else value.shape[0] for value in (scale, y_scale, noise, noise_scale, bias)]
    slope, _, clamp = ctx.activation
    bent = slope != 1 or clamp != float("inf")
    ctx.save_for_backward(
        x if need[1] else None, scale, y if need[3] else None, y_scale, noise if need[5] else None, noise_scale,
        (output if mask is None else mask) if bent else None,
    )  # fmt: skip


def _grads(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, ...]:
    if grad is None:
        return (None,) * 11
    x, scale, y, y_scale, noise, noise_scale, mask = ctx.saved_tensors
    need, act = ctx.needs_input_grad, ctx.activation
    of_scale_rows, of_y_rows, of_noise_rows, of_noise_scale_rows, of_bias_rows = ctx.rows
    dx, of_scale, of_noise_scale, of_bias = _wanted(
        grad, x, scale, noise, mask, act, (need[0], need[1], need[5], need[6])
    )
    dy, of_y_scale, _, _ = _wanted(grad, y, y_scale, None, mask, act, (need[2], need[3], False, False))
    of_noise = _over_channels(grad, noise_scale, mask, act) if need[4] else None
    return (
        dx, _rows(of_scale, of_scale_rows), dy, _rows(of_y_scale, of_y_rows), _rows(of_noise, of_noise_rows),
        _rows(of_noise_scale, of_noise_scale_rows), _rows(of_bias, of_bias_rows), None, None, None, None,
    )  # fmt: skip


def _wanted(
    grad: Tensor, x: Tensor | None, scale: Tensor | None, noise: Tensor | None, mask: Tensor | None,
    activation: Activation, wanted: tuple[bool, bool, bool, bool],
) -> list[Tensor | None]:  # fmt: skip
    """Those gradients of ``channel_affine_backward`` that are wanted."""
    want = sum(1 << i for i, wish in enumerate(wanted) if wish)
    if not want:
        return [None] * 4
    found = CHANNEL_AFFINE_BACKWARD(grad, x, scale, noise, mask, *activation, want)
    return [value if wish else None for value, wish in zip(found, wanted, strict=True)]


def _over_channels(grad: Tensor, scale: Tensor, mask: Tensor | None, activation: Activation) -> Tensor:
    """The gradient for a noise map, ``[N, 1, H, W]``."""
    return CHANNEL_AFFINE(grad, scale, None, None, None, None, None, mask, *activation).sum(1, keepdim=True)


def _rows(sums: Tensor | None, rows: int | None) -> Tensor | None:
    """``[N, ...]`` as ``[rows, ...]``: what served all samples has the sum of their gradients."""
    return sums.sum(0, keepdim=True) if sums is not None and rows == 1 and len(sums) != 1 else sums


def _backward_setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    grad, x, scale, noise, mask, *ctx.activation, ctx.want = inputs
    ctx.set_materialize_grads(False)
    ctx.rows = [None if value is None else value.shape[0] for value in (scale, noise)]
    ctx.save_for_backward(grad, x, scale, noise, mask)


def _backward_grads(ctx: Any, *towards: Tensor | None) -> tuple[Tensor | None, ...]:
    u, of_scale, of_noise, of_bias = (value if ctx.want >> i & 1 else None for i, value in enumerate(towards))
    grad, x, scale, noise, mask = ctx.saved_tensors
    need, act = ctx.needs_input_grad, ctx.activation
    maps = [(u, scale)] if u is not None else []
    if of_scale is not None:
        maps.append((x, of_scale))
    if not maps:
        maps.append((grad, grad.new_zeros(1, grad.shape[1])))  # for the noise and the bias alone
    if len(maps) == 1:
        maps.append((None, None))
    noises = (None, None) if of_noise is None else (noise, of_noise)
    of_grad = CHANNEL_AFFINE(*maps[0], *maps[1], *noises, of_bias, mask, *act) if need[0] else None
    wanted = need[1] and of_scale is not None, need[2] and u is not None, False, False
    dx, dscale, _, _ = _wanted(grad, u, of_scale, None, mask, act, wanted)
    dnoise = _over_channels(grad, of_noise, mask, act) if need[3] and of_noise is not None else None
    return of_grad, dx, _rows(dscale, ctx.rows[0]), _rows(dnoise, ctx.rows[1]), None, None, None, None, None


CHANNEL_AFFINE = register(
    "channel_affine(Tensor x, Tensor? scale, Tensor? y, Tensor? y_scale, Tensor? noise, Tensor? noise_scale, "
    "Tensor? bias, Tensor? mask, float slope, float gain, float clamp) -> Tensor",
    _reference, _fake, _setup, _grads,
)  # fmt: skip
CHANNEL_AFFINE_BACKWARD = register(
    "channel_affine_backward(Tensor grad, Tensor? x, Tensor? scale, Tensor? noise, Tensor? mask, float slope, "
    "float gain, float clamp, int want) -> (Tensor, Tensor, Tensor, Tensor)",
    _backward_reference, _backward_fake, _backward_setup, _backward_grads,
)  # fmt: skip
