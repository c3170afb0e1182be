"""What a channel of style space does, found as StyleCLIP's program finds it: what ours is compared with.

Patashnik et al. 2021 (arXiv 2103.17249, section 6), from the semantics of the released program: for each channel, image
and sign one image is rendered alone and at full size, becomes 8-bit pixels, is brought to the CLIP's size by bicubic
interpolation, and looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from networks.channel_statistics import ChannelStatistics
from networks.clip import ClipModel
from networks.grids import to_uint8
from networks.latent import Latent

STEP = 5.0   # deviations
IMAGES = 100


@dataclass
class OriginalDirections:
    """One generator and one CLIP."""

    generator: Any
    clip: ClipModel
    latent: Latent              # of the images, in S
    spread: ChannelStatistics   # mean and deviation of every channel

    def renders(self, channels: int) -> int:
        """How many images it takes for so many channels."""
        return channels * IMAGES * 2

    @torch.no_grad()
    def look(self, path: str, channel: int, image: int, sign: int) -> Tensor:
        """Features ``[D]`` of one image with one channel moved."""
        styles = {name: t[image : image + 1].clone() for name, t in self.latent.tensors.items()}
        styles[path][0, channel] = self.spread.mean[path][channel] + sign * STEP * self.spread.std[path][channel]
        drawn = self.generator.render(Latent("s", styles))
        picture = Image.fromarray(to_uint8(drawn.clamp(-1, 1).cpu())[0])
        prepared, size = self.clip.preprocessing, self.clip.resolution
        pixels = np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC), dtype=np.float32) / 255
        x = (torch.from_numpy(pixels) - torch.tensor(prepared.mean)) / torch.tensor(prepared.std)
        seen = self.clip.image_tower(x.permute(2, 0, 1)[None].to(drawn.device))
        return torch.nn.functional.normalize(seen.float(), dim=1)[0].cpu()

    def some(self, path: str, count: int) -> list[Tensor]:
        """The first images' features for one channel, both signs in turn."""
        return [self.look(path, 0, i // 2 % len(self.latent), 1 - 2 * (i % 2)) for i in range(count)]
