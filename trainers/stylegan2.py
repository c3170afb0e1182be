"""Training of StyleGAN2 (Karras et al. 2020), with path lengths, style mixing and an encoder beside it where asked."""

from __future__ import annotations

from typing import Any, get_args

import torch
from torch import Tensor, nn

from networks.augment import Augment
from networks.gan_losses import Loss, path_lengths
from networks.stylegan2 import Generator
from networks.stylegan2.synthesis import NoiseMode
from trainers.adversarial import Drawn, shuffled
from trainers.autoencoding import AutoencodingTrainer, Lesson
from trainers.figures import Unread
from trainers.together import agree

PATH_SHRINK = 2  # a path length step has as many times fewer samples than a batch


class StyleGAN2Trainer(AutoencodingTrainer):
    """The game of :class:`trainers.autoencoding.AutoencodingTrainer` for StyleGAN2, whose codes are those in W.

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
        graphs: bool = False,             # replay the first-order phases as CUDA graphs
    ) -> None:  # fmt: skip
        if noise not in get_args(NoiseMode):
            raise ValueError(f"noise must be one of {', '.join(get_args(NoiseMode))}, got {noise!r}")
        if path_interval < 1:
            raise ValueError(f"path_interval must be at least 1, got {path_interval}")
        super().__init__(
            Lesson(encoder, reconstruction, lr_codes, code_steps), generator.w_dim, generator, discriminator,
            total_images, seed, loss, lr_g, lr_d, 1e-8, final_lr, r1_gamma, r1_interval, ema_halflife, ema_rampup,
            augment, average, compile, graphs,
        )  # fmt: skip
        self.path_weight, self.path_interval, self.path_decay = path_weight, path_interval, path_decay
        self.register_buffer("path_mean", torch.zeros([]))
        self.style_mixing, self.noise = style_mixing, noise

    def prior(self) -> list[nn.Parameter]:
        return list(self.G.mapping.parameters())

    def draw_codes(self, z: Tensor) -> Tensor:
        return self.G.mapping(z)[:, 0]

    def generator_interval(self) -> int | None:
        return self.path_interval if self.path_weight > 0 else None

    def _latents(self, n: int, labels: Tensor | None) -> Tensor:  # labels: [n, c_dim] -> ws [n, num_ws, w_dim]
        z = torch.randn(2, n, self.G.z_dim, device=self.device)
        ws = self.G.mapping(z[0], labels, update_w_avg=True)
        if self.style_mixing > 0 and torch.rand([]) < self.style_mixing:
            cut = int(torch.randint(1, self.G.num_ws, []))
            ws = torch.cat([ws[:, :cut], self.G.mapping(z[1], labels)[:, cut:]], dim=1)
        return ws

    def draw(self, real: Tensor, labels: Tensor | None) -> Drawn:
        n = self.reconstructed(len(real))
        asked = shuffled(labels)
        ws = self._latents(len(real) - n, asked)
        if self.E is None:
            return Drawn(self._first_order[0](ws, noise=self.noise), asked)
        w = self.E(real[:n])  # [n, w_dim]
        ws = torch.cat([w[:, None].expand(-1, self.G.num_ws, -1), ws.detach()])
        return self.lesson(w, self._first_order[0](ws, noise=self.noise), real, asked)

    def further(self, real: Tensor, labels: Tensor | None, number: int) -> Unread:
        figures = super().further(real, labels, number)
        opt_g, *_others = self.optimizers()
        if self.path_weight > 0 and number % self.path_interval == 0:
            figures["path_length"] = self._even_paths(max(len(real) // PATH_SHRINK, 1), labels, opt_g)
        return figures

    def _even_paths(self, n: int, labels: Tensor | None, opt_g: Any) -> Tensor:
        """One update of G towards equal steps of its images for equal steps in W; gives the mean length."""
        ws = self._latents(n, None if labels is None else shuffled(labels)[:n])
        lengths = path_lengths(self.G.synthesis(ws, noise=self.noise), ws)
        mean = self.path_mean.lerp(lengths.mean(), self.path_decay)  # with its gradient, as in the official loss
        self.path_mean.copy_(mean.detach())
        agree(self, [self.path_mean])
        opt_g.zero_grad(set_to_none=True)
        self.manual_backward((lengths - mean).square().mean() * (self.path_weight * self.path_interval))
        self.move(opt_g)
        return lengths.detach().mean()
