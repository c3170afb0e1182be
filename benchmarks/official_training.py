"""A training step of stylegan2-ada-pytorch: its networks and its loss, and the order of its phases.

The loop is described, not copied: each phase has its own optimiser step; a network learns in its own phases only; a
regulariser that runs every k batches counts k times, and Adam's rate and betas are changed to match (Karras et al.
2020, appendix B); the average of G follows.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.clock import now
from benchmarks.gan_setup import Setup, official_arguments
from benchmarks.official import official_module


class Phase(NamedTuple):
    """One update of one network."""

    name: str                          # of the loss's argument
    network: nn.Module
    optimiser: torch.optim.Optimizer
    interval: int                      # batches from one to the next; also its weight


class OfficialTraining:
    """The official networks in training; ``step`` takes one batch."""

    def __init__(self, checkout: Path, setup: Setup) -> None:
        self.setup, self.device, self.seen = setup, torch.device(setup.device), 0
        torch.backends.cudnn.benchmark = True  # as the release sets it
        networks, losses = (official_module(checkout, f"training.{part}") for part in ("networks", "loss"))
        arguments = official_arguments(setup)
        self.G = networks.Generator(**arguments["generator"]).to(self.device).train().requires_grad_(False)
        self.D = networks.Discriminator(**arguments["discriminator"]).to(self.device).train().requires_grad_(False)
        self.G_ema = copy.deepcopy(self.G).eval()
        self.loss = losses.StyleGAN2Loss(
            device=self.device, G_mapping=self.G.mapping, G_synthesis=self.G.synthesis, D=self.D,
            r1_gamma=setup.r1_gamma,
        )  # fmt: skip
        self.phases = [*self._phases("G", self.G, setup.path_interval), *self._phases("D", self.D, setup.r1_interval)]
        self.optimisers = [self.phases[0].optimiser, self.phases[2].optimiser]

    def _phases(self, name: str, network: nn.Module, interval: int) -> Iterator[Phase]:
        c = interval / (interval + 1)
        adam = torch.optim.Adam(network.parameters(), lr=self.setup.lr * c, betas=(0.0, 0.99**c), eps=1e-8)
        yield Phase(f"{name}main", network, adam, 1)
        yield Phase(f"{name}reg", network, adam, interval)

    def step(self, images: Tensor) -> dict[str, float]:
        """Train on ``uint8 [B, 3, R, R]``.

        Returns:
            Seconds of each phase that ran.
        """
        real = images.to(self.device).to(torch.float32) / 127.5 - 1
        labels = torch.zeros(len(real), 0, device=self.device)
        batch, seconds = self.seen // len(real), {}
        for phase in self.phases:
            if batch % phase.interval:
                continue
            start = now(self.device)
            z = torch.randn(len(real), 512, device=self.device)
            phase.optimiser.zero_grad(set_to_none=True)
            phase.network.requires_grad_(True)
            self.loss.accumulate_gradients(
                phase=phase.name, real_img=real, real_c=labels, gen_z=z, gen_c=labels, sync=True, gain=phase.interval
            )
            phase.network.requires_grad_(False)
            for parameter in phase.network.parameters():
                if parameter.grad is not None:
                    torch.nan_to_num(parameter.grad, nan=0, posinf=1e5, neginf=-1e5, out=parameter.grad)
            phase.optimiser.step()
            seconds[phase.name] = now(self.device) - start
        start = now(self.device)
        self._average(len(real))
        self.seen += len(real)
        return {**seconds, "EMA": now(self.device) - start}

    @torch.no_grad()
    def _average(self, batch: int) -> None:
        decay = 0.5 ** (batch / max(min(self.setup.ema_halflife, self.seen * 0.05), 1e-8))
        for average, value in zip(self.G_ema.parameters(), self.G.parameters(), strict=True):
            average.copy_(value.lerp(average, decay))
        for average, value in zip(self.G_ema.buffers(), self.G.buffers(), strict=True):
            average.copy_(value)
