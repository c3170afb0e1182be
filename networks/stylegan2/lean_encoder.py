"""An image encoder into W for small compute, built like the lean discriminator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from networks.stylegan2.discriminator import require_image
from networks.stylegan2.layers import FullyConnected
from networks.stylegan2.lean_discriminator import default_channels, lean_trunk

CHANNELS = (128, 96, 64, 48, 32, 24, 16, 12, 8)   # at 4x4, 8x8, ...


class LeanEncoder(nn.Module):
    """Image to a code in W, ``[N, w_dim]``. Its constructor arguments are kept in ``config`` and rebuild it.

    Raises:
        ValueError: if ``channels`` does not lead from half the resolution to 4x4, or the image does not fit.
    """

    def __init__(
        self,
        img_resolution: int,               # a power of two, at least 16
        w_dim: int,                        # width of w
        img_channels: int = 3,             # channels of the image
        channels: Sequence[int] = (),      # at R/2, R/4, ..., 4; () for a default by the resolution
    ) -> None:  # fmt: skip
        super().__init__()
        channels = list(channels) or default_channels(img_resolution, CHANNELS)
        self.config: dict[str, Any] = {
            "img_resolution": img_resolution, "w_dim": w_dim, "img_channels": img_channels, "channels": channels,
        }  # fmt: skip
        self.img_resolution, self.img_channels, self.w_dim = img_resolution, img_channels, w_dim
        self.stem, self.blocks = lean_trunk(img_resolution, img_channels, channels)
        self.fc = FullyConnected(channels[-1] * 16, 256, act="lrelu")
        self.out = FullyConnected(256, w_dim)

    def forward(self, img: Tensor) -> Tensor:  # [N, C, R, R] -> [N, w_dim]
        require_image(img, self.img_channels, self.img_resolution)
        return self.out(self.fc(self.blocks(self.stem(F.pixel_unshuffle(img, 2))).flatten(1)))
