"""Building blocks of StyleGAN2: equalised layers and modulated convolution (Karras et al. 2020, arXiv 1912.04958)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cuda_ops.bias_act import bias_act
from cuda_ops.conv3x3 import conv3x3
from cuda_ops.upfirdn2d import downsample2d, filter2d, setup_filter


def normalize_2nd_moment(x: Tensor, eps: float = 1e-8) -> Tensor:
    """Scale each row of ``x`` ``[N, C]`` to unit second moment."""
    return x * (x.square().mean(dim=1, keepdim=True) + eps).rsqrt()


class FullyConnected(nn.Module):
    """Linear layer with an equalised learning rate (Karras et al. 2018, section 4.1), then an activation."""

    def __init__(
        self,
        in_features: int,         # width of the input
        out_features: int,        # width of the output
        act: str = "linear",      # a key of cuda_ops.bias_act.ACTIVATIONS
        lr_mult: float = 1.0,     # learning-rate multiplier; 0.01 in the mapping network
        bias_init: float = 0.0,   # 1.0 for the affine layers that make styles
    ) -> None:  # fmt: skip
        super().__init__()
        self.act = act
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_mult)
        # As in the official release the initial bias is not divided by the multiplier.
        self.bias = nn.Parameter(torch.full([out_features], float(bias_init)))
        self.weight_gain = lr_mult / math.sqrt(in_features)
        self.bias_gain = lr_mult

    def forward(self, x: Tensor) -> Tensor:  # [N, in] -> [N, out]
        weight = self.weight.to(x.dtype) * self.weight_gain
        bias = self.bias.to(x.dtype) * self.bias_gain
        if self.act == "linear":
            return F.linear(x, weight, bias)
        return bias_act(F.linear(x, weight), bias, act=self.act)


def _conv_up(x: Tensor, w: Tensor, f: Tensor, groups: int) -> Tensor:
    """A convolution that doubles the resolution: transposed by stride 2, then the filter; ``w: [g*O, I, k, k]``."""
    o, i, k, _ = w.shape
    wt = w.reshape(groups, o // groups, i, k, k).transpose(1, 2).reshape(groups * i, o // groups, k, k)
    x = F.conv_transpose2d(x, wt, stride=2, groups=groups)  # [.., 2H+1, 2W+1] for k = 3
    # The blur's padding makes the result exactly 2H: p = (taps + 1 - k) / 2 on each side.
    return filter2d(x, f, padding=(f.shape[0] + 1 - k) // 2, gain=4.0)


def _conv(x: Tensor, w: Tensor, f: Tensor | None, groups: int = 1) -> Tensor:
    """A convolution that keeps the resolution, or doubles it where there is a filter ``f``."""
    if f is not None:
        return _conv_up(x, w, f, groups)
    if groups == 1 and w.shape[-1] == 3:
        return conv3x3(x, w)
    return F.conv2d(x, w, padding=w.shape[-1] // 2, groups=groups)


def _demodulation(weight: Tensor, styles: Tensor) -> Tensor:
    """Equation 3 as a factor for each sample and output channel, ``[N, O]``.

    The sum over k of (w s)^2 is a matrix product: no kernel for each sample is built for it.
    """
    energy = styles.square() @ weight.square().sum(dim=[2, 3]).T
    return (energy + 1e-8).rsqrt()


def _conv_fused(
    x: Tensor, weight: Tensor, styles: Tensor, noise: Tensor | None, f: Tensor | None, demodulate: bool, gain: float
) -> Tensor:
    """One kernel for each sample (equations 1 and 3), all in one grouped convolution."""
    n, c, height, width = x.shape
    w = weight[None] * styles[:, None, :, None, None]  # [N, O, I, k, k]
    if demodulate:
        w = w * (w.square().sum(dim=[2, 3, 4], keepdim=True) + 1e-8).rsqrt()
    w = (w * gain).to(x.dtype)
    x = _conv(x.reshape(1, n * c, height, width), w.flatten(0, 1), f, groups=n)
    x = x.reshape(n, -1, *x.shape[2:])
    return x if noise is None else x + noise


def _conv_scaled(
    x: Tensor, weight: Tensor, styles: Tensor, noise: Tensor | None, f: Tensor | None, demodulate: bool, gain: float
) -> Tensor:
    """The same by linearity with one kernel for all: the input scaled by the style, the output by equation 3."""
    x = x * styles.to(x.dtype)[:, :, None, None]
    if not demodulate:
        x = _conv(x, (weight * gain).to(x.dtype), f)
        return x if noise is None else x + noise
    x = _conv(x, weight.to(x.dtype), f)
    scale = (gain * _demodulation(weight, styles)).to(x.dtype)[:, :, None, None]
    return x * scale if noise is None else torch.addcmul(noise, x, scale)


def modulated_conv2d(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    noise: Tensor | None = None,
    up: int = 1,
    resample_filter: Tensor | None = None,
    demodulate: bool = True,
    fused: bool = False,
    gain: float = 1.0,
) -> Tensor:
    """Convolution whose weights are scaled by a style, and renormalised (Karras et al. 2020, equations 1 and 3).

    Args:
        x: input, ``[N, I, H, W]``.
        weight: ``[O, I, k, k]``; not scaled by fan-in, demodulation removes its scale.
        styles: ``[N, I]``.
        noise: added to the output, broadcastable to ``[N, 1, up*H, up*W]``.
        up: 1, or 2 to double the resolution.
        resample_filter: low-pass filter, needed for ``up=2``.
        demodulate: scale each output channel to unit expected norm.
        fused: one grouped convolution with a kernel for each sample; otherwise the input and the output are scaled.
        gain: factor on the output and its noise. The activation's gain can go here, where it costs nothing, because a
            leaky ReLU lets positive factors through.

    Returns:
        ``[N, O, up*H, up*W]``.

    Raises:
        ValueError: if styles or weight do not fit ``x``, or ``up`` and the filter do not go together.
    """
    n, c = x.shape[:2]
    if styles.shape != (n, c) or weight.shape[1] != c:
        raise ValueError(f"styles must be [{n}, {c}] and weight [O, {c}, k, k], got "
                         f"{list(styles.shape)} and {list(weight.shape)}")  # fmt: skip
    if up not in (1, 2) or (up == 2 and resample_filter is None):
        raise ValueError(f"up must be 1, or 2 with a resample_filter, got up={up}")
    if x.dtype == torch.float16 and demodulate:
        # Keeps w * s within half precision; demodulation removes both factors again.
        fan_in = weight[0].numel()
        weight = weight / (math.sqrt(fan_in) * weight.abs().amax(dim=[1, 2, 3], keepdim=True))
        styles = styles / styles.abs().amax(dim=1, keepdim=True)
    noise = None if noise is None else noise.to(x.dtype) * gain
    convolve = _conv_fused if fused else _conv_scaled
    return convolve(x, weight, styles, noise, resample_filter if up == 2 else None, demodulate, gain)


class Conv2d(nn.Module):
    """Equalised convolution with optional resampling by 2, bias and activation (discriminator, resnet skips)."""

    resample_filter: Tensor

    def __init__(
        self,
        in_channels: int,              # channels of the input
        out_channels: int,             # channels of the output
        kernel_size: int,              # 1 or 3
        bias: bool = True,             # add a bias
        act: str = "linear",           # a key of cuda_ops.bias_act.ACTIVATIONS
        up: int = 1,                   # 2 doubles the resolution
        down: int = 1,                 # 2 halves the resolution
        conv_clamp: float | None = None,  # bound on the output's magnitude
    ) -> None:  # fmt: skip
        super().__init__()
        self.act, self.up, self.down, self.conv_clamp = act, up, down, conv_clamp
        self.register_buffer("resample_filter", setup_filter())
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.weight_gain = 1 / math.sqrt(in_channels * kernel_size**2)

    def forward(self, x: Tensor, gain: float = 1.0) -> Tensor:  # [N, I, H, W] -> [N, O, H', W']
        w = (self.weight * self.weight_gain).to(x.dtype)
        f, k = self.resample_filter, w.shape[-1]
        if self.up == 2:
            x = _conv_up(x, w, f, 1)
        elif self.down == 2 and k == 1:
            x = F.conv2d(downsample2d(x, f), w)
        elif self.down == 2:
            # The filter first, at full resolution, then the strided convolution without padding.
            x = F.conv2d(filter2d(x, f, padding=(f.shape[0] - 1 + k - 1) // 2), w, stride=2)
        else:
            x = _conv(x, w, None)
        total = gain * (1.0 if self.act == "linear" else math.sqrt(2))
        clamp = None if self.conv_clamp is None else self.conv_clamp * gain
        return bias_act(x, self.bias, act=self.act, gain=total, clamp=clamp)
