"""A game of generator and discriminator with an encoder beside it, for short runs on small compute."""

from __future__ import annotations

import copy
from abc import abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from networks.stylegan2.reconstruction import pyramid_l1
from trainers.adversarial import AdversarialTrainer, Drawn
from trainers.code_game import CodeGame
from trainers.figures import Unread
from trainers.together import gathered

CODES = 4096  # how many of the encoder's latest codes the prior learns from


class Lesson(NamedTuple):
    """What an encoder teaches, and at what rates."""

    encoder: nn.Module | None  # image -> code [N, D]; None for the plain game
    weight: float              # of pyramid_l1 between half of the batch and its reconstruction
    lr_codes: float            # Adam's rate for the prior and its critic
    code_steps: int            # steps of the game of codes for each batch of images


class AutoencodingTrainer(AdversarialTrainer):
    """The game of :class:`trainers.adversarial.AdversarialTrainer`, with a direct lesson on every image where asked.

    With an encoder, half of the samples are reconstructions of the step's real images (VAE/GAN, Larsen et al. 2016,
    arXiv 1512.09300). A short run needs that, and it keeps rare parts from being forgotten. The prior, the part of the
    generator from z to a code, then learns to draw the encoder's codes, in a game of its own
    (:class:`trainers.code_game.CodeGame`); the discriminator of images teaches the encoder and what follows the code.

    Raises:
        ValueError: as its base, and for both labels and an encoder.
    """

    def __init__(self, lesson: Lesson, code_dim: int, generator: nn.Module, *game: Any) -> None:
        super().__init__(generator, *game)
        if generator.c_dim and lesson.encoder is not None:
            raise ValueError("the game of codes knows no labels: train a conditional generator with task.encoder=null")
        if lesson.encoder is not None and lesson.encoder.w_dim != code_dim:
            raise ValueError(f"task.encoder.w_dim={lesson.encoder.w_dim} is not the width of the generator's codes, "
                             f"{code_dim}: leave it out, or give that")  # fmt: skip
        self.E = lesson.encoder
        self.reconstruction, self.lr_codes, self.code_steps = lesson[1:]
        if self.E is not None:
            self.E_ema = copy.deepcopy(self.E).eval().requires_grad_(False)
            self.code_game = CodeGame(code_dim, CODES)

    @abstractmethod
    def prior(self) -> list[nn.Parameter]:
        """The weights of the part from z to a code."""

    @abstractmethod
    def draw_codes(self, z: Tensor) -> Tensor:
        """What the prior makes of ``z`` ``[n, z_dim]``: ``[n, D]``."""

    def reconstructed(self, batch: int) -> int:
        """How many samples of a batch are reconstructions: the first."""
        return batch // 2 if self.E is not None else 0

    def lesson(self, codes: Tensor, fake: Tensor, real: Tensor, labels: Tensor | None) -> Drawn:
        """The batch with its loss: ``fake`` begins with what the generator made of ``codes``, those of ``real``."""
        distance = pyramid_l1(fake[: len(codes)], real[: len(codes)])
        self._learned = codes.detach(), distance.detach()
        return Drawn(fake, labels, (self.reconstruction * distance,))

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        players = super().configure_optimizers()
        if self.E is None:
            return players
        sides = (self.prior(), self.code_game.critic.parameters())
        return [*players, *(torch.optim.Adam(side, lr=self.lr_codes, betas=(0.0, 0.99)) for side in sides)]

    def generator_weights(self) -> list[nn.Parameter]:
        if self.E is None:
            return super().generator_weights()
        prior = set(self.prior())
        return [*(weight for weight in self.G.parameters() if weight not in prior), *self.E.parameters()]

    def averaged(self) -> list[tuple[nn.Module, nn.Module]]:
        return [*super().averaged(), *([(self.E_ema, self.E)] if self.E is not None else [])]

    def further(self, real: Tensor, labels: Tensor | None, number: int) -> Unread:
        if self.E is None:
            return {}
        _opt_g, _opt_d, *opt_codes = self.optimizers()
        codes, distance = self._learned
        self.code_game.add(gathered(self, codes))
        game = self.code_game.play(self.code_steps, self.draw_codes, self.G.z_dim, *opt_codes, self.move)
        return {"reconstruction": distance, **game}
