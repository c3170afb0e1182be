"""The class-conditional GAN in stages, its classes mixed at each pixel: spatial conditional batch normalisation.

Suzuki et al. 2018 (arXiv 1811.10153), section 4: ``gamma(p) = sum_c W_c(p) gamma_c``, likewise beta, in any layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from networks.collage.regions import Region, Shares
from networks.collage.render import Repainted, State
from networks.latent import Latent
from networks.sngan.batch_norm import Affine, ConditionalBatchNorm
from networks.sngan.generator import ConditionalGenerator, ConditionalSynthesis, require_label

FIRST = "l1"  # the first map


def spatial_affine(norm: ConditionalBatchNorm, labels: Tensor, weights: Tensor) -> Affine:
    """Gains and biases of each pixel: ``sum_k w_k(p) gamma_k`` and ``sum_k w_k(p) beta_k``.

    Args:
        norm: whose classes are mixed.
        labels: the K mixtures of classes that are used, ``[N, K, classes]``.
        weights: of each at each pixel, ``[N, K, H, W]``.
    """
    size, mix = weights.shape[2:], weights.flatten(2).mT.to(norm.gammas)          # [N, HW, K]
    gain, bias = (mix @ (labels.to(table) @ table) for table in (norm.gammas, norm.betas))  # [N, HW, C]
    return Affine(*(t.unflatten(1, size).permute(0, 3, 1, 2) for t in (gain, bias)))


class SpatialAffines(Mapping[str, Affine]):
    """What follows each normalisation where regions are of other classes, made when it is asked for.

    The maps of all layers together would take several times the memory of the network's activations.
    """

    def __init__(self, synthesis: ConditionalSynthesis, labels: Tensor, regions: Sequence[Region]) -> None:
        self.norms, self.labels, self.shares = synthesis.norms, labels, Shares(regions)

    def __getitem__(self, path: str) -> Affine:
        norm, size = self.norms[path]
        return spatial_affine(norm, self.labels, self.shares.at(path, size))

    def __iter__(self) -> Iterator[str]:
        return iter(self.norms)

    def __len__(self) -> int:
        return len(self.norms)


class ConditionalStages:
    """See :class:`networks.collage.render.Stages`: a stage is a block, a layer a conditional normalisation."""

    def __init__(self, generator: ConditionalGenerator) -> None:
        self.generator, self.synthesis = generator, generator.synthesis
        self.sites = self.blends = [FIRST, *self.synthesis.blocks]
        self.layers = {path: size for path, (_, size) in self.synthesis.norms.items()}

    def styles(self, latent: Latent, repainted: Sequence[Repainted]) -> Mapping[str, Affine]:
        require_label(latent.label, len(latent), self.generator.c_dim)
        if not repainted:
            return self.synthesis.affines(latent.label)
        for item in repainted:
            require_label(item.style, len(latent), self.generator.c_dim)
        labels = torch.stack([latent.label, *(item.style.to(latent.label) for item in repainted)], dim=1)
        return SpatialAffines(self.synthesis, labels, [item.region for item in repainted])

    def begin(self, latent: Latent) -> State:
        return (self.synthesis.bottom(latent.tensors["z"]),)

    def advance(self, site: str, state: State, styles: Mapping[str, Affine]) -> State:
        return (self.synthesis.block(site, state[0], styles),)

    def image(self, state: State) -> Tensor:
        return self.synthesis.image(state[0])
