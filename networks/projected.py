"""A discriminator of frozen features (Projected GANs, Sauer et al. 2021, arXiv 2111.01007).

Images are projected into the feature space of an ImageNet classifier at four scales. Random maps that are never trained
mix its channels and its scales, so that no discriminator can settle on the few features that tell images from samples
at once; only the four small discriminators, one a scale, are trained.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from networks.critics.efficientnet_lite0 import PYRAMID, EfficientNetLite0
from networks.stylegan2.discriminator import require_image

CLASSIFIER_SIZE = 224  # smaller images are enlarged to what the classifier was trained on, as in the paper
STRIDE = 32            # of the coarsest map
KERNEL = 4             # of the trained convolutions


class Frozen(nn.Module):
    """Runs a network that is never trained: its parameters become buffers, and it stays in eval mode.

    Buffers are saved and restored with the rest, no optimiser finds them, and nothing can switch their gradient on.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        for module in network.modules():
            for name, value in list(module.named_parameters(recurse=False)):
                delattr(module, name)
                module.register_buffer(name, value.detach().clone())
        self.network = network.eval()

    def train(self, mode: bool = True) -> Frozen:
        super().train(mode)
        self.network.eval()
        return self

    def forward(self, images: Tensor) -> Any:
        return self.network(images)


class Projection(nn.Module):
    """Features mixed by random convolutions across channels, then from coarse to fine across scales (section 3.2).

    Args:
        width: channels that are discriminated at the finest scale; see :func:`widths`.
        resolution: images are resized to this square.
    """

    def __init__(self, width: int, resolution: int) -> None:
        super().__init__()
        self.features = EfficientNetLite0.load(resolution)
        del self.features._conv_head, self.features._bn1, self.features._fc  # what only a classification needs
        mixed, out = [width * 2**i for i in range(4)], widths(width)
        self.channels = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in zip(PYRAMID, mixed, strict=True))
        self.scales = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in zip(mixed, out, strict=False))
        for convolution in (*self.channels, *self.scales):
            # Kaiming's normal distribution; nothing that halves the variance follows, hence linear.
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="linear")
            nn.init.zeros_(convolution.bias)

    def forward(self, images: Tensor) -> list[Tensor]:
        """``[N, 3, H, W]`` in [-1, 1] to maps of resolution / 2, 4, 8 and 16."""
        maps: list[Tensor] = []
        pairs = zip(self.features.pyramid(images), self.channels, self.scales, strict=True)
        for features, across_channels, across_scales in reversed([*pairs]):
            x = across_channels(features)
            if maps:
                x = x + maps[0]
            # The published order is to enlarge first; a 1x1 convolution commutes with it, and is cheaper before.
            maps.insert(0, F.interpolate(across_scales(x), scale_factor=2, mode="bilinear", align_corners=True))
        return maps


class Head(nn.Module):
    """A map to logits ``[N, L]``: convolutions of stride 2 down to 1/32 of the image, then one without padding.

    With a label, its embedding is projected on as in Miyato & Koyama 2018 (arXiv 1802.05637, equation 3).
    """

    def __init__(self, channels: Sequence[int], c_dim: int, cmap_dim: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(
            nn.Sequential(
                spectral_norm(nn.Conv2d(a, b, KERNEL, 2, 1, bias=False)), nn.BatchNorm2d(b), nn.LeakyReLU(0.2)
            ) for a, b in pairwise(channels)
        ))  # fmt: skip
        self.cmap_dim = cmap_dim if c_dim > 0 else 0
        self.out = spectral_norm(nn.Conv2d(channels[-1], 1 + self.cmap_dim, KERNEL, bias=False))
        if c_dim > 0:
            self.embed = nn.Linear(c_dim, cmap_dim, bias=False)
            nn.init.normal_(self.embed.weight)

    def forward(self, x: Tensor, c: Tensor | None) -> Tensor:
        x = self.out(self.blocks(x))
        logits = x[:, :1]
        if c is not None:
            fits = (x[:, 1:] * self.embed(c)[:, :, None, None]).sum(1, keepdim=True)
            logits = logits + fits / math.sqrt(self.cmap_dim)
        return logits.flatten(1)


def widths(width: int) -> list[int]:
    """Channels at 1/2, 1/4, 1/8, 1/16 and 1/32 of the image: what the first four discriminators see, and their last.

    Example:
        >>> widths(64)
        [64, 64, 128, 256, 512]
    """
    return [width, *(width * 2**i for i in range(4))]


class ProjectedDiscriminator(nn.Module):
    """Image, and label, to the logits of four discriminators ``[N, L]``; ``config`` rebuilds it.

    Each has ``(feature_resolution / 32 - 3)^2`` logits an image, 16 at 224. A mean loss over all of them is the paper's
    sum over discriminators, divided by four. Its gradient needs no penalty: no R1 belongs to it.

    Raises:
        ValueError: if a size, a width or the label does not fit.
        GanvasError: if the weights of the features are not installed.
    """

    def __init__(
        self,
        img_resolution: int,                     # pixels a side; the image has three channels
        c_dim: int = 0,                          # width of the class label; 0 for none
        width: int = 64,                         # channels at the finest scale; 64 in the paper
        cmap_dim: int = 64,                      # width of the label's embedding
        feature_resolution: int | None = None,   # what images are resized to; None: 224, or img_resolution if larger
    ) -> None:  # fmt: skip
        super().__init__()
        self.sees_with = "efficientnet-lite0"  # as networks.critics names it
        size = max(CLASSIFIER_SIZE, img_resolution) if feature_resolution is None else feature_resolution
        if size % STRIDE or size < KERNEL * STRIDE:
            raise ValueError(f"feature_resolution must be a multiple of {STRIDE}, at least {KERNEL * STRIDE}, "
                             f"got {size}")  # fmt: skip
        if width < 1 or c_dim < 0 or cmap_dim < 1:
            raise ValueError(f"width and cmap_dim must be at least 1 and c_dim at least 0, got {width}, {cmap_dim} "
                             f"and {c_dim}")  # fmt: skip
        self.config: dict[str, Any] = {
            "img_resolution": img_resolution, "c_dim": c_dim, "width": width, "cmap_dim": cmap_dim,
            "feature_resolution": feature_resolution,
        }  # fmt: skip
        self.img_resolution, self.img_channels, self.c_dim = img_resolution, 3, c_dim
        self.projection = Frozen(Projection(width, size))
        self.heads = nn.ModuleList(Head(widths(width)[i:], c_dim, cmap_dim) for i in range(4))

    def forward(self, img: Tensor, c: Tensor | None = None) -> Tensor:  # [N, 3, R, R] -> [N, L]
        require_image(img, self.img_channels, self.img_resolution)
        expected, given = [len(img), self.c_dim] if self.c_dim else None, None if c is None else list(c.shape)
        if given != expected:
            raise ValueError(f"c must be {expected}, got {given}")
        maps = self.projection(img)
        return torch.cat([head(x, c) for head, x in zip(self.heads, maps, strict=True)], dim=1)
