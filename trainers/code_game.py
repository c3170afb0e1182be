"""A generator's prior of codes against a critic of codes: how it learns an encoder's distribution."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from networks.gan_losses import discriminator_loss, generator_loss, r1_penalty
from networks.stylegan2.code_critic import CodeCritic

BATCH = 96        # codes a step, from each side
INTERVAL = 8      # steps between R1 penalties
GAMMA = 1.0       # weight of the penalty


class CodeGame(nn.Module):
    """A GAN of codes: a prior draws them, a critic compares them with the encoder's latest.

    A learned prior in place of a fixed one is known to repair autoencoders whose codes do not fit their prior (Dai and
    Wipf 2019, arXiv 1903.05789). Codes are standardised by one mean and one scale, those of the queue.
    """

    def __init__(self, code_dim: int, queue: int) -> None:
        super().__init__()
        self.critic = CodeCritic(code_dim)
        self.register_buffer("codes", torch.zeros(queue, code_dim))  # the encoder's latest, the newest first
        self.register_buffer("filled", torch.zeros([], dtype=torch.int64))
        self.register_buffer("steps", torch.zeros([], dtype=torch.int64))

    def add(self, w: Tensor) -> None:
        """Put the encoder's codes ``[n, D]`` into the queue; the oldest leave it."""
        self.codes.copy_(torch.cat([w.detach(), self.codes])[: len(self.codes)])
        self.filled.add_(len(w)).clamp_(max=len(self.codes))

    def play(
        self, steps: int, prior: Callable[[Tensor], Tensor], z_dim: int,
        opt_prior: torch.optim.Optimizer, opt_critic: torch.optim.Optimizer,
        move: Callable[[torch.optim.Optimizer], None],
    ) -> dict[str, Tensor]:  # fmt: skip
        """``steps`` updates of each side on the codes in the queue; the losses of the last, each a scalar.

        Args:
            steps: how many.
            prior: ``[n, z_dim]`` to codes ``[n, D]``.
            z_dim: width of z.
            opt_prior: moves the prior's weights.
            opt_critic: moves the critic's.
            move: makes a step of one of them.
        """
        filled, taken = torch.stack([self.filled, self.steps]).tolist()  # read at once: a GPU is waited for
        codes = self.codes[:filled]
        mean, scale = codes.mean(0), (codes - codes.mean(0)).square().mean().sqrt().clamp_min(1e-8)
        figures: dict[str, Tensor] = {}
        for number in range(taken, taken + steps):
            real = (codes[torch.randint(len(codes), [BATCH], device=codes.device)] - mean) / scale
            fake = (prior(torch.randn(BATCH, z_dim, device=codes.device)) - mean) / scale
            figures = self._step(real, fake, number % INTERVAL == 0, opt_prior, opt_critic, move)
        self.steps += steps
        return figures

    def _step(
        self, real: Tensor, fake: Tensor, penalty: bool,
        opt_prior: torch.optim.Optimizer, opt_critic: torch.optim.Optimizer,
        move: Callable[[torch.optim.Optimizer], None],
    ) -> dict[str, Tensor]:  # fmt: skip
        loss_critic = discriminator_loss(self.critic(real), self.critic(fake.detach()), "logistic")
        if penalty:
            loss_critic = loss_critic + INTERVAL * GAMMA / 2 * r1_penalty(self.critic, real).mean()
        opt_critic.zero_grad(set_to_none=True)
        loss_critic.backward()
        move(opt_critic)
        loss_prior = generator_loss(self.critic(fake), "logistic")
        opt_prior.zero_grad(set_to_none=True)
        loss_prior.backward()
        move(opt_prior)
        return {"code_critic": loss_critic.detach(), "code_prior": loss_prior.detach()}
