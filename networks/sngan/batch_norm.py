"""Categorical conditional batch normalisation (Miyato and Koyama 2018, arXiv 1802.05637; Dumoulin et al. 2017)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EPSILON = 2e-5  # of the release
MOMENTUM = 0.1


class Affine(NamedTuple):
    """What is done to normalised features: ``gain * x + bias``."""

    gain: Tensor  # [N, C, 1, 1], or [N, C, H, W] where it differs from pixel to pixel
    bias: Tensor  # as gain


class ConditionalBatchNorm(nn.Module):
    """Batch normalisation whose gains and biases are a class's: ``y = gamma_c (x - mean) / sqrt(var + eps) + beta_c``.

    In training the statistics are the batch's. Otherwise they are the running ones, so that the layer is an affine map
    of each pixel by itself: what a class map changes at one pixel stays there (spatial conditional batch
    normalisation; Suzuki et al. 2018, section 4).
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(
        self,
        channels: int,  # of the features
        classes: int,   # how many
    ) -> None:  # fmt: skip
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.gammas = nn.Parameter(torch.ones(classes, channels))
        self.betas = nn.Parameter(torch.zeros(classes, channels))

    def affine(self, label: Tensor) -> Affine:
        """Of weights of the classes ``[N, classes]``, as one-hot labels are: the weighted mean of gains and biases."""
        return Affine((label @ self.gammas)[:, :, None, None], (label @ self.betas)[:, :, None, None])

    def forward(self, x: Tensor, affine: Affine) -> Tensor:
        """``x`` ``[N, C, H, W]``, normalised and then moved; in the precision of ``x``."""
        y = F.batch_norm(x, self.running_mean, self.running_var, None, None, self.training, MOMENTUM, EPSILON)
        return torch.addcmul(affine.bias.to(y), y, affine.gain.to(y))
