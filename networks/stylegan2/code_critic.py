"""A discriminator of codes in W: what the mapping network learns an encoder's distribution from."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

GROUP = 8  # codes whose spread is compared, as by the image discriminator's mini-batch standard deviation


class CodeCritic(nn.Module):
    """Codes to logits, by a small perceptron that also sees how much the codes of a group differ.

    Codes are many and cheap beside images, so this game converges where the one on images only drifts: an encoder's
    codes lie in clusters (each hat, each beard), which no distance of moments or of projections resolves.
    """

    def __init__(self, w_dim: int, width: int = 192) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(i, width) for i in (w_dim, width, width))
        self.out = nn.Linear(width + 1, 1)

    def forward(self, w: Tensor) -> Tensor:
        """Logits ``[N, 1]`` of codes ``[N, w_dim]``.

        Raises:
            ValueError: if N is no multiple of the group.
        """
        if len(w) % GROUP:
            raise ValueError(f"codes come in groups of {GROUP}, got {len(w)}")
        x = w
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
        spread = x.unflatten(0, (-1, GROUP)).std(1).mean(1).repeat_interleave(GROUP)
        return self.out(torch.cat([x, spread[:, None]], dim=1))
