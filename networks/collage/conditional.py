"""Collage on the class-conditional GAN: spatial conditional batch normalisation, and blending of features.

Suzuki et al. 2018 (neural-collage, arXiv 1811.10153), sections 4 and 5. A class map gives each pixel a mixture of the
classes' gains and biases; references give theirs features. Both act in one pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from networks.collage.regions import Region, divided, shares
from networks.collage.transforms import Transform
from networks.sngan.batch_norm import Affine, ConditionalBatchNorm
from networks.sngan.generator import BOTTOM, ConditionalGenerator

BOTTOM_SITE = "l1"  # where features may be blended beside the blocks' outputs: the first map


@dataclass(frozen=True)
class Repainted:
    """A region that is to be of another class."""

    region: Region   # its layers are paths of normalisations, as ``block2.b1``
    label: Tensor    # weights of the classes in it, [N, classes]


@dataclass(frozen=True)
class Pasted:
    """A region that takes the features of another picture."""

    region: Region                       # its layers are ``l1`` and the blocks
    z: Tensor                            # of the other picture, [N, z_dim]
    label: Tensor                        # its classes, [N, classes]
    repainted: Sequence[Repainted] = ()  # its own class map
    transform: Transform = Transform()


@dataclass(frozen=True)
class Collage:
    """What is done to pictures of ``z`` and ``label``.

    Args:
        repainted: regions of other classes.
        pasted: regions with features of other pictures; their order means nothing.
        preserve_variance: divide blended features by the root of the sum of squared shares. Features of two pictures
            are nearly independent, so that a plain mean of them is weaker than either.
    """

    repainted: Sequence[Repainted] = ()
    pasted: Sequence[Pasted] = field(default=())
    preserve_variance: bool = False


def spatial_affine(norm: ConditionalBatchNorm, labels: Tensor, weights: Tensor) -> Affine:
    """Gains and biases of each pixel: ``sum_k w_k(p) gamma_k`` and ``sum_k w_k(p) beta_k``.

    Args:
        norm: whose classes are mixed.
        labels: the K mixtures of classes that are used, ``[N, K, classes]``.
        weights: of each at each pixel, ``[N, K, H, W]``.
    """
    size, mix = weights.shape[2:], weights.flatten(2).mT              # [N, HW, K]
    gain, bias = (mix @ (labels @ table) for table in (norm.gammas, norm.betas))  # [N, HW, C]
    return Affine(*(t.unflatten(1, size).permute(0, 3, 1, 2) for t in (gain, bias)))


def class_affines(
    generator: ConditionalGenerator, label: Tensor, repainted: Sequence[Repainted]
) -> Mapping[str, Affine]:  # fmt: skip
    """What follows each normalisation where regions are of other classes than ``label`` ``[N, classes]``."""
    if not repainted:
        return generator.synthesis.affines(label)
    labels = torch.stack([label, *(item.label for item in repainted)], dim=1)
    regions = [item.region for item in repainted]
    return {
        path: spatial_affine(norm, labels, shares(regions, path, size))
        for path, (norm, size) in generator.synthesis.norms.items()
    }


def render_collage(
    generator: ConditionalGenerator, z: Tensor, label: Tensor, collage: Collage,
    features: dict[str, Tensor] | None = None,
) -> Tensor:  # fmt: skip
    """Pictures of ``z`` and ``label`` with what ``collage`` does to them, ``[N, C, R, R]``.

    The running picture goes on by itself; every other one beside it, as far as any layer takes features from it:
    ``h* <- B* Block(h*) + sum_i B_i U_i(Block(h_i))``, the shares ``B`` summing to one.

    Args:
        generator: in evaluation mode.
        z: codes of the pictures, ``[N, z_dim]``.
        label: their classes, ``[N, classes]``.
        collage: see above.
        features: takes each block's output after blending.

    Raises:
        ValueError: if the generator is in training mode, or a region names a layer that is none of its.
    """
    if generator.training:
        raise ValueError("a collage needs generator.eval(): a batch's own statistics would spread each edit everywhere")
    synthesis = generator.synthesis
    _require_layers(collage, set(synthesis.norms), {BOTTOM_SITE, *synthesis.blocks})
    affines = class_affines(generator, label, collage.repainted)
    others = [class_affines(generator, item.label, item.repainted) for item in collage.pasted]
    h, streams = synthesis.bottom(z), [synthesis.bottom(item.z) for item in collage.pasted]
    h = _blended(h, streams, collage, BOTTOM_SITE, BOTTOM)
    last = _last_site(collage, [BOTTOM_SITE, *synthesis.blocks])
    for i, name in enumerate(synthesis.blocks):
        h = synthesis.block(name, h, affines)
        if i < last:
            streams = [synthesis.block(name, x, each) for x, each in zip(streams, others, strict=True)]
            h = _blended(h, streams, collage, name, h.shape[-1])
        if features is not None:
            features[name] = h
    return synthesis.image(h)


def _blended(h: Tensor, streams: Sequence[Tensor], collage: Collage, site: str, resolution: int) -> Tensor:
    if not any(_takes(item.region, site) for item in collage.pasted):
        return h
    moved, regions = [], []
    for x, item in zip(streams, collage.pasted, strict=True):
        y, inside = item.transform(x)
        moved.append(y)
        regions.append(item.region.at(site, resolution) * inside.to(h))
    weights = divided(regions)  # [N, 1 + references, r, r]
    if collage.preserve_variance:
        weights = weights / weights.square().sum(dim=1, keepdim=True).sqrt()
    total = h * weights[:, :1]
    for i, y in enumerate(moved, start=1):
        total = total + y * weights[:, i : i + 1]
    return total


def _takes(region: Region, site: str) -> bool:
    return region.strength * region.layers.get(site, region.others) > 0


def _last_site(collage: Collage, sites: Sequence[str]) -> int:
    """The number of the last of ``sites`` at which any region takes features; 0 if only the first does, or none."""
    return max((i for i, site in enumerate(sites) for item in collage.pasted if _takes(item.region, site)), default=0)


def _require_layers(collage: Collage, norms: set[str], sites: set[str]) -> None:
    everything = [*collage.repainted, *(r for item in collage.pasted for r in item.repainted)]
    for known, items in ((norms, everything), (sites, collage.pasted)):
        for item in items:
            if unknown := item.region.layers.keys() - known:
                raise ValueError(f"there is no layer {min(unknown)}; the layers are {', '.join(sorted(known))}")
