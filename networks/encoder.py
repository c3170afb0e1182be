"""An image encoder into W+: a starting point for inversion, for any generator that has W+.

Richardson et al. 2021 (pSp, arXiv 2008.00951) read coarse codes from coarse features of a pyramid and fine ones from
fine features, as a step away from the mean of W; EditGAN (Ling et al. 2021, arXiv 2111.03186) does so with 277 million
parameters. This one has a few, sees at most 256 pixels a side, and normalises nothing over the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from networks.stylegan2.discriminator import require_image

LARGEST_INPUT = 256  # pixels a side; larger images are averaged down
POOLED = 4           # pixels a side of what a head of codes sees of its level


class Block(nn.Module):
    """A residual block that halves the resolution."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(in_channels, in_channels, 3, padding=1)
        self.second = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.skip = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:  # [N, I, H, W] -> [N, O, H/2, W/2]
        y = F.avg_pool2d(self.first(F.leaky_relu(x, 0.2)), 2)
        return self.skip(F.avg_pool2d(x, 2)) + self.second(F.leaky_relu(y, 0.2))


class WPlusEncoder(nn.Module):
    """Image to codes in W+, ``[N, num_ws, w_dim]``. Its constructor arguments are kept in ``config`` and rebuild it.

    A trunk halves the resolution down to 4x4. From there a pyramid goes back up to 8x8 and 16x16, adding each level of
    the trunk to the enlarged coarser one. The first third of the rows is read from the 4x4 level, the second from 8x8,
    the rest from 16x16, each level pooled to 4x4. In W the one code is read from 16x16, which holds all levels.

    Raises:
        ValueError: if ``channels`` does not lead from half of the input's resolution to 4x4, the space is unknown, or
            the image does not fit.
    """

    w_mean: Tensor
    w_std: Tensor

    def __init__(
        self,
        img_resolution: int,               # a power of two, at least 32
        num_ws: int,                       # rows of W+; 1 for a generator with one code, as a BlobGAN's hidden one
        w_dim: int,                        # width of w
        img_channels: int = 3,             # channels of the image
        channels: Sequence[int] = (),      # at R/2, R/4, ..., 4; () for a default by the resolution
        width: int = 128,                  # channels of the pyramid
        hidden: int = 512,                 # width of each head
        space: Literal["w+", "w"] = "w+",  # w: one head, whose code all rows have
    ) -> None:  # fmt: skip
        super().__init__()
        size = min(img_resolution, LARGEST_INPUT)
        channels = list(channels) or default_channels(size)
        if size < 32 or size != 4 * 2 ** len(channels):
            raise ValueError("img_resolution must be at least 32, and channels must have one count for each of half of "
                             f"{size} (the input's size), ..., 8, 4, got {channels} for {img_resolution}")  # fmt: skip
        if space not in ("w+", "w"):
            raise ValueError(f"space must be w+ or w, got {space!r}")
        self.config: dict[str, Any] = {
            "img_resolution": img_resolution, "num_ws": num_ws, "w_dim": w_dim, "img_channels": img_channels,
            "channels": channels, "width": width, "hidden": hidden, "space": space,
        }  # fmt: skip
        self.img_resolution, self.img_channels, self.num_ws, self.w_dim = img_resolution, img_channels, num_ws, w_dim
        self.reduction = img_resolution // size
        self.stem = nn.Conv2d(4 * img_channels, channels[0], 3, padding=1)
        self.blocks = nn.ModuleList(Block(a, b) for a, b in pairwise(channels))
        self.laterals = nn.ModuleList(nn.Conv2d(c, width, 1) for c in channels[:-4:-1])  # of 4x4, 8x8, 16x16
        self.rows = [num_ws // 3, num_ws // 3, num_ws - 2 * (num_ws // 3)] if space == "w+" and num_ws > 1 else [1]
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.LeakyReLU(0.2), nn.AdaptiveAvgPool2d(POOLED),
                          nn.Flatten(), nn.Linear(width * POOLED**2, hidden), nn.LeakyReLU(0.2),
                          nn.Linear(hidden, rows * w_dim))
            for rows in self.rows
        )  # fmt: skip
        self.register_buffer("w_mean", torch.zeros(num_ws, w_dim))  # of the generator; set before training
        self.register_buffer("w_std", torch.ones([]))
        for head in self.heads:
            nn.init.zeros_(head[-1].weight)  # it starts at the mean
            nn.init.zeros_(head[-1].bias)

    def forward(self, img: Tensor) -> Tensor:  # [N, C, R, R] -> [N, num_ws, w_dim]
        require_image(img, self.img_channels, self.img_resolution)
        if self.reduction > 1:
            img = F.avg_pool2d(img, self.reduction)
        x = self.stem(F.pixel_unshuffle(img, 2))
        levels = [x]
        for block in self.blocks:
            x = block(x)
            levels.append(x)
        pyramid: list[Tensor] = []
        for level, lateral in zip(levels[:-4:-1], self.laterals, strict=True):
            step = lateral(F.leaky_relu(level, 0.2))
            pyramid.append(step + F.interpolate(pyramid[-1], scale_factor=2, mode="bilinear") if pyramid else step)
        read = zip(self.heads, pyramid[-len(self.heads) :], strict=True)
        codes = [head(level).unflatten(1, (-1, self.w_dim)) for head, level in read]
        return self.w_mean + self.w_std * torch.cat(codes, dim=1)  # in W one row is added to all of the mean


def default_channels(size: int) -> list[int]:
    """Channels of the trunk, from half of ``size`` down to 4x4.

    Example:
        >>> default_channels(64)
        [64, 96, 128, 192]
    """
    counts = (192, 128, 96, 64, 48, 32)  # at 4x4, 8x8, ...
    return list(reversed(counts[: size.bit_length() - 3]))
