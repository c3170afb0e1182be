"""The discriminator of StyleGAN2, with mini-batch standard deviation and optional labels (Karras et al. 2020)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from cuda_ops.upfirdn2d import downsample2d, setup_filter
from networks.stylegan2.layers import Conv2d, FullyConnected
from networks.stylegan2.mapping import MappingNetwork
from networks.stylegan2.resolutions import block_channels, block_dtypes, compute_dtype


def minibatch_std(x: Tensor, group_size: int | None = 4) -> Tensor:
    """Append the standard deviation over groups of the batch as one channel (Karras et al. 2018, section 3).

    Args:
        x: ``[N, C, H, W]``.
        group_size: samples in a group; the batch must be a multiple of it (or smaller); None takes the batch.

    Returns:
        ``[N, C + 1, H, W]``.

    Raises:
        ValueError: if the batch is not a multiple of the group.
    """
    n, _, h, w = x.shape
    group = n if group_size is None else min(group_size, n)
    if n % group:
        raise ValueError(f"the batch of {n} is not a multiple of the mini-batch std group of {group}")
    y = x.reshape(group, n // group, *x.shape[1:])  # members of a group are n // group apart
    y = (y - y.mean(dim=0)).square().mean(dim=0)
    y = (y + 1e-8).sqrt().mean(dim=[1, 2, 3])  # [n // group]
    y = y.reshape(-1, 1, 1, 1).repeat(group, 1, h, w).to(x.dtype)
    return torch.cat([x, y], dim=1)


def require_image(img: Tensor, channels: int, resolution: int) -> None:
    """Refuse a batch that is not ``[N, channels, resolution, resolution]``.

    Raises:
        ValueError: naming both shapes.
    """
    if img.shape[1:] != (channels, resolution, resolution):
        raise ValueError(f"img must be [N, {channels}, {resolution}, {resolution}], got {list(img.shape)}")


class DiscriminatorBlock(nn.Module):
    """One resolution: ``fromrgb`` where the architecture asks for it, two convolutions, half the resolution."""

    resample_filter: Tensor

    def __init__(
        self,
        in_channels: int,                 # channels of the block above; 0 for the first
        tmp_channels: int,                # channels at this resolution
        out_channels: int,                # channels of the block below
        img_channels: int,                # channels of the image
        architecture: str,                # resnet, skip or orig
        conv_clamp: float | None,         # bound on magnitudes, for half precision
        dtype: torch.dtype,               # precision of the convolutions
    ) -> None:  # fmt: skip
        super().__init__()
        self.architecture, self.dtype, self.in_channels = architecture, dtype, in_channels
        self.register_buffer("resample_filter", setup_filter())
        if in_channels == 0 or architecture == "skip":
            self.fromrgb = Conv2d(img_channels, tmp_channels, 1, act="lrelu", conv_clamp=conv_clamp)
        self.conv0 = Conv2d(tmp_channels, tmp_channels, 3, act="lrelu", conv_clamp=conv_clamp)
        self.conv1 = Conv2d(tmp_channels, out_channels, 3, act="lrelu", down=2, conv_clamp=conv_clamp)
        if architecture == "resnet":
            self.skip = Conv2d(tmp_channels, out_channels, 1, bias=False, down=2)

    def forward(self, x: Tensor | None, img: Tensor | None) -> tuple[Tensor, Tensor | None]:
        dtype = compute_dtype(self.dtype, self.resample_filter.device)
        if hasattr(self, "fromrgb"):
            y = self.fromrgb(img.to(dtype))
            x = y if x is None else x + y
            img = downsample2d(img, self.resample_filter) if self.architecture == "skip" else None
        x = x.to(dtype)
        if self.architecture != "resnet":
            return self.conv1(self.conv0(x)), img
        residual = self.skip(x, gain=math.sqrt(0.5))
        return residual + self.conv1(self.conv0(x), gain=math.sqrt(0.5)), img


class DiscriminatorEpilogue(nn.Module):
    """The 4x4 end: mini-batch standard deviation, one convolution, two linear layers, label projection."""

    def __init__(
        self,
        in_channels: int,                 # channels at 4x4
        cmap_dim: int,                    # width of the label map; 0 for none
        img_channels: int,                # channels of the image, for the skip architecture
        architecture: str,                # resnet, skip or orig
        mbstd_group_size: int | None,     # see minibatch_std; 0 leaves it out
        conv_clamp: float | None,         # bound on magnitudes
    ) -> None:  # fmt: skip
        super().__init__()
        self.cmap_dim, self.mbstd_group_size = cmap_dim, mbstd_group_size
        if architecture == "skip":
            self.fromrgb = Conv2d(img_channels, in_channels, 1, act="lrelu")
        extra = 0 if mbstd_group_size == 0 else 1
        self.conv = Conv2d(in_channels + extra, in_channels, 3, act="lrelu", conv_clamp=conv_clamp)
        self.fc = FullyConnected(in_channels * 16, in_channels, act="lrelu")
        self.out = FullyConnected(in_channels, 1 if cmap_dim == 0 else cmap_dim)

    def forward(self, x: Tensor, img: Tensor | None, cmap: Tensor | None) -> Tensor:  # -> [N, 1]
        x = x.to(torch.float32)
        if hasattr(self, "fromrgb"):
            x = x + self.fromrgb(img.to(torch.float32))
        if self.mbstd_group_size != 0:
            x = minibatch_std(x, self.mbstd_group_size)
        x = self.out(self.fc(self.conv(x).flatten(1)))
        return x if cmap is None else (x * cmap).sum(dim=1, keepdim=True) / math.sqrt(self.cmap_dim)


class Discriminator(nn.Module):
    """Image, and label, to a logit ``[N, 1]``; names as in the official PyTorch release. ``config`` rebuilds it.

    Raises:
        ValueError: if the resolution, the architecture or the precision is unknown, or ``channels`` or the image do
            not fit.
    """

    def __init__(
        self,
        img_resolution: int,              # a power of two, at least 16
        img_channels: int = 3,            # channels of the image
        c_dim: int = 0,                   # width of the class label; 0 for none
        channel_base: int = 32768,        # channels times resolution, before the bound below
        channel_max: int = 512,           # largest number of channels
        architecture: Literal["orig", "skip", "resnet"] = "resnet",
        mapping_layers: int = 8,          # depth of the label embedding
        mbstd_group_size: int | None = 4,  # see minibatch_std; 0 leaves it out
        num_fp16_res: int = 0,            # how many of the finest resolutions compute in half precision
        half_dtype: str = "float16",      # float16 or bfloat16
        conv_clamp: float | None = None,  # bound on magnitudes; 256 with float16
        channels: Sequence[int] | None = None,  # at 4, 8, ..., img_resolution, where base and maximum do not give them
    ) -> None:  # fmt: skip
        super().__init__()
        if architecture not in ("orig", "skip", "resnet"):
            raise ValueError(f"architecture must be orig, skip or resnet, got {architecture!r}")
        self.config: dict[str, Any] = {
            "img_resolution": img_resolution, "img_channels": img_channels, "c_dim": c_dim,
            "channel_base": channel_base, "channel_max": channel_max, "architecture": architecture,
            "mapping_layers": mapping_layers, "mbstd_group_size": mbstd_group_size, "num_fp16_res": num_fp16_res,
            "half_dtype": half_dtype, "conv_clamp": conv_clamp,
        }  # fmt: skip
        if channels is not None:  # else left out, as in bundles from before there was this argument
            self.config["channels"] = list(channels)
        self.img_resolution, self.img_channels, self.c_dim = img_resolution, img_channels, c_dim
        width = block_channels(img_resolution, channel_base, channel_max, channels)
        dtypes = block_dtypes(img_resolution, num_fp16_res, half_dtype)
        self.block_resolutions = [r for r in reversed(width) if r > 4]
        for r in self.block_resolutions:
            self.add_module(f"b{r}", DiscriminatorBlock(
                width[r] if r < img_resolution else 0, width[r], width[r // 2], img_channels, architecture,
                conv_clamp, dtypes[r],
            ))  # fmt: skip
        cmap_dim = width[4] if c_dim > 0 else 0
        if c_dim > 0:
            self.mapping = MappingNetwork(0, c_dim, cmap_dim, None, mapping_layers, w_avg_beta=None)
        self.b4 = DiscriminatorEpilogue(width[4], cmap_dim, img_channels, architecture, mbstd_group_size, conv_clamp)

    def forward(self, img: Tensor, c: Tensor | None = None) -> Tensor:  # [N, C, R, R] -> [N, 1]
        require_image(img, self.img_channels, self.img_resolution)
        x = None
        for r in self.block_resolutions:
            x, img = getattr(self, f"b{r}")(x, img)
        return self.b4(x, img, self.mapping(None, c) if self.c_dim > 0 else None)
