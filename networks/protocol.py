"""What every generator offers, so that heads, encoders, mappers and editors need not know which one they drive."""

from __future__ import annotations

from typing import Literal, Protocol, overload, runtime_checkable

import torch
from torch import Tensor

from networks.latent import Latent

Features = dict[str, Tensor]


@runtime_checkable
class Generator(Protocol):
    """A frozen generator: latent codes in, images in [-1, 1] and native-resolution features out."""

    img_resolution: int
    img_channels: int
    hash: str  # sha256 over the stored tensors, see networks.checkpoints.bundle.tensors_hash

    @property
    def device(self) -> torch.device:
        """Where its weights are, and where a latent must be to be rendered."""
        ...

    @property
    def feature_shapes(self) -> dict[str, tuple[int, int]]:
        """Feature map name -> (channels, resolution), coarse to fine."""
        ...

    @property
    def constant_features(self) -> frozenset[str]:
        """Names of the maps that are the same for every image."""
        ...

    def sample(
        self, n: int, seed: int, label: Tensor | None = None, truncation: float = 1.0, first: int = 0
    ) -> Latent:  # fmt: skip
        """Draw ``n`` latents, numbers ``first`` and up; item i depends only on ``(seed, i)``."""
        ...

    def noise_maps(self) -> dict[str, Tensor]:
        """The stored noise maps ``[R, R]`` by layer, of layers whose noise shows in images; empty if none does."""
        ...

    @overload
    def render(self, latent: Latent, features: Literal[False] = False, up_to: int | None = None) -> Tensor: ...
    @overload
    def render(self, latent: Latent, features: Literal[True], up_to: int | None = None) -> tuple[Tensor, Features]: ...
    def render(
        self, latent: Latent, features: bool = False, up_to: int | None = None
    ) -> Tensor | tuple[Tensor, Features]:
        """Images ``[N, C, H, W]``, with ``features`` also the maps named by ``feature_shapes``.

        With ``up_to`` layers finer than so many pixels a side are left out where the network has an image without
        them: what there is is exact, and smaller. A network without such images renders the whole.

        Noise, where the generator has any, is that of ``latent.noise``; in layers without it, it follows from
        ``latent.noise_seed``, and without a seed it is the stored noise.
        """
        ...
