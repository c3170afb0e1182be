"""Frozen networks that judge images: perceptual distances, and features that compare sets of images.

Names are a closed list. A critic whose weights are missing raises; no critic stands in for another.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from networks.checkpoints.errors import GanvasError
from networks.critics.sizes import enlarged

if TYPE_CHECKING:
    from networks.critics.lpips_distance import PerceptualCritic

PERCEPTUAL = ("stlpips-alex", "stlpips-vgg", "lpips-alex", "lpips-vgg")
PACKAGED_FEATURES = ("efficientnet-lite0", "stlpips-alex")  # their weights are installed with Ganvas
FEATURES = (*PACKAGED_FEATURES, "inception", "inception-torchvision")


class TrunkFeatures(nn.Module):
    """Features of a perceptual critic's trunk, averaged over the image and joined: ``[N, 3, R, R] -> [N, D]``.

    Images that are too small for the trunk are enlarged by a whole factor, each pixel repeated.
    """

    def __init__(self, critic: PerceptualCritic) -> None:
        super().__init__()
        self.critic = critic

    def forward(self, images: Tensor) -> Tensor:
        maps = self.critic.maps(enlarged(images, self.critic.min_size))
        return torch.cat([x.mean((2, 3)) for x in maps], dim=1)


def perceptual(name: str) -> PerceptualCritic:
    """The perceptual distance of this name: ``(x, y) -> [N]`` for images ``[N, 3, H, W]`` in [-1, 1].

    Raises:
        GanvasError: if the name is unknown or the weights are missing.
    """
    if name not in PERCEPTUAL:
        raise GanvasError(f"unknown perceptual critic {name!r}: choose one of {', '.join(PERCEPTUAL)}")
    family, trunk = name.split("-")
    # Imported here: each critic needs packages that the others do not.
    if family == "stlpips":
        from networks.critics.stlpips import StLpips

        return StLpips.load(trunk)  # type: ignore[arg-type]
    from networks.critics.lpips_critic import LpipsCritic

    return LpipsCritic.load(trunk)  # type: ignore[arg-type]


def feature_network(name: str, weights: str | Path | None = None, allow_download: bool = False) -> nn.Module:
    """The network that turns images ``[N, 3, H, W]`` in [-1, 1] into the vectors ``[N, D]`` that metrics compare.

    ``efficientnet-lite0`` (D = 1280, images resized to 128), ``stlpips-alex`` (D = 1152, images as they are, below 32
    pixels enlarged),
    ``inception`` (D = 2048, the network of published FIDs, images resized to 299) or ``inception-torchvision`` (the
    same size, torchvision's own weights).

    Args:
        name: which.
        weights: file of an Inception's weights; None for the one in the torch hub folder.
        allow_download: whether an Inception that is not there may be fetched; nothing else ever is.

    Raises:
        GanvasError: if the name is unknown, the weights are missing or do not fit.
    """
    if name not in FEATURES:
        raise GanvasError(f"unknown feature network {name!r}: choose one of {', '.join(FEATURES)}")
    if name not in PACKAGED_FEATURES:
        from networks.critics.inception import Inception

        return Inception.load(name, weights, allow_download)
    if weights is not None:
        raise GanvasError(f"{name} has its own weights, so {weights} would not be used: leave the file out, or choose "
                          "inception or inception-torchvision")  # fmt: skip
    if name == "efficientnet-lite0":
        from networks.critics.efficientnet_lite0 import EfficientNetLite0

        return EfficientNetLite0.load()
    return TrunkFeatures(perceptual(name))
