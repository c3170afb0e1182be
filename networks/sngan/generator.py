"""The generator of SNGAN with projection: residual blocks with categorical conditional batch normalisation.

Miyato et al. 2018 (arXiv 1802.05957) and Miyato and Koyama 2018 (arXiv 1802.05637), as Suzuki et al. 2018
(neural-collage, arXiv 1811.10153) train it. There is no spectral norm in it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from networks.latent import Latent, item_rng
from networks.sngan.batch_norm import EPSILON, MOMENTUM, Affine, ConditionalBatchNorm

BOTTOM = 4  # pixels a side of the first map
Affines = Mapping[str, Affine]  # by the path of the normalisation, as ``block2.b1``


def default_channels(img_resolution: int, width: int) -> list[int]:
    """Channels at 4x4, 8x8, ...: 16 times ``width`` and half as many at each of the finer ones, down to ``width``.

    Example:
        >>> default_channels(64, 64)
        [1024, 512, 256, 128, 64]
    """
    return [width * 2**i for i in range(int(math.log2(img_resolution // BOTTOM)), -1, -1)]


class GeneratorBlock(nn.Module):
    """Twice the resolution: norm, ReLU, nearest pixels, 3x3, norm, ReLU, 3x3, beside a 1x1 of the enlarged input."""

    def __init__(self, in_channels: int, out_channels: int, classes: int) -> None:
        super().__init__()
        self.b1 = ConditionalBatchNorm(in_channels, classes)
        self.b2 = ConditionalBatchNorm(out_channels, classes)
        self.c1 = _conv(in_channels, out_channels, 3, math.sqrt(2))
        self.c2 = _conv(out_channels, out_channels, 3, math.sqrt(2))
        self.c_sc = _conv(in_channels, out_channels, 1, 1.0)

    def forward(self, x: Tensor, first: Affine, second: Affine) -> Tensor:
        """``[N, I, H, W]`` to ``[N, O, 2H, 2W]``; the norms are followed by ``first`` at H and ``second`` at 2H."""
        h = self.c1(_doubled(F.relu(self.b1(x, first))))
        # A 1x1 convolution and nearest pixels commute; before them it is a quarter of the work.
        return self.c2(F.relu(self.b2(h, second))) + _doubled(self.c_sc(x))


class ConditionalSynthesis(nn.Module):
    """``z`` and a class to an image. Blocks are ``block2``, ``block3``, ..., as in the release."""

    def __init__(
        self,
        z_dim: int,               # width of z
        classes: int,             # how many
        channels: Sequence[int],  # at 4x4, 8x8, ..., the image's resolution
        img_channels: int,        # channels of the image
        channels_last: bool,      # memory layout of the activations
    ) -> None:  # fmt: skip
        super().__init__()
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.l1 = nn.Linear(z_dim, BOTTOM * BOTTOM * channels[0])
        _glorot(self.l1, 1.0)
        self.blocks = [f"block{i}" for i in range(2, len(channels) + 1)]
        for name, (a, b) in zip(self.blocks, pairwise(channels), strict=True):
            self.add_module(name, GeneratorBlock(a, b, classes))
        self.last_norm = nn.BatchNorm2d(channels[-1], EPSILON, MOMENTUM)  # knows no classes
        self.last = _conv(channels[-1], img_channels, 3, 1.0)
        self.feature_shapes = {name: (c, BOTTOM << i + 1) for i, (name, c) in enumerate(
            zip(self.blocks, channels[1:], strict=True))}  # fmt: skip

    @property
    def norms(self) -> dict[str, tuple[ConditionalBatchNorm, int]]:
        """Path of each conditional normalisation -> it, and the resolution that it is at; coarse to fine."""
        found = {}
        for i, name in enumerate(self.blocks):
            block = getattr(self, name)
            found[f"{name}.b1"] = block.b1, BOTTOM << i
            found[f"{name}.b2"] = block.b2, BOTTOM << i + 1
        return found

    def affines(self, label: Tensor) -> dict[str, Affine]:
        """Of one class for the whole image, or of a mix of them: ``label`` ``[N, classes]``."""
        return {path: norm.affine(label) for path, (norm, _) in self.norms.items()}

    def bottom(self, z: Tensor) -> Tensor:
        """``[N, z_dim]`` to the first map ``[N, C, 4, 4]``."""
        return self.l1(z).unflatten(1, (-1, BOTTOM, BOTTOM)).contiguous(memory_format=self.memory_format)

    def block(self, name: str, x: Tensor, affines: Affines) -> Tensor:
        """One block on the map before it."""
        return getattr(self, name)(x, affines[f"{name}.b1"], affines[f"{name}.b2"])

    def image(self, x: Tensor) -> Tensor:
        """The last block's map to an image in (-1, 1), in single precision."""
        return torch.tanh(self.last(F.relu(self.last_norm(x))).float())

    def forward(
        self, z: Tensor, label: Tensor | Affines, features: dict[str, Tensor] | None = None
    ) -> Tensor:  # fmt: skip
        """``z`` ``[N, z_dim]`` to an image ``[N, C, R, R]``.

        Args:
            z: the code.
            label: weights of the classes ``[N, classes]``, or what follows each normalisation.
            features: takes each block's output.
        """
        affines = self.affines(label) if isinstance(label, Tensor) else label
        x = self.bottom(z)
        for name in self.blocks:
            x = self.block(name, x, affines)
            if features is not None:
                features[name] = x
        return self.image(x)


