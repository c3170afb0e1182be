"""A small U-Net that labels images by itself: the judge of generated images, for which there is no true mask.

Ronneberger et al. 2015 (arXiv 1505.04597), with group normalisation and additions in place of concatenations. It works
on pixel blocks: the image's p x p blocks become channels, and each block's p x p labels come out of one position. All
detail is kept, and the costly layers run on a quarter of the positions (p = 2).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

GROUP = 8   # channels that are normalised together


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut, the normalisation before each: ``[N, in, H, W] -> [N, out, H, W]``."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.norm0 = nn.GroupNorm(channels_in // GROUP, channels_in)
        self.norm1 = nn.GroupNorm(channels // GROUP, channels)
        self.conv0 = nn.Conv2d(channels_in, channels, 3, padding=1, bias=False)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.shortcut = nn.Identity() if channels_in == channels else nn.Conv2d(channels_in, channels, 1, bias=False)
        nn.init.zeros_(self.conv1.weight)  # starts as its shortcut: deep or not, the first steps are tame

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv0(F.relu(self.norm0(x)))
        return self.shortcut(x) + self.conv1(F.relu(self.norm1(y)))


class UNet(nn.Module):
    """Class logits of each pixel, ``[N, 3, H, W]`` in [-1, 1] -> ``[N, K, H, W]``.

    Raises:
        ValueError: if a width is no multiple of 8, or the images do not fit the levels.
    """

    def __init__(
        self,
        num_classes: int,
        widths: Sequence[int] = (40, 64, 96, 128),  # channels of each level, finest first; each halves the resolution
        patch: int = 2,                             # side of the pixel blocks that become channels
        in_channels: int = 3,
    ) -> None:  # fmt: skip
        super().__init__()
        if not widths or any(width % GROUP for width in widths):
            raise ValueError(f"widths must be multiples of {GROUP}, got {list(widths)}")
        self.patch, self.num_classes, self.in_channels = patch, num_classes, in_channels
        self.multiple = patch * 2 ** (len(widths) - 1)  # sizes of images must be multiples of it
        pairs = list(pairwise(widths))
        self.stem = nn.Conv2d(in_channels * patch**2, widths[0], 3, padding=1)
        self.encode = nn.ModuleList(Block(a, b) for a, b in [(widths[0], widths[0]), *pairs])
        self.project = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairs)
        self.decode = nn.ModuleList(Block(a, a) for a, _ in pairs)
        self.norm = nn.GroupNorm(widths[0] // GROUP, widths[0])
        self.head = nn.Conv2d(widths[0], num_classes * patch**2, 3, padding=1)
        self._config = {"num_classes": num_classes, "widths": list(widths), "patch": patch, "in_channels": in_channels}

    @property
    def config(self) -> dict[str, Any]:
        """Constructor arguments, as a manifest stores them."""
        return dict(self._config)

    def forward(self, images: Tensor) -> Tensor:
        self._check(images)
        maps = [self.encode[0](self.stem(F.pixel_unshuffle(images, self.patch)))]
        for block in self.encode[1:]:
            maps.append(block(F.avg_pool2d(maps[-1], 2)))
        x = maps.pop()
        for project, block in zip(reversed(self.project), reversed(self.decode), strict=True):
            # A 1x1 convolution commutes with upsampling, and is four times cheaper before it.
            x = block(maps.pop() + F.interpolate(project(x), scale_factor=2.0, mode="nearest"))
        return F.pixel_shuffle(self.head(F.relu(self.norm(x))), self.patch)

    def _check(self, images: Tensor) -> None:
        n, c, h, w = images.shape if images.ndim == 4 else (0, 0, 0, 0)
        if c != self.in_channels or h % self.multiple or w % self.multiple or not n:
            raise ValueError(
                f"images must be [N, {self.in_channels}, H, W] with H, W multiples of {self.multiple}, "
                f"got {list(images.shape)}"
            )
