"""Training of SNGAN with projection (Miyato and Koyama 2018; Suzuki et al. 2018, neural-collage)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from networks.augment import Augment
from networks.gan_losses import Loss
from networks.sngan import ConditionalGenerator
from networks.sngan.standing import take_standing_statistics
from trainers.adversarial import AdversarialTrainer, Drawn, shuffled

STANDING_BATCH = 64


class SNGANTrainer(AdversarialTrainer):
    """The game of :class:`trainers.adversarial.AdversarialTrainer` for the class-conditional GAN.

    Samples are asked for in the classes of the batch's images, in another order. The averaged generator's weights are
    averages, and so its normalisation needs statistics of its own: they are taken from samples of it now and then
    (``standing``), or else are the trained generator's.

    Raises:
        ValueError: if the loss is unknown, an interval is below 1, a share is not in [0, 1], or generator and
            discriminator take labels of different widths.
        DivergedError: in training, when a loss is not finite.
    """

    def __init__(
        self,
        generator: ConditionalGenerator,  # the network to train
        discriminator: nn.Module,         # (image, label) -> logit
        total_images: int,                # length of the run, in images seen
        seed: int = 0,                    # seed of every draw
        loss: Loss = "hinge",             # hinge or logistic
        lr_g: float = 2e-4,               # Adam's rate for G
        lr_d: float = 2e-4,               # Adam's rate for D
        beta2: float = 0.9,               # Adam's decay of squared gradients
        n_dis: int = 5,                   # batches for D to one for G
        decay_from: float = 8 / 9,        # share of the run after which the rates fall linearly to nothing
        r1_gamma: float = 0.0,            # weight of the R1 penalty; none in the paper
        r1_interval: int = 16,            # batches between R1 steps; its weight and D's optimiser are scaled to match
        ema_halflife: float = 10_000.0,   # half-life of G_ema, in images; 0 for the trained weights themselves
        ema_rampup: float | None = 0.05,  # half-life is at most this share of the images seen; None for no ramp
        standing: int = 0,                # samples that G_ema's statistics are taken from; 0: the trained generator's
        standing_every: int = 8000,       # images between two times that they are taken; at the end they always are
        augment: Augment | None = None,   # what D sees instead of images
        average: nn.Module | None = None,  # G_ema to start from; None for a copy of the generator
        compile: bool = False,            # compile the first-order phases  # noqa: A002
        graphs: bool = False,             # replay the first-order phases as CUDA graphs
    ) -> None:  # fmt: skip
        if n_dis < 1 or standing_every < 1 or standing < 0:
            raise ValueError(f"n_dis and standing_every must be at least 1 and standing at least 0, got {n_dis}, "
                             f"{standing_every} and {standing}")  # fmt: skip
        if not 0 <= decay_from <= 1:
            raise ValueError(f"decay_from must be a share in [0, 1], got {decay_from}")
        super().__init__(
            generator, discriminator, total_images, seed, loss, lr_g, lr_d, 1e-8, 0.0, r1_gamma, r1_interval,
            ema_halflife, ema_rampup, augment, average, compile, graphs, beta2,
        )  # fmt: skip
        self.n_dis, self.decay_from = n_dis, decay_from
        self.standing, self.standing_every = standing, standing_every

    @property
    def shares_buffers(self) -> bool:
        return not self.standing

    def moves_generator(self, number: int) -> bool:
        return number % self.n_dis == 0

    def rate(self) -> float:
        """Share of the base rates: 1 up to ``decay_from`` of the run, then a line down to 0 at its end."""
        left = 1 - self.images_seen / self.total_images
        return min(1.0, max(left, 0.0) / max(1 - self.decay_from, 1e-8))

    def draw(self, real: Tensor, labels: Tensor | None) -> Drawn:
        asked = shuffled(labels)
        z = torch.randn(len(real), self.G.z_dim, device=self.device)
        return Drawn(self._first_order[0](z, asked), asked)

    @torch.no_grad()
    def _update_ema(self, batch: int) -> None:
        super()._update_ema(batch)
        before = self.images_seen - batch
        if self.standing and (
            self.images_seen >= self.total_images
            or self.images_seen // self.standing_every > before // self.standing_every
        ):
            take_standing_statistics(self.G_ema, self.standing, min(STANDING_BATCH, self.standing), self.seed)
