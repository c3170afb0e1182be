"""Where a generator's codes lie: the mean and the spread of W, in which inversion and encoders measure steps."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from networks.checkpoints.errors import GanvasError
from networks.latent import Latent
from networks.protocol import Generator


class WStatistics(NamedTuple):
    """Mean and spread of a generator's codes, and the codes that the spread was measured on."""

    mean: Tensor      # [1, num_ws, w_dim]
    std: Tensor       # [], root mean square over all coordinates
    samples: Latent   # in W+


@torch.no_grad()
def w_statistics(generator: Generator, samples: int = 1000, seed: int = 0) -> WStatistics:
    """Measure ``samples`` codes.

    Raises:
        GanvasError: if the generator does not sample in W+.
    """
    drawn = generator.sample(samples, seed)
    if drawn.space != "w+":
        raise GanvasError(f"inversion works in W+, and this generator samples in {drawn.space}")
    mean = generator.sample(1, 0, truncation=0.0).tensors["ws"]
    std = (drawn.tensors["ws"] - mean).square().mean().sqrt().clamp_min(1e-8)
    return WStatistics(mean, std, drawn)
