"""Noise maps as part of an inversion (Karras et al. 2020, arXiv 1912.04958, appendix D): what keeps them noise.

Left alone, an optimiser writes the image into them. So they are held to what independent values have: no correlation
between neighbours at any scale, mean zero, variance one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from networks.checkpoints.errors import GanvasError
from networks.protocol import Generator

COARSEST = 8  # pixels a side of the last level of the pyramid


def noise_of(generator: Generator) -> dict[str, Tensor]:
    """The maps to start from: the stored ones ``[R, R]`` of layers whose noise shows in images.

    Raises:
        GanvasError: if it shows in none.
    """
    maps = generator.noise_maps()
    if not maps:
        raise GanvasError("inversion noise=true, but this generator has no noise (its strength is 0 in every layer): "
                          "use noise=false.")  # fmt: skip
    return maps


def autocorrelation(maps: Mapping[str, Tensor]) -> Tensor:
    """Squared correlations of neighbours, summed over maps ``[N, R, R]``, scales and both directions: ``[N]``.

    Equations 10 and 11 there. The next scale is the mean of 2x2 values times two, which keeps the variance of
    independent ones.
    """
    parts = []
    for level in maps.values():
        while True:
            parts += [(level * level.roll(1, dim)).mean((1, 2)).square() for dim in (1, 2)]
            if level.shape[-1] <= COARSEST:
                break
            level = 2 * F.avg_pool2d(level[:, None], 2)[:, 0]
    return torch.stack(parts).sum(0)


@torch.no_grad()
def normalise_(maps: Iterable[Tensor]) -> None:
    """Give each map of each image mean zero and variance one, in place."""
    for noise in maps:
        noise -= noise.mean((1, 2), keepdim=True)
        noise *= noise.square().mean((1, 2), keepdim=True).add(1e-12).rsqrt()
