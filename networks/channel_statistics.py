"""Mean and spread of every channel of style space (Wu et al. 2021, StyleSpace, arXiv 2011.12799).

They are the unit of its edits: StyleCLIP's global directions (Patashnik et al. 2021, arXiv 2103.17249, section 6) move
a channel by so many of its standard deviations.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from networks.checkpoints.errors import GanvasError
from networks.protocol import Generator
from networks.stylegan2 import Generator as StyleGan2
from networks.stylegan2.synthesis import resolution_of

TORGB = "torgb"   # how the affine paths end of layers that only colour the image
DRAWN = 1000      # codes at once: their styles, all channels of each, are in memory together


class ChannelStatistics(NamedTuple):
    """Of every affine path, ToRGB too."""

    mean: dict[str, Tensor]   # path -> [C]
    std: dict[str, Tensor]    # path -> [C]; a channel that never moves has 0


def require_styles(generator: Generator) -> StyleGan2:
    """The generator, if it has a style space.

    Raises:
        GanvasError: if it has none.
    """
    if not isinstance(generator, StyleGan2):
        raise GanvasError(f"a {type(generator).__name__} has no style space: give a generator of StyleGAN2, or edit in "
                          "a space that this one has.")  # fmt: skip
    return generator


def convolution_paths(generator: Generator, finest: int | None = None) -> tuple[str, ...]:
    """The affine paths of all convolutions, coarse to fine; ToRGB is none.

    Args:
        generator: of StyleGAN2.
        finest: blocks of a higher resolution are left out.

    Raises:
        GanvasError: if the generator has no style space, or nothing is left.
    """
    rows = require_styles(generator).synthesis.style_rows()
    found = tuple(
        path for path in rows
        if not path.endswith(TORGB) and (finest is None or resolution_of(path) <= finest)
    )  # fmt: skip
    if not found:
        raise GanvasError(f"no block of this generator has {finest} pixels a side or less: the coarsest has 4.")
    return found


@torch.no_grad()
def channel_statistics(
    generator: Generator, samples: int = 10_000, seed: int = 0, truncation: float = 1.0
) -> ChannelStatistics:
    """Measure ``samples`` codes, which are drawn as ``generator.sample`` draws them.

    Sums are kept in double precision, one pass, so that 100 000 codes need no more memory than 1000.

    Raises:
        GanvasError: if the generator has no style space.
        ValueError: if there are fewer than two samples.
    """
    if samples < 2:
        raise ValueError(f"a spread needs at least 2 samples, got {samples}")
    network = require_styles(generator)
    # Around the mean code: squares of what is far from 0 would lose the digits that the spread is in.
    centre = network.in_styles(network.sample(1, seed, truncation=0.0)).tensors
    sums = {path: torch.zeros_like(t[0], dtype=torch.float64) for path, t in centre.items()}
    squares = {path: torch.zeros_like(total) for path, total in sums.items()}
    for first in range(0, samples, DRAWN):
        drawn = network.sample(min(DRAWN, samples - first), seed, truncation=truncation, first=first)
        for path, styles in network.in_styles(drawn).tensors.items():
            away = (styles - centre[path]).double()
            sums[path] += away.sum(0)
            squares[path] += away.square().sum(0)
    mean = {path: (centre[path][0] + total / samples).float() for path, total in sums.items()}
    std = {
        path: (squares[path] / samples - (total / samples).square()).clamp_min(0).sqrt().float()
        for path, total in sums.items()
    }
    return ChannelStatistics(mean, std)
