"""The encoder of neural-collage: an image and its class to z (Suzuki et al. 2018, arXiv 1811.10153, section 5)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from networks.sngan.batch_norm import ConditionalBatchNorm
from networks.sngan.generator import require_label
from networks.stylegan2.discriminator import require_image

SLOPE = 0.1  # of the last activation below 0, before training


class EncoderBlock(nn.Module):
    """Half the resolution: norm, ReLU, mean of four, 3x3, norm, ReLU, 3x3, beside a 1x1 of the mean of four."""

    def __init__(self, in_channels: int, out_channels: int, classes: int) -> None:
        super().__init__()
        self.b1 = ConditionalBatchNorm(in_channels, classes)
        self.b2 = ConditionalBatchNorm(in_channels, classes)
        self.c1 = nn.Conv2d(in_channels, in_channels, 3, padding=1)
        self.c2 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.c_sc = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:  # [N, I, H, W] -> [N, O, H/2, W/2]
        h = self.c1(F.avg_pool2d(F.relu(self.b1(x, self.b1.affine(label))), 2))
        return self.c2(F.relu(self.b2(h, self.b2.affine(label)))) + self.c_sc(F.avg_pool2d(x, 2))


class ConditionalEncoder(nn.Module):
    """Image and label to codes ``[N, z_dim]``; ``config`` rebuilds it.

    Raises:
        ValueError: if there are not two counts of channels, or more than the image can be halved.
    """

    def __init__(
        self,
        img_resolution: int,       # pixels a side that it works on, a power of two
        c_dim: int,                # classes
        channels: Sequence[int],   # of the first map and of the blocks, which halve the resolution
        z_dim: int = 128,          # width of the codes
        img_channels: int = 3,     # channels of the image
    ) -> None:  # fmt: skip
        super().__init__()
        if len(channels) < 2 or img_resolution % (1 << len(channels) - 1):
            raise ValueError(f"channels must be at least 2 counts, one more than {img_resolution} pixels are halved, "
                             f"got {list(channels)}")  # fmt: skip
        self.config: dict[str, Any] = {
            "img_resolution": img_resolution, "c_dim": c_dim, "channels": list(channels), "z_dim": z_dim,
            "img_channels": img_channels,
        }  # fmt: skip
        self.img_resolution, self.img_channels, self.c_dim = img_resolution, img_channels, c_dim
        self.first = nn.Conv2d(img_channels, channels[0], 3, padding=1)
        self.blocks = nn.ModuleList(EncoderBlock(a, b, c_dim) for a, b in pairwise(channels))
        side = img_resolution >> len(self.blocks)
        self.last = nn.Linear(side * side * channels[-1], z_dim)
        self.act = nn.PReLU(z_dim, init=SLOPE)

    def forward(self, img: Tensor, label: Tensor) -> Tensor:
        """``img`` ``[N, C, R, R]`` in [-1, 1], and weights of the classes ``[N, c_dim]``.

        A larger image is brought to the encoder's size by the mean of each area.

        Raises:
            ValueError: if image or label do not fit.
        """
        if img.ndim == 4 and img.shape[-1] > self.img_resolution and not img.shape[-1] % self.img_resolution:
            img = F.avg_pool2d(img, img.shape[-1] // self.img_resolution)
        require_image(img, self.img_channels, self.img_resolution)
        require_label(label, len(img), self.c_dim)
        x = self.first(img)
        for block in self.blocks:
            x = block(x, label)
        return self.act(self.last(x.flatten(1)))
