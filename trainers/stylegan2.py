"""Training of StyleGAN2 with a clock of images seen (Karras et al. 2020; lazy regularisation, section 3.1)."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any, get_args

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from networks.augment import Augment
from networks.gan_losses import (
    Loss,
    auto_r1_gamma,
    discriminator_loss,
    generator_loss,
    path_lengths,
    r1_penalty,
    sanitise_gradients,
)
from networks.stylegan2 import Generator
from networks.stylegan2.reconstruction import pyramid_l1
from networks.stylegan2.synthesis import NoiseMode
from trainers.batches import Batch
from trainers.code_game import CodeGame
from trainers.diverged import stop_if_not_a_number
from trainers.draws import seed_draws

CODES = 4096     # how many of the encoder's latest codes the mapping network learns from
PATH_SHRINK = 2  # a path length step has as many times fewer samples than a batch


class StyleGAN2Trainer(pl.LightningModule):
    """Generator against discriminator, with an averaged copy of the generator (``G_ema``) for use.

    Every random draw follows from ``(seed, images_seen)``, so a resumed run continues as if it had never stopped.
    The discriminator sees one batch of images and one of samples a step, and one forward pass of it serves both
    players: both move at once, where the official loop moves G first and renders again for D.

    A conditional generator is trained with a label for each image. Samples take the labels of the batch, in another
    order: that is a draw from the labels of the images.

    With an ``encoder``, half of the samples are reconstructions of the step's real images (VAE/GAN, Larsen et al. 2016,
    arXiv 1512.09300). That is a direct lesson on every image, which a short run on small compute needs, and it keeps
    rare parts from being forgotten. The mapping network then learns to draw the encoder's codes, in a game of its own
    (:class:`trainers.code_game.CodeGame`); the discriminator of images teaches the encoder and the synthesis network.

    Raises:
        ValueError: if the loss or the noise is unknown, an interval is below 1, generator and discriminator take labels
            of different widths, or there are both labels and an encoder.
        DivergedError: in training, when a loss is not finite.
    """

    def __init__(
        self,
        generator: Generator,              # the network to train
        discriminator: nn.Module,          # (image, label) -> logit; its frozen parameters stay as they are
        total_images: int,                 # length of the run, in images seen
        seed: int = 0,                     # seed of every draw
        loss: Loss = "logistic",           # logistic (non-saturating) or hinge
        lr_g: float = 2.5e-3,              # Adam's rate for G
        lr_d: float = 2.5e-3,              # Adam's rate for D
        final_lr: float = 0.1,             # share of the rates left at the end of the run (cosine over the last half)
        r1_gamma: float | None = None,     # weight of the R1 penalty; 0 for none, None for auto_r1_gamma
        r1_interval: int = 16,             # batches between R1 steps; its weight and D's optimiser are scaled to match
        path_weight: float = 0.0,          # weight of the path length penalty; 2 in the paper, 0 for none
        path_interval: int = 4,            # batches between path length steps; scaled as for R1, with G's optimiser
        path_decay: float = 0.01,          # decay of the running mean of path lengths
        style_mixing: float = 0.0,         # probability of a second latent from a random layer on
        noise: NoiseMode = "random",           # "none" keeps noise out: for images without random texture
        ema_halflife: float = 5000.0,      # half-life of G_ema, in images
        ema_rampup: float | None = 0.08,   # half-life is at most this share of the images seen; None for no ramp
        encoder: nn.Module | None = None,  # image -> w [N, w_dim]
        reconstruction: float = 20.0,      # weight of pyramid_l1 between half of the batch and its reconstruction
        lr_codes: float = 1e-3,            # Adam's rate for the mapping network and its critic, with an encoder
        code_steps: int = 8,               # steps of the game of codes for each batch of images
        augment: Augment | None = None,    # what D sees instead of images
        average: nn.Module | None = None,  # G_ema to start from; None for a copy of the generator
        compile: bool = False,             # compile the first-order phases; the penalties stay as they are  # noqa: A002
    ) -> None:  # fmt: skip
        super().__init__()
        if loss not in get_args(Loss):
            raise ValueError(f"loss must be {' or '.join(get_args(Loss))}, got {loss!r}")
        if noise not in get_args(NoiseMode):
            raise ValueError(f"noise must be one of {', '.join(get_args(NoiseMode))}, got {noise!r}")
        if r1_interval < 1 or path_interval < 1 or total_images < 1:
            raise ValueError("r1_interval, path_interval and total_images must be at least 1, got "
                             f"{r1_interval}, {path_interval} and {total_images}")  # fmt: skip
        if generator.c_dim != discriminator.c_dim:
            raise ValueError(f"generator and discriminator must take one kind of label, got labels of width "
                             f"{generator.c_dim} and {discriminator.c_dim}")  # fmt: skip
        if generator.c_dim and encoder is not None:
            raise ValueError("the game of codes knows no labels: train a conditional generator with task.encoder=null")
        self.automatic_optimization = False
        self.G, self.D = generator, discriminator
        self.G_ema = copy.deepcopy(generator if average is None else average).eval().requires_grad_(False)
        self.E = encoder
        self.reconstruction, self.lr_codes, self.code_steps = reconstruction, lr_codes, code_steps
        if encoder is not None:
            self.E_ema = copy.deepcopy(encoder).eval().requires_grad_(False)
            self.code_game = CodeGame(generator.w_dim, CODES)
        self.augment = Augment() if augment is None else augment
        self.path_weight, self.path_interval, self.path_decay = path_weight, path_interval, path_decay
        self.register_buffer("path_mean", torch.zeros([]))
        self.total_images, self.seed, self.loss = total_images, seed, loss
        self.lr_g, self.lr_d, self.final_lr = lr_g, lr_d, final_lr
        self.r1_gamma, self.r1_interval, self.style_mixing, self.noise = r1_gamma, r1_interval, style_mixing, noise
        self.ema_halflife, self.ema_rampup = ema_halflife, ema_rampup
        plain = (generator.synthesis, discriminator)
        self._first_order = _compiled(*plain) if compile else plain  # in a tuple: they are registered already
        self.figures: dict[str, float] = {}  # of the last step: losses, sign of the logits on real images, R1
        self.register_buffer("clock", torch.zeros([], dtype=torch.int64))  # images seen; saved with the weights

    @property
    def images_seen(self) -> int:
        """Real images shown to the discriminator so far."""
        return int(self.clock)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        drawing = self.G if self.E is None else nn.ModuleList([self.G.synthesis, self.E])
        c = _lazy(self.path_interval) if self.path_weight > 0 else 1.0
        g = torch.optim.Adam(drawing.parameters(), lr=self.lr_g * c, betas=(0.0, 0.99**c), eps=1e-8)
        c = _lazy(self.r1_interval) if self.r1_gamma != 0 else 1.0
        d = torch.optim.Adam(self._judging, lr=self.lr_d * c, betas=(0.0, 0.99**c), eps=1e-8)
        if self.E is None:
            return [g, d]
        sides = (self.G.mapping, self.code_game.critic)
        return [g, d, *(torch.optim.Adam(side.parameters(), lr=self.lr_codes, betas=(0.0, 0.99)) for side in sides)]

    @property
    def _judging(self) -> list[nn.Parameter]:
        """D's parameters that learn."""
        return [parameter for parameter in self.D.parameters() if parameter.requires_grad]

    def _rate(self) -> float:
        """Share of the base rates: 1 in the first half of the run, then a cosine down to ``final_lr``."""
        t = min(max(2 * self.images_seen / self.total_images - 1, 0.0), 1.0)
        return self.final_lr + (1 - self.final_lr) * 0.5 * (1 + math.cos(math.pi * t))

    def _latents(self, n: int, labels: Tensor | None) -> Tensor:  # labels: [n, c_dim] -> ws [n, num_ws, w_dim]
        z = torch.randn(2, n, self.G.z_dim, device=self.device)
        ws = self.G.mapping(z[0], labels, update_w_avg=True)
        if self.style_mixing > 0 and torch.rand([]) < self.style_mixing:
            cut = int(torch.randint(1, self.G.num_ws, []))
            ws = torch.cat([ws[:, :cut], self.G.mapping(z[1], labels)[:, cut:]], dim=1)
        return ws

    def training_step(self, batch: Batch, *_: Any) -> None:
        real, labels = batch.images, batch.labels  # [B, C, R, R], [B, c_dim]
        seed_draws(self.seed, self.images_seen)
        for optimizer in self.optimizers():
            optimizer.param_groups[0]["lr"] = optimizer.defaults["lr"] * self._rate()
        opt_g, opt_d, *opt_codes = self.optimizers()
        real = real.contiguous(memory_format=self.G.synthesis.memory_format)
        number = self.images_seen // len(real)  # of this batch

        n = len(real) // 2 if self.E is not None else 0  # how many of the samples are reconstructions: the first
        asked = _shuffled(labels)
        ws = self._latents(len(real) - n, asked)
        if self.E is not None:
            w = self.E(real[:n])  # [n, w_dim]
            ws = torch.cat([w[:, None].expand(-1, self.G.num_ws, -1), ws.detach()])
        fake = self._first_order[0](ws, noise=self.noise)
        figures, gradient = self._judge(real, labels, fake, asked, opt_d)
        lessons, weights = [fake], [gradient]
        if self.E is not None:
            lessons.append(self.reconstruction * pyramid_l1(fake[:n], real[:n]))
            weights.append(torch.ones_like(lessons[1]))
            figures["reconstruction"] = float(lessons[1].detach()) / self.reconstruction
        opt_g.zero_grad(set_to_none=True)
        torch.autograd.backward(lessons, weights)
        _step(opt_d)
        _step(opt_g)
        if self.E is not None:
            self.code_game.add(w)
            figures |= self.code_game.play(self.code_steps, self.G.mapping, self.G.z_dim, *opt_codes)
        if self.path_weight > 0 and number % self.path_interval == 0:
            figures["path_length"] = self._even_paths(max(len(real) // PATH_SHRINK, 1), labels, opt_g)
        if self.r1_gamma != 0 and number % self.r1_interval == 0:
            figures["r1"] = self._regularise(real, labels, opt_d)
        stop_if_not_a_number(figures, f"in batch {number} after {self.images_seen} images")
        self.figures = figures
        self.clock += len(real)
        self._update_ema(len(real))

    def _judge(
        self, real: Tensor, labels: Tensor | None, fake: Tensor, asked: Tensor | None, opt_d: Any
    ) -> tuple[dict[str, float], Tensor]:
        """D's gradient on its weights, left in them, and the gradient of G's loss on ``fake``."""
        leaf = fake.detach().requires_grad_(True)
        judge = self._first_order[1]
        fake_logits, real_logits = judge(self.augment(leaf), asked), judge(self.augment(real), labels)
        self.augment.observe(real_logits.detach())
        # One forward pass of D serves both: its gradient on the images for G, then on its own weights for itself.
        (gradient,) = torch.autograd.grad(generator_loss(fake_logits, self.loss), leaf, retain_graph=True)
        loss_d = discriminator_loss(real_logits, fake_logits, self.loss)
        opt_d.zero_grad(set_to_none=True)
        self.manual_backward(loss_d, inputs=self._judging)
        return {
            "loss_d": float(loss_d.detach()),
            "loss_g": float(generator_loss(fake_logits.detach(), self.loss)),
            "real_sign": float(real_logits.detach().sign().mean()),  # near 1: D memorises (Karras et al. 2020b)
            **self.augment.figures(),
        }, gradient

    def _regularise(self, real: Tensor, labels: Tensor | None, opt_d: Any) -> float:
        gamma = self.r1_gamma if self.r1_gamma is not None else auto_r1_gamma(real.shape[-1], len(real))
        penalty = r1_penalty(lambda x: self.D(self.augment(x), labels), real).mean()
        opt_d.zero_grad(set_to_none=True)
        self.manual_backward(penalty * (gamma / 2 * self.r1_interval))
        _step(opt_d)
        return float(penalty.detach())

    def _even_paths(self, n: int, labels: Tensor | None, opt_g: Any) -> float:
        """One update of G towards equal steps of its images for equal steps in W; gives the mean length."""
        ws = self._latents(n, None if labels is None else _shuffled(labels)[:n])
        lengths = path_lengths(self.G.synthesis(ws, noise=self.noise), ws)
        mean = self.path_mean.lerp(lengths.mean(), self.path_decay)  # with its gradient, as in the official loss
        self.path_mean.copy_(mean.detach())
        opt_g.zero_grad(set_to_none=True)
        self.manual_backward((lengths - mean).square().mean() * (self.path_weight * self.path_interval))
        _step(opt_g)
        return float(lengths.detach().mean())

    def _ema_decay(self, batch: int) -> float:
        """How much of ``G_ema`` stays after ``batch`` more images."""
        halflife = self.ema_halflife
        if self.ema_rampup is not None:
            halflife = min(halflife, self.images_seen * self.ema_rampup)
        return 0.5 ** (batch / max(halflife, 1e-8))

    @torch.no_grad()
    def _update_ema(self, batch: int) -> None:
        beta = self._ema_decay(batch)
        pairs = [(self.G_ema, self.G), *([(self.E_ema, self.E)] if self.E is not None else [])]
        for average, value in pairs:
            for a, v in zip(average.parameters(), value.parameters(), strict=True):
                a.lerp_(v, 1 - beta)
            for a, v in zip(average.buffers(), value.buffers(), strict=True):
                a.copy_(v)


def _lazy(interval: int) -> float:
    """What a rate and the exponents of its betas are scaled by where every ``interval`` steps have one more."""
    return interval / (interval + 1)


def _shuffled(labels: Tensor | None) -> Tensor | None:
    """Labels ``[n, c_dim]`` in another order: a draw from what the images are labelled with."""
    return None if labels is None else labels[torch.randperm(len(labels))]


def _step(optimizer: Any) -> None:
    """One update, from gradients that are numbers."""
    for group in optimizer.param_groups:
        sanitise_gradients(group["params"])
    optimizer.step()


def _compiled(*modules: nn.Module) -> tuple[Callable[..., Tensor], ...]:
    """What calls the modules compiled; their weights stay theirs."""
    # The discriminator's graph is walked twice a step, so the first walk must leave its buffers in place.
    torch._functorch.config.donated_buffer = False
    return tuple(torch.compile(module) for module in modules)
