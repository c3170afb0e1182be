"""StyleGAN2 in stages, with styles of its own in each region: exact spatial modulation.

A style is mixed at each pixel before the convolution, and the output demodulated at each pixel
(``cuda_ops/regional_conv2d.py``). Affine layers are affine: mixing W or S is the same where shares sum to one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from networks.collage.regions import Shares
from networks.collage.render import Repainted, State
from networks.latent import Latent
from networks.stylegan2 import Generator
from networks.stylegan2.synthesis import Noise, RegionalStyles, Styles, noise_of, resolution_of

FIRST = "b4.const"  # the constant: nothing differs between pictures there


class Drawing(NamedTuple):
    """What the blocks need of one stream."""

    styles: Styles
    noise: Noise


class StyleGAN2Stages:
    """See :class:`networks.collage.render.Stages`: a stage is a block with its image, a layer an affine path.

    Each stream has the noise of its own latent, which is the stored one unless the latent says otherwise: a paste then
    brings features and no other noise.
    """

    def __init__(self, generator: Generator) -> None:
        self.generator, self.synthesis = generator, generator.synthesis
        self.blends = [f"b{r}" for r in self.synthesis.block_resolutions]
        self.sites = [FIRST, *self.blends]
        self.layers = {path: self._input(path) for path in self.synthesis.style_rows()}

    def _input(self, path: str) -> int:
        up = getattr(self.synthesis.get_submodule(path), "up", 1)
        return resolution_of(path) // up

    def styles(self, latent: Latent, repainted: Sequence[Repainted]) -> Drawing:
        own = self.generator.in_styles(latent).tensors
        noise = noise_of(latent, self.generator.feature_shapes.keys() - self.generator.constant_features)
        if not repainted:
            return Drawing(own, noise)
        n, shares = len(latent), Shares([item.region for item in repainted])
        theirs = torch.stack([item.style.expand(n, -1, -1) for item in repainted], dim=1)
        others = self.synthesis.styles(theirs.flatten(0, 1))  # those of all regions at once
        found = {
            path: RegionalStyles(
                torch.cat([own[path][:, None], others[path].unflatten(0, (n, -1))], dim=1),
                {r: shares.at(path, r).to(own[path]) for r in {size, resolution_of(path)}},
            )
            for path, size in self.layers.items()
        }
        return Drawing(found, noise)

    def begin(self, latent: Latent) -> State:
        return (self.synthesis.first_map(len(latent)),)

    def advance(self, site: str, state: State, styles: Drawing) -> State:
        x, img = state if len(state) > 1 else (state[0], None)
        x, img = self.synthesis.get_submodule(site)(x, img, *styles, None)
        return (x,) if img is None else (x, img)

    def image(self, state: State) -> Tensor:
        return state[1]
