"""Generator against discriminator, with a clock of images seen: what every GAN here is trained by.

Lazy regularisation is that of StyleGAN2 (Karras et al. 2020, section 3.1).
"""

from __future__ import annotations

import copy
import math
from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Self, get_args

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from networks.augment import Augment
from networks.gan_losses import (
    Loss,
    auto_r1_gamma,
    discriminator_loss,
    generator_loss,
    r1_penalty,
    sanitise_gradients,
)
from trainers.batches import Batch
from trainers.diverged import stop_if_not_a_number
from trainers.draws import seed_draws
from trainers.figures import Figures, Unread, as_floats
from trainers.graphs import Captured, Graphed
from trainers.together import agree, devices, gathered

STATISTICS = ("w_avg", "hidden_avg", "running_mean", "running_var")  # names of buffers


class Drawn(NamedTuple):
    """What a generator makes of a batch."""

    images: Tensor                   # [B, C, R, R], as many as there are real ones, with a graph
    labels: Tensor | None            # of them, [B, c_dim]
    losses: tuple[Tensor, ...] = ()  # further ones of the generator, with a graph


class AdversarialTrainer(pl.LightningModule):
    """The game of a generator, its averaged copy (``G_ema``, for use) and a discriminator.

    Every random draw follows from ``(seed, images_seen)``, so a resumed run continues as if it had never stopped.
    The discriminator sees one batch of images and one of samples a step, and one forward pass of it serves both
    players: both move at once, where the official loop moves G first and renders again for D.

    A conditional generator is trained with a label for each image. Samples take the labels of the batch, in another
    order: that is a draw from the labels of the images.

    Of several devices each sees its part of the batch. Gradients, figures and the generator's statistics are their
    means, so that weights are the same everywhere; what is normalised over a batch is so over the part.

    Raises:
        ValueError: if the loss is unknown, an interval is below 1, generator and discriminator take labels of
            different widths, or ``graphs`` are asked for with ``compile`` or an augmentation.
        DivergedError: in training, when a loss is not finite.
    """

    def __init__(
        self,
        generator: nn.Module,        # the network to train
        discriminator: nn.Module,    # (image, label) -> logit; its frozen parameters stay as they are
        total_images: int,           # length of the run, in images seen
        seed: int,                   # seed of every draw
        loss: Loss,                  # logistic (non-saturating) or hinge
        lr_g: float,                 # Adam's rate for G
        lr_d: float,                 # Adam's rate for D
        adam_eps: float,             # Adam's epsilon
        final_lr: float,             # share of the rates left at the end of the run (cosine over the last half)
        r1_gamma: float | None,      # weight of the R1 penalty; 0 for none, None for auto_r1_gamma
        r1_interval: int,            # batches between R1 steps; its weight and D's optimiser are scaled to match
        ema_halflife: float,         # half-life of G_ema, in images
        ema_rampup: float | None,    # half-life is at most this share of the images seen; None for no ramp
        augment: Augment | None,     # what D sees instead of images
        average: nn.Module | None,   # G_ema to start from; None for a copy of the generator
        compile: bool,               # compile the first-order phases; the penalties stay as they are  # noqa: A002
        graphs: bool,                # replay the first-order phases as CUDA graphs
        beta2: float = 0.99,         # Adam's decay of squared gradients
    ) -> None:  # fmt: skip
        super().__init__()
        if loss not in get_args(Loss):
            raise ValueError(f"loss must be {' or '.join(get_args(Loss))}, got {loss!r}")
        if r1_interval < 1 or total_images < 1:
            raise ValueError(f"r1_interval and total_images must be at least 1, got {r1_interval} and {total_images}")
        if generator.c_dim != discriminator.c_dim:
            raise ValueError(f"generator and discriminator must take one kind of label, got labels of width "
                             f"{generator.c_dim} and {discriminator.c_dim}")  # fmt: skip
        self.automatic_optimization = False
        self.G, self.D = generator, discriminator
        self.G_ema = copy.deepcopy(generator if average is None else average).eval().requires_grad_(False)
        self.augment = Augment() if augment is None else augment
        self.total_images, self.seed, self.loss = total_images, seed, loss
        self.lr_g, self.lr_d, self.adam_eps, self.final_lr = lr_g, lr_d, adam_eps, final_lr
        self.beta2 = beta2
        self.r1_gamma, self.r1_interval = r1_gamma, r1_interval
        self.ema_halflife, self.ema_rampup = ema_halflife, ema_rampup
        if compile and graphs:
            raise ValueError("compile and graphs are two ways to the same end: ask for one")
        if graphs and augment is not None:
            raise ValueError("graphs do not go with an augmentation, which draws anew in each step")
        networks = self.picture(), discriminator  # in a tuple: they are registered already
        self._first_order = tuple(map(_compiled, networks)) if compile else networks
        self._judged = self._judgement
        if graphs:
            self._first_order = Graphed(networks[0]), discriminator
            self._judged = Captured(self._judgement, [discriminator])
        self.figures: Figures = {}  # of the last step: losses, sign of the logits on real images, R1
        self.register_buffer("clock", torch.zeros([], dtype=torch.int64))  # images seen; saved with the weights

    def _apply(self, *args: Any, **kwargs: Any) -> Self:
        super()._apply(*args, **kwargs)
        self.clock = self.clock.cpu()  # wherever the networks go: reading it must not wait for a GPU
        return self

    @property
    def images_seen(self) -> int:
        """Real images shown to the discriminator so far."""
        return int(self.clock)

    @abstractmethod
    def draw(self, real: Tensor, labels: Tensor | None) -> Drawn:
        """As many samples as there are real images ``[B, C, R, R]``, with their labels ``[B, c_dim]``."""

    def picture(self) -> nn.Module:
        """What makes images of what ``draw`` gives it: the part of G that each step of the game runs."""
        return self.G.synthesis

    def further(self, real: Tensor, labels: Tensor | None, number: int) -> Unread:
        """What else is learned after batch ``number``; gives its figures."""
        return {}

    def averaged(self) -> list[tuple[nn.Module, nn.Module]]:
        """Pairs of an averaged network and the one that it follows."""
        return [(self.G_ema, self.G)]

    def generator_weights(self) -> list[nn.Parameter]:
        """What G's optimiser moves."""
        return list(self.G.parameters())

    def generator_interval(self) -> int | None:
        """Batches between further steps of G's optimiser, by which its rate is scaled; None if there are none."""
        return None

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        c = _lazy(self.generator_interval())
        g = torch.optim.Adam(self.generator_weights(), lr=self.lr_g * c, betas=(0.0, self.beta2**c), eps=self.adam_eps)
        c = _lazy(self.r1_interval if self.r1_gamma != 0 else None)
        d = torch.optim.Adam(self._judging, lr=self.lr_d * c, betas=(0.0, self.beta2**c), eps=self.adam_eps)
        return [g, d]

    @property
    def _judging(self) -> list[nn.Parameter]:
        """D's parameters that learn."""
        return [parameter for parameter in self.D.parameters() if parameter.requires_grad]

    def _told(self, figures: Unread) -> Iterator[Tensor]:
        """What a step finds beside gradients: its figures, and buffers of G that hold what it has met with."""
        yield from (figure for figure in figures.values() if isinstance(figure, Tensor))
        yield from (x for name, x in self.G.named_buffers() if name.rpartition(".")[2] in STATISTICS)

    @property
    def shares_buffers(self) -> bool:
        """Whether averaged networks take over the buffers of those that they follow."""
        return True

    def moves_generator(self, number: int) -> bool:
        """Whether batch ``number`` is a lesson for G as well as for D."""
        return True

    def rate(self) -> float:
        """Share of the base rates: 1 in the first half of the run, then a cosine down to ``final_lr``."""
        t = min(max(2 * self.images_seen / self.total_images - 1, 0.0), 1.0)
        return self.final_lr + (1 - self.final_lr) * 0.5 * (1 + math.cos(math.pi * t))

    def training_step(self, batch: Batch, *_: Any) -> None:
        real, labels = batch.images, batch.labels  # [B, C, R, R], [B, c_dim]
        batch = len(real) * devices(self)
        seed_draws(self.seed, self.images_seen + self.trainer.global_rank * len(real))
        for optimizer in self.optimizers():
            optimizer.param_groups[0]["lr"] = optimizer.defaults["lr"] * self.rate()
        opt_g, opt_d, *_others = self.optimizers()
        real = real.contiguous(memory_format=self.G.synthesis.memory_format)
        number = self.images_seen // batch
        with torch.set_grad_enabled(self.moves_generator(number)):
            drawn = self.draw(real, labels)
        figures, gradient = self._judge(real, labels, drawn, opt_d)
        if gradient is not None:
            opt_g.zero_grad(set_to_none=True)
            torch.autograd.backward([drawn.images, *drawn.losses], [gradient, *map(torch.ones_like, drawn.losses)])
            self.move(opt_g)
        self.move(opt_d)
        figures |= self.further(real, labels, number)
        if self.r1_gamma != 0 and number % self.r1_interval == 0:
            figures["r1"] = self._regularise(real, labels, opt_d)
        agree(self, self._told(figures))
        self.figures = as_floats(figures)
        stop_if_not_a_number(self.figures, f"in batch {number} after {self.images_seen} images")
        self.clock += batch
        self._update_ema(batch)

    def _judge(
        self, real: Tensor, labels: Tensor | None, drawn: Drawn, opt_d: Any
    ) -> tuple[Unread, Tensor | None]:  # fmt: skip
        """D's gradient on its weights, left in them, and that of G's loss on samples that have a graph."""
        moves = drawn.images.requires_grad
        gradient, loss_d, loss_g, logits, *of_weights = self._judged(
            drawn.images.detach(), drawn.labels, real, labels, moves=moves
        )
        self.augment.observe(gathered(self, logits))
        opt_d.zero_grad(set_to_none=True)
        for weight, found in zip(self._judging, of_weights, strict=True):
            weight.grad = found
        return {
            "loss_d": loss_d,
            "loss_g": loss_g,
            "real_sign": logits.sign().mean(),  # near 1: D memorises (Karras et al. 2020b)
            **self.augment.figures(),
        }, gradient

    def _judgement(
        self, fake: Tensor, asked: Tensor | None, real: Tensor, labels: Tensor | None, moves: bool
    ) -> tuple[Tensor | None, ...]:  # fmt: skip
        """G's gradient on ``fake`` if it ``moves``, D's loss and G's, logits of ``real``, gradients of D's weights."""
        judge, leaf = self._first_order[1], fake.detach().requires_grad_(moves)
        fake_logits, real_logits = judge(self.augment(leaf), asked), judge(self.augment(real), labels)
        loss_d, loss_g = discriminator_loss(real_logits, fake_logits, self.loss), generator_loss(fake_logits, self.loss)
        # One forward pass of D serves both: its gradient on the images for G, then on its own weights for itself.
        gradient = torch.autograd.grad(loss_g, leaf, retain_graph=True)[0] if moves else None
        of_weights = torch.autograd.grad(loss_d, self._judging, allow_unused=True)
        return gradient, loss_d.detach(), loss_g.detach(), real_logits.detach(), *of_weights

    def _regularise(self, real: Tensor, labels: Tensor | None, opt_d: Any) -> Tensor:
        batch = len(real) * devices(self)
        gamma = self.r1_gamma if self.r1_gamma is not None else auto_r1_gamma(real.shape[-1], batch)
        penalty = r1_penalty(lambda x: self.D(self.augment(x), labels), real).mean()
        opt_d.zero_grad(set_to_none=True)
        self.manual_backward(penalty * (gamma / 2 * self.r1_interval))
        self.move(opt_d)
        return penalty.detach()

    def move(self, optimizer: Any) -> None:
        """One update, from gradients that are numbers: the mean of those of all devices."""
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        agree(self, (weight.grad for weight in weights if weight.grad is not None))
        sanitise_gradients(weights)
        optimizer.step()

    def _ema_decay(self, batch: int) -> float:
        """How much of ``G_ema`` stays after ``batch`` more images."""
        halflife = self.ema_halflife
        if self.ema_rampup is not None:
            halflife = min(halflife, self.images_seen * self.ema_rampup)
        return 0.5 ** (batch / max(halflife, 1e-8))

    @torch.no_grad()
    def _update_ema(self, batch: int) -> None:
        beta = self._ema_decay(batch)
        for average, value in self.averaged():
            torch._foreach_lerp_(list(average.parameters()), list(value.parameters()), 1 - beta)
            for a, v in zip(average.buffers(), value.buffers(), strict=True) if self.shares_buffers else ():
                a.copy_(v)


def _lazy(interval: int | None) -> float:
    """What a rate and the exponents of its betas are scaled by where every ``interval`` steps have one more."""
    return 1.0 if interval is None else interval / (interval + 1)


def shuffled(labels: Tensor | None) -> Tensor | None:
    """Labels ``[n, c_dim]`` in another order: a draw from what the images are labelled with."""
    return None if labels is None else labels[torch.randperm(len(labels), device=labels.device)]


def _compiled(network: nn.Module) -> Callable[..., Tensor]:
    """What calls the network compiled; its weights stay its own."""
    # The discriminator's graph is walked twice a step, so the first walk must leave its buffers in place.
    torch._functorch.config.donated_buffer = False
    return torch.compile(network)
