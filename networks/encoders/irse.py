"""The encoders of pSp (Richardson et al. 2021, arXiv 2008.00951) and e4e (Tov et al. 2021, arXiv 2102.02766).

A face recogniser's residual network with squeeze-and-excitation, a pyramid over its last three stages, and a head for
each row of codes. In pSp a head gives its row; in e4e the first gives a code for all rows, the others offsets from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from networks.encoders.parts import StyleHead, enlarged, level_of, read_rows, resized, strided_convolutions
from networks.stylegan2.discriminator import require_image
from networks.stylegan2.layers import FullyConnected

INPUT = 256          # pixels a side of what the network sees
REDUCTION = 16       # of channels, inside a squeeze-and-excitation
HALVINGS = (4, 5, 6)  # of a head at 16x16, 32x32 and 64x64


class SqueezeExcitation(nn.Module):
    """Scales each channel by what the means of all channels say (Hu et al. 2018, arXiv 1709.01507)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // REDUCTION, 1, bias=False)
        self.fc2 = nn.Conv2d(channels // REDUCTION, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:  # [N, C, H, W]
        return x * self.fc2(F.relu(self.fc1(x.mean((2, 3), keepdim=True)))).sigmoid()


class Bottleneck(nn.Module):
    """Two 3x3 convolutions, the second with the stride, beside a shortcut."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        if in_channels != out_channels:
            self.shortcut_layer = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
            )
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(in_channels),
            nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False), nn.PReLU(out_channels),
            nn.Conv2d(out_channels, out_channels, 3, stride, 1, bias=False), nn.BatchNorm2d(out_channels),
            SqueezeExcitation(out_channels),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:  # [N, I, H, W] -> [N, O, H/stride, W/stride]
        kept = self.shortcut_layer(x) if hasattr(self, "shortcut_layer") else x[:, :, :: self.stride, :: self.stride]
        return kept + self.res_layer(x)


def input_layer(img_channels: int, width: int) -> nn.Sequential:
    """What stands before the residual network: ``[N, img_channels, H, W] -> [N, width, H, W]``."""
    return nn.Sequential(nn.Conv2d(img_channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width),
                         nn.PReLU(width))  # fmt: skip


def residual_body(channels: Sequence[int], units: Sequence[int]) -> nn.Sequential:
    """Stages of blocks, each of which halves the resolution: ``[N, channels[0], H, W] -> [N, channels[-1], h, w]``."""
    return nn.Sequential(*(
        Bottleneck(before if i == 0 else c, c, 2 if i == 0 else 1)
        for before, c, count in zip([channels[0], *channels], channels, units, strict=False) for i in range(count)
    ))  # fmt: skip


class IRSEEncoder(nn.Module):
    """Image to codes in W+, ``[N, num_ws, w_dim]``. Its constructor arguments are kept in ``config`` and rebuild it.

    Raises:
        ValueError: if there are not four stages, or an image does not fit.
    """

    latent_avg: Tensor

    def __init__(
        self,
        img_resolution: int,                             # of the images; 256 are seen
        num_ws: int,                                     # rows of W+
        w_dim: int = 512,                                # width of w
        img_channels: int = 3,                           # channels of the image
        offsets: bool = False,                           # e4e: rows are offsets from the first; else pSp
        channels: Sequence[int] = (64, 128, 256, 512),   # of the four stages
        units: Sequence[int] = (3, 4, 14, 3),            # blocks of each stage
    ) -> None:  # fmt: skip
        super().__init__()
        channels, units = list(channels), list(units)
        if len(channels) != 4 or len(units) != 4:
            raise ValueError(f"channels and units must be of four stages, got {channels} and {units}")
        self.config: dict[str, Any] = {
            "img_resolution": img_resolution, "num_ws": num_ws, "w_dim": w_dim, "img_channels": img_channels,
            "offsets": offsets, "channels": channels, "units": units,
        }  # fmt: skip
        self.img_resolution, self.img_channels, self.num_ws, self.w_dim = img_resolution, img_channels, num_ws, w_dim
        self.offsets = offsets
        first, width = channels[0], channels[-1]
        self.input_layer, self.body = input_layer(img_channels, first), residual_body(channels, units)
        self.ends = [end - 1 for end in accumulate(units)][1:]  # the last block of each of the last three stages
        self.styles = nn.ModuleList(
            StyleHead(strided_convolutions(width, w_dim, HALVINGS[level_of(row)]), FullyConnected(w_dim, w_dim))
            for row in range(num_ws)
        )
        self.latlayer1 = nn.Conv2d(channels[2], width, 1)
        self.latlayer2 = nn.Conv2d(channels[1], width, 1)
        self.register_buffer("latent_avg", torch.zeros(num_ws, w_dim))  # what is added to the codes

    def forward(self, img: Tensor) -> Tensor:  # [N, C, R, R] -> [N, num_ws, w_dim]
        require_image(img, self.img_channels, self.img_resolution)
        x = self.input_layer(resized(img, INPUT))
        ends = []
        for i, block in enumerate(self.body):
            x = block(x)
            if i in self.ends:
                ends.append(x)
        fine, middle, coarse = ends
        second = enlarged(coarse, self.latlayer1(middle), align_corners=True)
        third = enlarged(second, self.latlayer2(fine), align_corners=True)
        codes = read_rows(list(self.styles), [coarse, second, third])
        if self.offsets:
            codes = torch.cat([codes[:, :1], codes[:, :1] + codes[:, 1:]], dim=1)
        return self.latent_avg + codes
