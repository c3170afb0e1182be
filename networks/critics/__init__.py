"""Frozen networks that judge images: perceptual distances, and features that compare sets of images.

Names are a closed list. A critic whose weights are missing raises; no critic stands in for another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from networks.checkpoints.errors import GanvasError

if TYPE_CHECKING:
    from networks.critics.lpips_distance import PerceptualCritic

PERCEPTUAL = ("stlpips-alex", "stlpips-vgg", "lpips-alex", "lpips-vgg")
FEATURES = ("efficientnet-lite0", "stlpips-alex")


class TrunkFeatures(nn.Module):
    """Features of a perceptual critic's trunk, averaged over the image and joined: ``[N, 3, H, W] -> [N, D]``."""

    def __init__(self, critic: PerceptualCritic) -> None:
        super().__init__()
        self.critic = critic

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([x.mean((2, 3)) for x in self.critic.maps(images)], dim=1)


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


def feature_network(name: str) -> nn.Module:
    """The network that turns images ``[N, 3, H, W]`` in [-1, 1] into the vectors ``[N, D]`` that KID compares.

    ``efficientnet-lite0`` (D = 1280, images resized to 128) or ``stlpips-alex`` (D = 1152, images as they are).

    Raises:
        GanvasError: if the name is unknown or the weights are missing.
    """
    if name == "efficientnet-lite0":
        from networks.critics.efficientnet_lite0 import EfficientNetLite0

        return EfficientNetLite0.load()
    if name == "stlpips-alex":
        return TrunkFeatures(perceptual(name))
    raise GanvasError(f"unknown feature network {name!r}: choose one of {', '.join(FEATURES)}")
