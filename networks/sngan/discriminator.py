"""The discriminator of SNGAN with projection: spectral norm everywhere, a class scored by an inner product.

``D(x, y) = l(phi(x)) + <v_y, phi(x)>`` with ``phi`` the sum of the last block over all pixels (Miyato and Koyama 2018,
equation 4); every weight is divided by its largest singular value, estimated by one step of power iteration in each
training pass (Miyato et al. 2018, algorithm 1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from networks.sngan.generator import require_label
from networks.stylegan2.discriminator import require_image


class FirstBlock(nn.Module):
    """Half the resolution: 3x3, ReLU, 3x3, mean of four, beside a 1x1 of the mean of four."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.c1 = _conv(in_channels, out_channels, 3, math.sqrt(2))
        self.c2 = _conv(out_channels, out_channels, 3, math.sqrt(2))
        self.c_sc = _conv(in_channels, out_channels, 1, 1.0)

    def forward(self, x: Tensor) -> Tensor:  # [N, I, H, W] -> [N, O, H/2, W/2]
        return F.avg_pool2d(self.c2(F.relu(self.c1(x))), 2) + self.c_sc(F.avg_pool2d(x, 2))


class DiscriminatorBlock(nn.Module):
    """ReLU, 3x3, ReLU, 3x3, where asked the mean of four; beside it a 1x1, or nothing where all stays as it is."""

    def __init__(self, in_channels: int, out_channels: int, hidden: int, down: bool) -> None:
        super().__init__()
        self.down = down
        self.c1 = _conv(in_channels, hidden, 3, math.sqrt(2))
        self.c2 = _conv(hidden, out_channels, 3, math.sqrt(2))
        self.c_sc = _conv(in_channels, out_channels, 1, 1.0) if down or in_channels != out_channels else None

    def forward(self, x: Tensor) -> Tensor:  # [N, I, H, W] -> [N, O, H/2, W/2] or [N, O, H, W]
        y = self.c2(F.relu(self.c1(F.relu(x))))
        if self.c_sc is not None:
            # Pooling and a 1x1 convolution commute; after it there is a quarter of the work.
            x = self.c_sc(F.avg_pool2d(x, 2) if self.down else x)
        return (F.avg_pool2d(y, 2) if self.down else y) + x


class ProjectionDiscriminator(nn.Module):
    """Image and label to a logit ``[N, 1]``; ``config`` rebuilds it.

    Raises:
        ValueError: if there are no channels, the image does not fit, or the label is missing or does not fit.
    """

    def __init__(
        self,
        img_resolution: int,               # pixels a side, a power of two
        c_dim: int,                        # classes
        channels: Sequence[int],           # of the blocks that halve the resolution
        flat: int = 1,                     # further blocks of the last width, which do not
        img_channels: int = 3,             # channels of the image
        hidden_first: bool = False,        # blocks widen in their second convolution, as the release's at 128x128
    ) -> None:  # fmt: skip
        super().__init__()
        if not channels or img_resolution < 2 ** len(channels):
            raise ValueError(f"channels must be 1 to {int(math.log2(img_resolution))} counts for {img_resolution} "
                             f"pixels, got {list(channels)}")  # fmt: skip
        self.config: dict[str, Any] = {
            "img_resolution": img_resolution, "c_dim": c_dim, "channels": list(channels), "flat": flat,
            "img_channels": img_channels, "hidden_first": hidden_first,
        }  # fmt: skip
        self.img_resolution, self.img_channels, self.c_dim = img_resolution, img_channels, c_dim
        self.blocks = ["block1"]
        self.block1 = FirstBlock(img_channels, channels[0])
        rows = [*pairwise(channels), *[(channels[-1], channels[-1])] * flat]
        for i, (a, b) in enumerate(rows, start=2):
            self.blocks.append(f"block{i}")
            self.add_module(f"block{i}", DiscriminatorBlock(a, b, a if hidden_first else b, i <= len(channels)))
        self.last = spectral_norm(_glorot(nn.Linear(channels[-1], 1)))
        self.classes = spectral_norm(_glorot(nn.Linear(channels[-1], c_dim, bias=False)))  # its rows are v_y

    def features(self, img: Tensor) -> dict[str, Tensor]:
        """The blocks' outputs, the last after its ReLU, fine to coarse: ``[N, C, H, W]``."""
        require_image(img, self.img_channels, self.img_resolution)
        found, x = {}, img
        for name in self.blocks:
            x = getattr(self, name)(x)
            found[name] = x
        found[self.blocks[-1]] = F.relu(x)
        return found

    def forward(self, img: Tensor, c: Tensor | None) -> Tensor:
        """``img`` ``[N, C, R, R]`` in [-1, 1] and weights of the classes ``c`` ``[N, c_dim]`` to logits ``[N, 1]``."""
        require_label(c, len(img), self.c_dim)
        phi = self.features(img)[self.blocks[-1]].float().sum(dim=(2, 3))
        return self.last(phi) + (self.classes(phi) * c).sum(dim=1, keepdim=True)


def _conv(in_channels: int, out_channels: int, size: int, gain: float) -> nn.Module:
    return spectral_norm(_glorot(nn.Conv2d(in_channels, out_channels, size, padding=size // 2), gain))


def _glorot(layer: nn.Linear | nn.Conv2d, gain: float = 1.0) -> nn.Linear | nn.Conv2d:
    nn.init.xavier_uniform_(layer.weight, gain)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
