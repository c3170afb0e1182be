"""Where a generator's codes lie: their mean and spread, in which inversion and encoders measure steps."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from networks.checkpoints.errors import GanvasError
from networks.latent import HIDDEN, Latent, Space
from networks.protocol import Generator


class WStatistics(NamedTuple):
    """Mean and spread of a generator's codes, and the codes that the spread was measured on."""

    mean: Tensor      # [1, rows, D]: rows of W+, or the one hidden code of a BlobGAN
    std: Tensor       # [], root mean square over all coordinates
    samples: Latent   # as the generator draws them


@torch.no_grad()
def code_statistics(generator: Generator, samples: int = 1000, seed: int = 0) -> WStatistics:
    """Measure ``samples`` codes.

    Raises:
        GanvasError: if the generator has neither W+ nor hidden codes.
    """
    drawn = generator.sample(samples, seed)
    mean = codes_of(generator.sample(1, 0, truncation=0.0))
    std = (codes_of(drawn) - mean).square().mean().sqrt().clamp_min(1e-8)
    return WStatistics(mean, std, drawn)


def w_statistics(generator: Generator, samples: int = 1000, seed: int = 0) -> WStatistics:
    """:func:`code_statistics` of a generator that samples in W+, for what needs a row for each layer.

    Raises:
        GanvasError: if it does not.
    """
    if (space := generator.sample(1, 0).space) != "w+":
        raise GanvasError(f"this needs a generator with W+, as StyleGAN2 has it, and this one samples in {space}")
    return code_statistics(generator, samples, seed)


def codes_of(latent: Latent) -> Tensor:
    """The codes of samples, ``[N, rows, D]``: those of W+, or the one hidden code of a BlobGAN.

    Raises:
        GanvasError: if they have neither.
    """
    if latent.space == "w+":
        return latent.tensors["ws"]
    if HIDDEN in latent.tensors:
        return latent.tensors[HIDDEN][:, None]
    raise GanvasError(f"codes are sought in W+, or of a BlobGAN as its hidden code, and this generator samples in "
                      f"{latent.space}")  # fmt: skip


def latent_of(codes: Tensor, space: Space) -> Latent:
    """Codes ``[N, rows, D]``, see :func:`codes_of`, as a latent for a generator that samples in ``space``."""
    return Latent("w+", {"ws": codes}) if space == "w+" else Latent("w", {"w": codes[:, 0]})
