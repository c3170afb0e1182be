"""The mapping network of StyleGAN2: z in Z, and a class label, to w in W (Karras et al. 2020, arXiv 1912.04958)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from networks.stylegan2.layers import FullyConnected, normalize_2nd_moment


class MappingNetwork(nn.Module):
    """``(z, c) -> ws``: normalisation, ``num_layers`` equalised layers, broadcast, truncation.

    Raises:
        ValueError: if ``z`` is not ``[N, z_dim]`` or ``c`` is not ``[N, c_dim]``.
    """

    w_avg: Tensor

    def __init__(
        self,
        z_dim: int,                 # width of z; 0 for a network driven by the label alone
        c_dim: int,                 # width of the label; 0 for none
        w_dim: int,                 # width of w
        num_ws: int | None,         # rows of W+ to broadcast to; None for the discriminator's label embedding
        num_layers: int = 8,        # depth
        lr_mult: float = 0.01,      # learning-rate multiplier of the layers
        w_avg_beta: float | None = 0.998,  # decay of the running mean of w; None keeps none
    ) -> None:  # fmt: skip
        super().__init__()
        self.z_dim, self.c_dim, self.w_dim, self.num_ws = z_dim, c_dim, w_dim, num_ws
        self.num_layers, self.w_avg_beta = num_layers, w_avg_beta
        embed = w_dim if c_dim > 0 else 0
        widths = [z_dim + embed, *[w_dim] * num_layers]
        if c_dim > 0:
            self.embed = FullyConnected(c_dim, embed)
        for i, (a, b) in enumerate(pairwise(widths)):
            self.add_module(f"fc{i}", FullyConnected(a, b, act="lrelu", lr_mult=lr_mult))
        if num_ws is not None and w_avg_beta is not None:
            self.register_buffer("w_avg", torch.zeros(w_dim))

    def _input(self, z: Tensor | None, c: Tensor | None) -> Tensor:
        parts = []
        if self.z_dim > 0:
            if z is None or z.ndim != 2 or z.shape[1] != self.z_dim:
                raise ValueError(f"z must be [N, {self.z_dim}], got {None if z is None else list(z.shape)}")
            parts.append(normalize_2nd_moment(z.to(torch.float32)))
        if self.c_dim > 0:
            if c is None or c.ndim != 2 or c.shape[1] != self.c_dim:
                raise ValueError(f"c must be [N, {self.c_dim}], got {None if c is None else list(c.shape)}")
            parts.append(normalize_2nd_moment(self.embed(c.to(torch.float32))))
        return torch.cat(parts, dim=1)

    def forward(
        self,
        z: Tensor | None,               # [N, z_dim]
        c: Tensor | None = None,        # [N, c_dim]
        truncation: float = 1.0,        # psi: 1 leaves w alone, 0 gives w_avg
        cutoff: int | None = None,      # truncate only the first `cutoff` rows
        update_w_avg: bool = False,     # move the running mean (training only)
    ) -> Tensor:  # [N, num_ws, w_dim], or [N, w_dim] if num_ws is None  # fmt: skip
        x = self._input(z, c)
        for i in range(self.num_layers):
            x = getattr(self, f"fc{i}")(x)
        x = x.to(torch.float32)  # under autocast too: the mean of W moves by steps that half precision does not see
        if update_w_avg and self.w_avg_beta is not None:
            self.w_avg.copy_(x.detach().mean(dim=0).lerp(self.w_avg, self.w_avg_beta))
        if self.num_ws is None:
            return x
        ws = x[:, None].repeat(1, self.num_ws, 1)
        if truncation != 1:
            cutoff = self.num_ws if cutoff is None else cutoff
            ws = torch.cat([self.w_avg.lerp(ws[:, :cutoff], truncation), ws[:, cutoff:]], dim=1)
        return ws
