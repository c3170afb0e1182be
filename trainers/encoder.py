"""Training of an encoder into a frozen generator's codes, from its samples and from real images.

EditGAN (Ling et al. 2021, arXiv 2111.03186, section 3.1) compares samples by their codes and pictures, and real images,
whose codes are unknown, by their pictures. Codes are those of W+, or of a BlobGAN the hidden code, which the encoder of
OCTET (Zemni et al. 2023, arXiv 2211.12380) first learns from samples alone.
"""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from networks.critics.lpips_distance import PerceptualCritic
from networks.critics.sizes import for_critic
from networks.encoder import WPlusEncoder
from networks.latent_statistics import code_statistics, codes_of, latent_of
from networks.protocol import Generator
from trainers.batches import Batch
from trainers.diverged import stop_if_not_a_number
from trainers.draws import seed_draws
from trainers.figures import as_floats
from trainers.schedule import warm_up_then_cosine


class EncoderTrainer(pl.LightningModule):
    """Real images and as many samples a step, AdamW with a warm-up and a cosine.

    Every random draw follows from ``(seed, images_seen)``, so a resumed run goes on as if it had never stopped. The
    generator and the critic are frozen and not part of the module's state.

    Raises:
        GanvasError: if the generator has neither W+ nor hidden codes.
        DivergedError: in training, when a loss is not finite.
    """

    def __init__(
        self,
        encoder: WPlusEncoder,         # the network to train
        generator: Generator,          # frozen; renders what the encoder finds
        critic: PerceptualCritic,      # frozen
        total_images: int,             # length of the run, in real images seen
        seed: int = 0,                 # of every draw
        lr: float = 2e-3,              # AdamW's peak rate
        weight_decay: float = 0.01,    # AdamW's decay
        latent: float = 0.1,           # weight of the mean squared difference of codes, in their standard deviations
        perceptual: float = 0.1,       # weight of the perceptual distance
        pixel: float = 1.0,            # weight of the mean squared pixel difference
        spread: float = 1e-3,          # weight of the codes' mean squared distance from their mean
        mixing: float = 0.5,           # share of the samples that mix two codes at a random row, if there are rows
        samples_first: float = 0.0,    # share of the run, its beginning, that learns the codes of samples and no more
    ) -> None:  # fmt: skip
        super().__init__()
        self.automatic_optimization = False
        self.E = encoder
        self._frozen = (generator, critic)
        statistics = code_statistics(generator)
        self._space = statistics.samples.space
        encoder.w_mean.copy_(statistics.mean[0])
        encoder.w_std.copy_(statistics.std)
        self.total_images, self.seed, self.lr, self.weight_decay = total_images, seed, lr, weight_decay
        self.weights = {"latent": latent, "perceptual": perceptual, "pixel": pixel, "spread": spread}
        self.mixing, self.samples_first = mixing, samples_first
        self.figures: dict[str, float] = {}  # of the last step
        self.register_buffer("clock", torch.zeros([], dtype=torch.int64))  # images seen; saved with the weights

    @property
    def images_seen(self) -> int:
        """Real images that the encoder saw so far."""
        return int(self.clock)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.E.parameters(), lr=self.lr, weight_decay=self.weight_decay)

    def training_step(self, batch: Batch, *_: Any) -> None:
        real = batch.images  # [B, C, R, R]
        seed_draws(self.seed, self.images_seen)
        optimizer = self.optimizers()
        for group in optimizer.param_groups:
            group["lr"] = self.lr * warm_up_then_cosine(self.images_seen // len(real), self.total_images // len(real))
        optimizer.zero_grad(set_to_none=True)
        losses = self._losses(real)
        total = sum(self.weights[name] * value for name, value in losses.items())
        self.manual_backward(total)
        self.figures = as_floats({**losses, "loss": total})
        stop_if_not_a_number(self.figures, f"after {self.images_seen} images")
        optimizer.step()
        self.clock += len(real)

    def _losses(self, real: Tensor) -> dict[str, Tensor]:
        generator, critic = self._frozen
        with torch.no_grad():
            ws = self._codes(len(real))
            fake = generator.render(latent_of(ws, self._space)).clamp(-1, 1)
        alone = self.images_seen < self.samples_first * self.total_images
        images = fake if alone else torch.cat([real, fake])
        found = self.E(images)
        losses = {
            "latent": ((found[-len(ws) :] - ws) / self.E.w_std).square().mean(),
            "spread": ((found - self.E.w_mean) / self.E.w_std).square().mean(),
        }
        if alone:  # to render what is far off yet would be most of the work, and its gradients break the network
            return losses
        if self.weights["perceptual"] or self.weights["pixel"]:
            rendered = generator.render(latent_of(found, self._space))
            losses["pixel"] = (rendered - images).square().mean()
        if self.weights["perceptual"]:
            losses["perceptual"] = critic(for_critic(rendered), for_critic(images)).mean()
        return losses

    def _codes(self, n: int) -> Tensor:  # -> [n, rows, w_dim]
        generator, _ = self._frozen
        ws = codes_of(generator.sample(n, seed=int(torch.randint(2**31, []))))
        if ws.shape[1] == 1:  # a hidden code has no rows to mix
            return ws
        rows, mixed = torch.arange(ws.shape[1]), torch.rand(n) < self.mixing
        cut = torch.where(mixed, torch.randint(1, ws.shape[1], [n]), ws.shape[1])  # rows from here on are another's
        return torch.where((rows < cut[:, None])[..., None].to(ws.device), ws, ws.roll(1, dims=0))
