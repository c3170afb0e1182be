"""How far an image is from the one that an inversion is to reproduce: in pixels, to a critic, to the discriminator.

The last is the loss of Suzuki et al. 2018 (neural-collage, arXiv 1811.10153, section 5): one minus the cosine of what
the class-conditional GAN's own discriminator sees, in its last block or in several.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from networks.checkpoints.errors import GanvasError
from networks.checkpoints.generators import find_discriminator
from networks.critics.lpips_distance import Embedding, PerceptualCritic
from networks.critics.sizes import for_critic
from networks.protocol import Generator
from networks.sngan import ProjectionDiscriminator

ALL = "all"   # blocks


class Weights(NamedTuple):
    """What counts how much."""

    pixel: float        # of the mean squared difference of pixels
    perceptual: float   # of the perceptual distance
    features: float     # of one minus the cosine of the discriminator's features


class Seen(NamedTuple):
    """What critic and discriminator see in images; a target is looked at once."""

    embedding: Embedding           # () where it has no weight
    features: tuple[Tensor, ...]   # of each block [N, D], of unit length; likewise


class Likeness:
    """Compares images ``[N, C, R, R]`` with targets.

    Args:
        weights: of the three.
        critic: perceptual distance.
        discriminator: needed where its features have a weight.
        blocks: of the discriminator; () for the last, ``all`` for each.

    Raises:
        GanvasError: if it has no such block.
    """

    def __init__(
        self, weights: Weights, critic: PerceptualCritic, discriminator: ProjectionDiscriminator | None = None,
        blocks: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.weights, self.critic, self.discriminator = weights, critic, discriminator
        self.blocks = () if discriminator is None else _blocks(discriminator, blocks)

    def see(self, images: Tensor) -> Seen:
        """What has a weight, of images in [-1, 1]."""
        features: tuple[Tensor, ...] = ()
        if self.weights.features and self.discriminator is not None:
            found = self.discriminator.features(images)
            features = tuple(F.normalize(found[name].flatten(1), dim=1) for name in self.blocks)
        return Seen(self.critic.features(for_critic(images)) if self.weights.perceptual else (), features)

    def loss(self, image: Tensor, target: Tensor, seen: Seen) -> Tensor:
        """The weighted sum of the three, ``[N]``; ``seen`` is what :meth:`see` says of the target."""
        w, own = self.weights, self.see(image)
        loss = w.pixel * (image - target).square().flatten(1).mean(1)
        if w.perceptual:
            loss = loss + w.perceptual * self.critic.distance(own.embedding, seen.embedding)
        if own.features:
            cosines = [(x * y).sum(1) for x, y in zip(own.features, seen.features, strict=True)]
            loss = loss + w.features * (1 - torch.stack(cosines).mean(0))
        return loss


def discriminator_for(generator: Generator) -> ProjectionDiscriminator:
    """The discriminator whose features are compared.

    Raises:
        GanvasError: if it is nowhere, or gives no features of blocks.
    """
    found = find_discriminator(generator)
    if found is None:
        raise GanvasError("inversion features= needs the generator's discriminator, which lies neither beside it nor "
                          "in the zoo: put it there (a run writes NAME_discriminator.safetensors, and `ganvas convert "
                          "network=D generator=FILE` makes one), or leave features= out")  # fmt: skip
    if not isinstance(found, ProjectionDiscriminator):
        raise GanvasError("inversion features= is for class-conditional GANs, whose discriminator gives features by "
                          "block: leave it out")  # fmt: skip
    return found.to(generator.device)


def _blocks(discriminator: ProjectionDiscriminator, names: Sequence[str]) -> tuple[str, ...]:
    known = discriminator.blocks
    if unknown := [name for name in names if name not in (*known, ALL)]:
        raise GanvasError(f"the discriminator has no block {unknown[0]}; there are {', '.join(known)}")
    return tuple(known) if ALL in names else tuple(names) or (known[-1],)
