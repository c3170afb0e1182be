"""A generator to play with: draw codes, render them, find the codes of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from editors.images import ImageLike, gather
from editors.inversion_cache import InversionCache
from editors.invert import Inversion, InversionSettings, invert
from editors.ownership import require_owner
from networks.latent import Latent
from networks.protocol import Generator
from networks.rendering import require_finite_images


@dataclass(frozen=True)
class GeneratorEditor:
    """What :func:`editors.load` gives for a generator's bundle."""

    generator: Generator
    cache: InversionCache | None = field(default_factory=InversionCache)   # where inversions are kept; None: nowhere

    def sample(self, n: int = 1, seed: int = 0, truncation: float = 1.0) -> Latent:
        """``n`` random codes; item i depends only on ``(seed, i)``."""
        return self.generator.sample(n, seed, truncation=truncation)

    @torch.no_grad()
    def render(self, latent: Latent, batch: int = 16) -> Tensor:
        """The images of ``latent``, ``[N, C, R, R]`` in [-1, 1], ``batch`` at a time.

        Raises:
            GanvasError: if the codes belong to another generator, or their images are not finite.
        """
        require_owner(latent, self.generator)
        device = self.generator.device
        images = torch.cat([self.generator.render(piece.to(device)) for piece in latent.split(batch)])
        return require_finite_images(images).clamp(-1, 1)

    def invert(
        self,
        what: ImageLike | Sequence[ImageLike],
        settings: InversionSettings | None = None,
        progress: bool = True,
    ) -> Inversion:
        """The codes of one image or several (paths, PIL images, arrays, tensors), see :func:`editors.invert.invert`."""
        given = gather(what, self.generator.img_channels, self.generator.img_resolution)
        return invert(
            self.generator, given.images, settings, cache=self.cache, progress=progress, windows=given.windows
        )
