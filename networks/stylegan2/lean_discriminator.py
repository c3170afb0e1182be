"""A discriminator for small compute: pixel-unshuffled input, residual blocks with average pooling.

It sees the same pixels as the official one with a quarter of the positions at full width, and pools before each
widening convolution instead of filtering after it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from networks.stylegan2.discriminator import DiscriminatorEpilogue, require_image
from networks.stylegan2.layers import Conv2d
from networks.stylegan2.mapping import MappingNetwork

LABEL_LAYERS = 2  # depth of the label embedding


class LeanBlock(nn.Module):
    """A 3x3 convolution, an average pool and another, beside a pooled 1x1 skip: half the resolution."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv0 = Conv2d(in_channels, in_channels, 3, act="lrelu")
        self.conv1 = Conv2d(in_channels, out_channels, 3, act="lrelu")
        self.skip = Conv2d(in_channels, out_channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:  # [N, I, H, W] -> [N, O, H/2, W/2]
        residual = self.skip(F.avg_pool2d(x, 2), gain=math.sqrt(0.5))
        return residual + self.conv1(F.avg_pool2d(self.conv0(x), 2), gain=math.sqrt(0.5))


LEAN_CHANNELS = (128, 128, 96, 64, 48, 32, 24, 16, 12)   # at 4x4, 8x8, ...


def default_channels(img_resolution: int, counts: Sequence[int]) -> list[int]:
    """Channels from half the resolution down to 4x4, narrower where the image is finer.

    Args:
        img_resolution: a power of two.
        counts: at 4x4, 8x8, ...

    Example:
        >>> default_channels(64, LEAN_CHANNELS)
        [64, 96, 128, 128]
    """
    return list(counts[: max(img_resolution.bit_length() - 3, 0)])[::-1]


def lean_trunk(img_resolution: int, img_channels: int, channels: Sequence[int]) -> tuple[Conv2d, nn.Sequential]:
    """The stem, on the pixel-unshuffled image, and the blocks from half the resolution down to 4x4.

    Raises:
        ValueError: if ``channels`` does not lead from half the resolution to 4x4.
    """
    if not channels or img_resolution != 4 * 2 ** len(channels):
        raise ValueError("channels must have one count for each of img_resolution/2, ..., 8, 4: "
                         f"{len(channels)} fit {4 * 2 ** len(channels)} pixels, not {img_resolution}")  # fmt: skip
    stem = Conv2d(4 * img_channels, channels[0], 3, act="lrelu")
    return stem, nn.Sequential(*(LeanBlock(a, b) for a, b in pairwise(channels)))


class LeanDiscriminator(nn.Module):
    """Image, and label, to a logit ``[N, 1]``; ``config`` rebuilds it.

    Raises:
        ValueError: if ``channels`` does not lead from half the resolution to 4x4, the image does not fit, or the label
            is missing or does not fit.
    """

    def __init__(
        self,
        img_resolution: int,                                # a power of two, at least 16
        img_channels: int = 3,                              # channels of the image
        channels: Sequence[int] = (),                       # at R/2, R/4, ..., 4; () for a default by the resolution
        mbstd_group_size: int | None = 4,                   # see minibatch_std; 0 leaves it out
        c_dim: int = 0,                                     # width of the class label; 0 for none
    ) -> None:  # fmt: skip
        super().__init__()
        self.img_resolution, self.img_channels, self.c_dim = img_resolution, img_channels, c_dim
        channels = list(channels) or default_channels(img_resolution, LEAN_CHANNELS)
        self.config: dict[str, Any] = {
            "img_resolution": img_resolution, "img_channels": img_channels, "channels": channels,
            "mbstd_group_size": mbstd_group_size, "c_dim": c_dim,
        }  # fmt: skip
        self.stem, self.blocks = lean_trunk(img_resolution, img_channels, channels)
        cmap_dim = channels[-1] if c_dim else 0
        if c_dim:
            self.mapping = MappingNetwork(0, c_dim, cmap_dim, None, LABEL_LAYERS, w_avg_beta=None)
        self.b4 = DiscriminatorEpilogue(channels[-1], cmap_dim, img_channels, "resnet", mbstd_group_size, None)

    def forward(self, img: Tensor, c: Tensor | None = None) -> Tensor:  # [N, C, R, R] -> [N, 1]
        require_image(img, self.img_channels, self.img_resolution)
        if c is not None and not self.c_dim:
            raise ValueError("this discriminator takes no labels: its c_dim is 0")
        cmap = self.mapping(None, c) if self.c_dim else None
        return self.b4(self.blocks(self.stem(F.pixel_unshuffle(img, 2))), None, cmap)
