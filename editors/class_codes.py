"""The space in which a class-conditional GAN is inverted: z, for a class that is given or found.

Suzuki et al. 2018 (neural-collage, arXiv 1811.10153, section 5) project an image for a known class from one code. Here
several begin, and where the class is not known they are of different classes: the lowest loss says which it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from editors.class_names import class_label
from networks.latent import Latent, Space
from networks.sngan import ConditionalGenerator


class ClassCodes:
    """See :class:`editors.inversion_spaces.InversionSpace`. The class of a start stays; z is free, in its own units."""

    space: Space = "z"
    rates = (1.0,)
    starts = 4

    def __init__(self, generator: ConditionalGenerator, samples: int, seed: int, label: str | None) -> None:
        given = None if label is None else class_label(generator, label).cpu()
        self._labels = torch.eye(generator.c_dim) if given is None else given   # [classes that may be, c_dim]
        self.samples = generator.sample(samples, seed, None if given is None else given.repeat(samples, 1))
        self.groups = self.samples.label.argmax(1) if label is None else None

    def of(self, latent: Latent) -> Latent:
        """Codes in z with their labels, as they are.

        Raises:
            ValueError: if they are others.
        """
        if latent.space != "z" or latent.label is None:
            raise ValueError(f"an inversion of a class-conditional GAN starts in z with a label, not in {latent.space}")
        return latent.to(self.samples.label.device)

    def encoded(self, encoder: nn.Module, images: Tensor) -> list[Latent]:
        """What an encoder says of images, for the class that is given or else for each."""
        labels = (row.to(images).repeat(len(images), 1) for row in self._labels)
        return [Latent("z", {"z": encoder(images, label)}, label) for label in labels]

    def mean(self, count: int) -> Latent:
        """The mean of z, for the class that is given or else the mean of all."""
        z, label = self.samples.tensors["z"], self.samples.label
        return Latent("z", {"z": z.new_zeros(count, z.shape[1])}, label.mean(0, keepdim=True).repeat(count, 1))

    def free(self, latent: Latent) -> list[Tensor]:
        """The codes themselves: their spread is 1."""
        return [latent.tensors["z"]]

    def latent(self, free: Sequence[Tensor], begin: Latent) -> Latent:
        """The codes, in the class that they began in."""
        return Latent("z", {"z": free[0]}, begin.label)

    def prior(self, free: Sequence[Tensor]) -> Tensor:
        """``(|z|^2 / z_dim - 1)^2``, ``[N]``: in many dimensions codes lie on a shell, and the mean is no code."""
        return (free[0].square().mean(1) - 1).square()
