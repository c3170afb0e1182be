"""Building blocks of StyleGAN2: equalised layers (Karras et al. 2020, arXiv 1912.04958)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cuda_ops.bias_act import bias_act
from cuda_ops.conv2d import conv2d
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
            x = conv2d(x, w, f)
        elif self.down == 2 and k == 1:
            x = F.conv2d(downsample2d(x, f), w)
        elif self.down == 2:
            # The filter first, at full resolution, then the strided convolution without padding.
            x = F.conv2d(filter2d(x, f, padding=(f.shape[0] - 1 + k - 1) // 2), w, stride=2)
        else:
            x = conv2d(x, w)
        total = gain * (1.0 if self.act == "linear" else math.sqrt(2))
        clamp = None if self.conv_clamp is None else self.conv_clamp * gain
        return bias_act(x, self.bias, act=self.act, gain=total, clamp=clamp)