class ConditionalGenerator(nn.Module):
    """A class-conditional generator as ``networks.protocol.Generator``; ``config`` rebuilds it.

    Raises:
        ValueError: if the resolution is not a power of two of at least 8, there are no two classes, or ``channels`` are
            not one count for each of 4, 8, ..., ``img_resolution``.
    """

    def __init__(
        self,
        img_resolution: int,               # a power of two
        c_dim: int,                        # classes
        channels: Sequence[int] = (),      # at 4x4, 8x8, ..., img_resolution; () for a default by the width
        width: int = 64,                   # of that default: channels of the finest map
        z_dim: int = 128,                  # width of z
        img_channels: int = 3,             # channels of the image
        channels_last: bool = False,       # memory layout of the activations
    ) -> None:  # fmt: skip
        super().__init__()
        if img_resolution < 2 * BOTTOM or img_resolution & (img_resolution - 1):
            raise ValueError(f"img_resolution must be a power of two of at least {2 * BOTTOM}, got {img_resolution}")
        if c_dim < 2:
            raise ValueError(f"a class-conditional generator needs at least 2 classes, got c_dim={c_dim}")
        channels = list(channels) or default_channels(img_resolution, width)
        if BOTTOM << len(channels) - 1 != img_resolution or min(channels) < 1:
            raise ValueError(f"channels must be positive counts of 4x4, 8x8, ..., {img_resolution}, got {channels}")
        self.config: dict[str, Any] = {
            "img_resolution": img_resolution, "c_dim": c_dim, "channels": channels, "z_dim": z_dim,
            "img_channels": img_channels, "channels_last": channels_last,
        }  # fmt: skip
        self.img_resolution, self.img_channels, self.z_dim, self.c_dim = img_resolution, img_channels, z_dim, c_dim
        self.synthesis = ConditionalSynthesis(z_dim, c_dim, channels, img_channels, channels_last)
        self.hash = ""  # of the file it came from; networks.checkpoints sets it
        self.label_names: tuple[str, ...] = ()  # of the classes, likewise; () where the file has none

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.synthesis.l1.weight.device

    @property
    def feature_shapes(self) -> dict[str, tuple[int, int]]:
        """Block -> (channels, resolution), coarse to fine."""
        return self.synthesis.feature_shapes

    @property
    def constant_features(self) -> frozenset[str]:
        """None: there is no constant."""
        return frozenset()

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        """Z ``[N, z_dim]`` and weights of the classes ``[N, c_dim]`` to images ``[N, C, R, R]`` in (-1, 1)."""
        return self.synthesis(z, c)

    @torch.no_grad()
    def sample(
        self, n: int, seed: int, label: Tensor | None = None, truncation: float = 1.0, first: int = 0
    ) -> Latent:  # fmt: skip
        """Draw ``n`` codes in z with their labels; item i depends only on ``(seed, i)``, whatever ``n`` is.

        Args:
            n: how many.
            seed: any integer from 0.
            label: ``[n, c_dim]``; the classes in turn if left out.
            truncation: factor on z: 1 draws from all of it, 0 gives its mean.
            first: the number of the first item, so that a long row of samples can be drawn in parts.

        Raises:
            ValueError: if the label does not fit, or ``n`` is below one.
        """
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}")
        z = torch.stack([torch.randn(self.z_dim, generator=item_rng(seed, i)) for i in range(first, first + n)])
        if label is None:
            label = torch.eye(self.c_dim)[torch.arange(first, first + n) % self.c_dim]
        require_label(label, n, self.c_dim)
        return Latent("z", {"z": truncation * z.to(self.device)}, label.to(self.device), self.hash or None)

    def noise_maps(self) -> dict[str, Tensor]:
        """Empty: there is no noise."""
        return {}

    def render(
        self, latent: Latent, features: bool = False, up_to: int | None = None
    ) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
        """Images ``[N, C, R, R]`` in (-1, 1) for a latent in z with its label; ``up_to`` changes nothing.

        Raises:
            ValueError: if the latent is in another space, has noise maps, or its label is missing or does not fit.
        """
        if latent.space != "z" or latent.tensors.keys() != {"z"}:
            raise ValueError(f"a class-conditional generator renders z alone, not {latent.space!r} with "
                             f"{sorted(latent.tensors)}")  # fmt: skip
        require_label(latent.label, len(latent), self.c_dim)
        maps: dict[str, Tensor] | None = {} if features else None
        image = self.synthesis(latent.tensors["z"], latent.label, maps)
        return image if maps is None else (image, maps)


def require_label(label: Tensor | None, n: int, classes: int) -> None:
    """Refuse a label that is not ``[n, classes]``.

    Raises:
        ValueError: saying what is wanted.
    """
    if label is None or label.shape != (n, classes):
        raise ValueError(f"the label must be [{n}, {classes}], got {None if label is None else list(label.shape)}")


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")


def _conv(in_channels: int, out_channels: int, size: int, gain: float) -> nn.Conv2d:
    conv = nn.Conv2d(in_channels, out_channels, size, padding=size // 2)
    _glorot(conv, gain)
    return conv


def _glorot(layer: nn.Linear | nn.Conv2d, gain: float) -> None:
    nn.init.xavier_uniform_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
