"""Training of BlobGAN (Epstein et al. 2022, section 3.4): the plain game, with blobs moved a little at random."""

from __future__ import annotations

from typing import get_args

import torch
from torch import Tensor, nn

from networks.augment import Augment
from networks.blobgan import BlobGenerator, Jitter, Layout
from networks.gan_losses import Loss
from networks.stylegan2.synthesis import NoiseMode
from trainers.adversarial import Drawn
from trainers.autoencoding import AutoencodingTrainer, Lesson


class BlobGANTrainer(AutoencodingTrainer):
    """The game of :class:`trainers.autoencoding.AutoencodingTrainer` for BlobGAN; its codes are hidden ones.

    There is no loss on layouts, no path length and no style mixing, as in the paper. The release's AdamW has a weight
    decay of 0, which makes it the Adam that is used here. The layout network's small
    learning-rate multiplier is in its layers. Blobs are moved at random in training alone, and not those of a
    reconstruction: the averaged generator, which draws samples and is measured, renders layouts as they are.

    Raises:
        ValueError: if the loss or the noise is unknown, an interval is below 1, a jitter is negative, or the
            discriminator takes labels.
        DivergedError: in training, when a loss is not finite.
    """

    def __init__(
        self,
        generator: BlobGenerator,         # the network to train
        discriminator: nn.Module,         # image -> logit; its frozen parameters stay as they are
        total_images: int,                # length of the run, in images seen
        seed: int = 0,                    # seed of every draw
        loss: Loss = "logistic",          # logistic (non-saturating) or hinge
        lr_g: float = 2e-3,               # Adam's rate for the decoder and, times its multiplier, the layout network
        lr_d: float = 2e-3,               # Adam's rate for D
        adam_eps: float = 1e-5,           # Adam's epsilon
        final_lr: float = 1.0,            # share of the rates left at the end of the run (cosine over the last half)
        r1_gamma: float | None = 100.0,   # weight of the R1 penalty; 0 for none, None for auto_r1_gamma
        r1_interval: int = 16,            # batches between R1 steps; its weight and D's optimiser are scaled to match
        jitter_centre: float = 0.04,      # blobs are moved by at most so much in x and y, in widths of the image ...
        jitter_size: float = 0.5,         # ... their size's logit by so much ...
        jitter_angle: float = 0.1,        # ... and turned by at most so many radians
        jitter_end: float | None = None,  # share of the run at which jitter has faded to nothing; None: it stays
        noise: NoiseMode = "random",      # "none" keeps noise out
        ema_halflife: float = 10_000.0,   # half-life of G_ema, in images
        ema_rampup: float | None = 0.05,  # half-life is at most this share of the images seen; None for no ramp
        encoder: nn.Module | None = None,  # image -> hidden code [N, hidden_dim]; None, as in the paper
        reconstruction: float = 20.0,     # weight of pyramid_l1 between half of the batch and its reconstruction
        lr_codes: float = 1e-3,           # Adam's rate for hidden codes' layers and their critic, with an encoder
        code_steps: int = 8,              # steps of the game of codes for each batch of images
        augment: Augment | None = None,   # what D sees instead of images
        average: nn.Module | None = None,  # G_ema to start from; None for a copy of the generator
        compile: bool = False,            # compile the first-order phases; the penalty stays as it is  # noqa: A002
        graphs: bool = False,             # replay the first-order phases as CUDA graphs
    ) -> None:  # fmt: skip
        if noise not in get_args(NoiseMode):
            raise ValueError(f"noise must be one of {', '.join(get_args(NoiseMode))}, got {noise!r}")
        if jitter_end is not None and not 0 < jitter_end <= 1:
            raise ValueError(f"jitter_end must be in (0, 1], or None for jitter that stays, got {jitter_end}")
        super().__init__(
            Lesson(encoder, reconstruction, lr_codes, code_steps), generator.layout_network.hidden_dim, generator,
            discriminator, total_images, seed, loss, lr_g, lr_d, adam_eps, final_lr, r1_gamma, r1_interval,
            ema_halflife, ema_rampup, augment, average, compile, graphs,
        )  # fmt: skip
        self.jitter, self.jitter_end, self.noise = Jitter(jitter_centre, jitter_size, jitter_angle), jitter_end, noise

    def picture(self) -> nn.Module:
        return _Scenes(self.G.synthesis)

    def present_jitter(self) -> Jitter:
        """The jitter of this step: all of it, or what is left as it fades linearly."""
        if self.jitter_end is None:
            return self.jitter
        return self.jitter.scaled(max(0.0, 1 - self.images_seen / (self.jitter_end * self.total_images)))

    def prior(self) -> list[nn.Parameter]:
        network = self.G.layout_network
        last = set(network.blobs.parameters())
        return [weight for weight in network.parameters() if weight not in last]

    def draw_codes(self, z: Tensor) -> Tensor:
        return self.G.layout_network.hidden(z)

    def draw(self, real: Tensor, labels: Tensor | None) -> Drawn:
        n, network = self.reconstructed(len(real)), self.G.layout_network
        hidden = network.hidden(torch.randn(len(real) - n, self.G.z_dim, device=self.device), update_avg=True)
        if self.E is None:
            return Drawn(self._render(self.present_jitter()(network.layout(hidden))), None)
        codes = self.E(real[:n])  # [n, hidden_dim]
        moved = self.present_jitter()(network.layout(hidden.detach())).tensors()
        layout = Layout(**{name: torch.cat([t, moved[name]]) for name, t in network.layout(codes).tensors().items()})
        return self.lesson(codes, self._render(layout), real, None)

    def _render(self, layout: Layout) -> Tensor:
        tensors = layout.tensors()
        return self._first_order[0](*tensors.values(), names=tuple(tensors), noise=self.noise)


class _Scenes(nn.Module):
    """A synthesis as a function of a layout's tensors."""

    def __init__(self, synthesis: nn.Module) -> None:
        super().__init__()
        self.synthesis = synthesis

    def forward(self, *tensors: Tensor, names: tuple[str, ...], noise: NoiseMode) -> Tensor:
        return self.synthesis(Layout(**dict(zip(names, tensors, strict=True))), noise=noise)
