"""Small trunks from an aligned image to one vector, of two architectures, for classifiers and embeddings.

``dense``: strided convolutions, then one dense layer over all places (LeCun et al. 1998, with batch normalisation).
``mixer``: ConvMixer (Trockman and Kolter 2022, arXiv 2201.09792), depthwise and pointwise convolutions on patches of
one size throughout. They are built so differently that one can judge what the other was used for.

Both keep places apart at the end, since a mouth is told by what is where mouths are, and use batch normalisation:
docs/decisions.md says what was tried before.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from networks.checkpoints.errors import GanvasError

DENSE_REDUCED = 16   # channels that each place hands to the dense layer
MIXER_DEPTH, MIXER_KERNEL, MIXER_PATCH, MIXER_GRID = 6, 5, 4, 4   # the last: places a side that stay apart at the end


class DenseTrunk(nn.Module):
    """Three convolutions to a quarter of the size, then a dense layer: ``[N, 3, R, R] -> [N, 4 width]``."""

    multiple = 4   # sizes of images must be multiples of it

    def __init__(self, width: int, resolution: int) -> None:
        super().__init__()
        self.features = 4 * width
        self.convolutions = nn.Sequential(
            *_convolution(3, width, 4, 2), *_convolution(width, 3 * width // 2, 3, 2),
            *_convolution(3 * width // 2, 2 * width, 3, 1), *_convolution(2 * width, DENSE_REDUCED, 1, 1),
        )  # fmt: skip
        places = DENSE_REDUCED * (resolution // self.multiple) ** 2
        self.dense = nn.Sequential(
            nn.Linear(places, self.features, bias=False), nn.BatchNorm1d(self.features), nn.ReLU()
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.dense(self.convolutions(_laid_out(images)).flatten(1))


class MixerTrunk(nn.Module):
    """Patches of 4x4 pixels, mixed within each channel and across them in turn: ``[N, 3, R, R] -> [N, 16 width]``."""

    multiple = MIXER_PATCH

    def __init__(self, width: int, resolution: int) -> None:
        super().__init__()
        self.features = width * MIXER_GRID**2
        self.stem = nn.Sequential(nn.Conv2d(3, width, MIXER_PATCH, MIXER_PATCH), nn.GELU(), nn.BatchNorm2d(width))
        self.spatial = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, width, MIXER_KERNEL, padding=MIXER_KERNEL // 2, groups=width), nn.GELU(),
                nn.BatchNorm2d(width),
            ) for _ in range(MIXER_DEPTH)
        )  # fmt: skip
        self.channels = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 1), nn.GELU(), nn.BatchNorm2d(width)) for _ in range(MIXER_DEPTH)
        )

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(_laid_out(images))
        for spatial, channels in zip(self.spatial, self.channels, strict=True):
            x = channels(x + spatial(x))
        return F.adaptive_avg_pool2d(x, MIXER_GRID).flatten(1)


def _convolution(channels_in: int, channels: int, kernel: int, stride: int) -> list[nn.Module]:
    convolution = nn.Conv2d(channels_in, channels, kernel, stride, (kernel - 1) // 2, bias=False)
    return [convolution, nn.BatchNorm2d(channels), nn.ReLU()]


def _laid_out(x: Tensor) -> Tensor:
    """Channels last: on a CPU the mixer takes half the time so."""
    return x.contiguous(memory_format=torch.channels_last)


TRUNKS: dict[str, type[DenseTrunk] | type[MixerTrunk]] = {"dense": DenseTrunk, "mixer": MixerTrunk}


def build_trunk(name: str, width: int, resolution: int) -> DenseTrunk | MixerTrunk:
    """A trunk for images of ``resolution`` pixels a side.

    Raises:
        GanvasError: if there is none of this name, or it cannot take images of this size.
    """
    if name not in TRUNKS:
        raise GanvasError(f"there is no trunk {name!r}: choose one of {', '.join(TRUNKS)}.")
    multiple = TRUNKS[name].multiple
    if resolution % multiple:
        raise GanvasError(f"a {name} trunk takes images of multiples of {multiple} pixels a side, not of {resolution}.")
    return TRUNKS[name](width, resolution)


def fitted(images: Tensor, resolution: int) -> Tensor:
    """Images ``[N, 3, R, R]`` at the size that a network was trained on, averaged down or interpolated.

    Raises:
        ValueError: if they are no such images.
    """
    if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
        raise ValueError(f"images must be floats [N, 3, H, W] in [-1, 1], got {images.dtype} {list(images.shape)}")
    if images.shape[-2:] == (resolution, resolution):
        return images
    return F.interpolate(images, size=[resolution] * 2, mode="bilinear", antialias=True, align_corners=False)
