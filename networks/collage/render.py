"""A collage drawn: regions of other classes or styles, and features of other pictures, in one pass.

Suzuki et al. 2018 (neural-collage, arXiv 1811.10153), sections 4 and 5. What differs between generators is in
:class:`Stages`; ``conditional.py`` and ``stylegan2.py`` have theirs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from networks.collage.regions import Region, divided
from networks.collage.transforms import Transform
from networks.latent import Latent

State = tuple[Tensor, ...]  # what is carried from stage to stage: maps, and on StyleGAN2 the image so far


@dataclass(frozen=True)
class Repainted:
    """A region that is drawn as something else.

    Args:
        region: where; its layers are those of ``Stages.layers``.
        style: as what: on the class-conditional GAN weights of the classes ``[N, classes]``, on StyleGAN2 codes in W+
            ``[N, num_ws, w_dim]``.
    """

    region: Region
    style: Tensor


@dataclass(frozen=True)
class Pasted:
    """A region that takes the features of another picture.

    Args:
        region: where; its layers are those of ``Stages.sites``.
        latent: the other picture's codes, as many as there are pictures, or one for all.
        repainted: what of the other picture is repainted first.
        transform: where its features go.
    """

    region: Region
    latent: Latent
    repainted: Sequence[Repainted] = ()
    transform: Transform = Transform()


@dataclass(frozen=True)
class Collage:
    """What is done to pictures.

    Args:
        repainted: regions that are drawn as something else.
        pasted: regions with features of other pictures. The order of regions means nothing.
        preserve_variance: divide blended features by the root of the sum of squared shares. Features of two pictures
            are nearly independent, so that a plain mean of them is weaker than either.
    """

    repainted: Sequence[Repainted] = ()
    pasted: Sequence[Pasted] = ()
    preserve_variance: bool = False


class Stages(Protocol):
    """A generator in stages, between which features can be blended."""

    sites: Sequence[str]            # where: the first map, and the output of each stage
    blends: Sequence[str]           # those of them where maps of two pictures differ
    layers: Mapping[str, int]       # what a region may be repainted in -> the resolution of its input

    def styles(self, latent: Latent, repainted: Sequence[Repainted]) -> Any:
        """What the stages need to draw ``latent`` with its regions."""
        ...

    def begin(self, latent: Latent) -> State:
        """The first maps."""
        ...

    def advance(self, site: str, state: State, styles: Any) -> State:
        """The stage whose output is at ``site``."""
        ...

    def image(self, state: State) -> Tensor:
        """``[N, C, R, R]`` of the last stage's output."""
        ...


def stages_of(generator: nn.Module) -> Stages:
    """The generator in stages.

    Raises:
        ValueError: if it is of a kind that knows no collage, or in training mode.
    """
    from networks.collage.conditional import ConditionalStages
    from networks.collage.stylegan2 import StyleGAN2Stages
    from networks.sngan import ConditionalGenerator
    from networks.stylegan2 import Generator

    if generator.training:
        raise ValueError("a collage needs generator.eval(): a batch's own statistics would spread each edit everywhere")
    if isinstance(generator, ConditionalGenerator):
        return ConditionalStages(generator)
    if isinstance(generator, Generator):
        return StyleGAN2Stages(generator)
    raise ValueError(f"{type(generator).__name__} has no classes or styles of regions: a collage needs StyleGAN2 or "
                     "the class-conditional GAN")  # fmt: skip


def render_collage(
    generator: nn.Module, latent: Latent, collage: Collage, features: dict[str, Tensor] | None = None
) -> Tensor:
    """Pictures of ``latent`` with what ``collage`` does to them, ``[N, C, R, R]``.

    The running picture goes on by itself; every other one beside it, as far as any layer takes features from it:
    ``h* <- B* Stage(h*) + sum_i B_i U_i(Stage(h_i))``, the shares ``B`` summing to one.

    Args:
        generator: in evaluation mode.
        latent: N codes.
        collage: see above.
        features: takes each stage's map after blending, by its site.

    Raises:
        ValueError: as :func:`stages_of`, and if a region names a layer that there is not.
    """
    stages = stages_of(generator)
    _require_layers(collage, stages)
    styles = stages.styles(latent, collage.repainted)
    others = [stages.styles(item.latent, item.repainted) for item in collage.pasted]
    streams = [stages.begin(item.latent) for item in collage.pasted]
    first, *rest = stages.sites
    state = _blended(stages.begin(latent), streams, collage, first)
    last = max((i for i, site in enumerate(rest) for item in collage.pasted if item.region.heeds(site)), default=-1)
    for i, site in enumerate(rest):
        state = stages.advance(site, state, styles)
        if i <= last:
            streams = [stages.advance(site, x, each) for x, each in zip(streams, others, strict=True)]
            state = _blended(state, streams, collage, site)
        if features is not None:
            features[site] = state[0]
    return stages.image(state)


def _blended(state: State, streams: Sequence[State], collage: Collage, site: str) -> State:
    if not any(item.region.heeds(site) for item in collage.pasted):
        return state
    return tuple(
        _mix(own, [stream[i] for stream in streams], collage, site, features=i == 0) for i, own in enumerate(state)
    )


def _mix(own: Tensor, others: Sequence[Tensor], collage: Collage, site: str, features: bool) -> Tensor:
    """The shares of a site's maps; images are no features, and their mean is what it should be."""
    moved, asked = [], []
    for x, item in zip(others, collage.pasted, strict=True):
        y, inside = item.transform(x)
        moved.append(y)
        asked.append(item.region.at(site, own.shape[-1]).to(own) * inside.to(own))
    weights = divided(torch.cat(asked, dim=1))  # [N, 1 + references, r, r]
    if collage.preserve_variance and features:
        weights = weights / weights.square().sum(dim=1, keepdim=True).sqrt()
    total = own * weights[:, :1]
    for i, y in enumerate(moved, start=1):
        total = total + y * weights[:, i : i + 1]
    return total


def _require_layers(collage: Collage, stages: Stages) -> None:
    everything = [*collage.repainted, *(r for item in collage.pasted for r in item.repainted)]
    for known, items in ((stages.layers, everything), (stages.sites, collage.pasted)):
        for item in items:
            if unknown := item.region.layers.keys() - set(known):
                raise ValueError(f"there is no layer {min(unknown)}; the layers are {', '.join(known)}")
