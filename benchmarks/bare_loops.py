"""Two trainings as bare loops: no Lightning, no record, no callbacks, no checks, no figures; only what the step is.

They do the same as ``trainers.stylegan2`` and ``trainers.segmentation_default`` from the same weights and draws, so
that after as many steps the weights are the same to the last bit: what takes longer there is the framework.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from itertools import islice

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.nn.functional import softplus

from networks.checkpoints.classes import IGNORE
from networks.segmentation import Head
from networks.segmentation.losses import segmentation_loss
from trainers.draws import seed_step
from trainers.schedule import warm_up_then_cosine
from trainers.segmentation_data import FeatureStore, class_weights, stream
from trainers.segmentation_loop import SegmentationSettings


class BareGan:
    """StyleGAN2 with the logistic loss and lazy R1: one forward pass of D for both players, an averaged generator.

    Args:
        G: the generator at its start; it is copied.
        D: the discriminator at its start; it is copied.
        images: ``uint8 [N, 3, R, R]``.
        cfg: the run's; without an encoder, augmentation, labels, style mixing or path lengths.
    """

    def __init__(self, G: nn.Module, D: nn.Module, images: np.ndarray, cfg: DictConfig) -> None:
        self.G, self.D = copy.deepcopy(G), copy.deepcopy(D)
        self.G_ema = copy.deepcopy(G).eval().requires_grad_(False)
        self.images, self.t, self.batch, self.seed = images, cfg.task.training, cfg.task.batch_size, cfg.seed
        c = self.t.r1_interval / (self.t.r1_interval + 1)
        self.opt_g = torch.optim.Adam(self.G.parameters(), lr=self.t.lr_g, betas=(0.0, 0.99), eps=1e-8)
        self.opt_d = torch.optim.Adam(self.D.parameters(), lr=self.t.lr_d * c, betas=(0.0, 0.99**c), eps=1e-8)
        self.rates = [(self.opt_g, self.t.lr_g), (self.opt_d, self.t.lr_d * c)]
        self.order = self._order()
        self.seen = 0

    def _order(self) -> Iterator[int]:
        epoch = 0
        while True:
            yield from np.random.default_rng([self.seed, epoch]).permutation(len(self.images))
            epoch += 1

    def step(self) -> None:
        """Train on one batch."""
        real = torch.from_numpy(self.images[list(islice(self.order, self.batch))]).float() / 127.5 - 1
        real = real.contiguous(memory_format=self.G.synthesis.memory_format)
        seed_step((self.seed * 0x9E3779B1 + self.seen) & 0xFFFFFFFF)
        t = min(max(2 * self.seen / self.t.total_images - 1, 0.0), 1.0)
        share = self.t.final_lr + (1 - self.t.final_lr) * 0.5 * (1 + math.cos(math.pi * t))
        for optimizer, rate in self.rates:
            optimizer.param_groups[0]["lr"] = rate * share
        ws = self.G.mapping(torch.randn(2, self.batch, self.G.z_dim)[0], None, update_w_avg=True)
        fake = self.G.synthesis(ws, noise=self.t.noise)
        leaf = fake.detach().requires_grad_(True)
        fake_logits, real_logits = self.D(leaf, None), self.D(real, None)
        (gradient,) = torch.autograd.grad(softplus(-fake_logits).mean(), leaf, retain_graph=True)
        self.opt_d.zero_grad()
        (softplus(-real_logits).mean() + softplus(fake_logits).mean()).backward(inputs=list(self.D.parameters()))
        self.opt_g.zero_grad()
        fake.backward(gradient)
        self._update(self.opt_d)
        self._update(self.opt_g)
        if self.seen // self.batch % self.t.r1_interval == 0:
            self._r1(real)
        self.seen += self.batch
        self._average()

    def _r1(self, real: Tensor) -> None:
        real = real.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(self.D(real, None).sum(), real, create_graph=True)
        penalty = gradient.square().flatten(1).sum(1).mean()
        self.opt_d.zero_grad()
        (penalty * (self.t.r1_gamma / 2 * self.t.r1_interval)).backward()
        self._update(self.opt_d)

    @staticmethod
    def _update(optimizer: torch.optim.Optimizer) -> None:
        for weight in optimizer.param_groups[0]["params"]:
            if weight.grad is not None:
                torch.nan_to_num_(weight.grad, nan=0.0, posinf=1e5, neginf=-1e5)
        optimizer.step()

    @torch.no_grad()
    def _average(self) -> None:
        halflife = min(self.t.ema_halflife, self.seen * self.t.ema_rampup)
        beta = 0.5 ** (self.batch / max(halflife, 1e-8))
        for a, v in zip(self.G_ema.parameters(), self.G.parameters(), strict=True):
            a.lerp_(v, 1 - beta)
        for a, v in zip(self.G_ema.buffers(), self.G.buffers(), strict=True):
            a.copy_(v)


class BareBranch:
    """A segmentation head on cached features: AdamW, a warm-up and a cosine, cross-entropy and Dice.

    Args:
        head: at its start, standardised; trained in place.
        store: renders and caches.
        settings: how.
    """

    def __init__(self, head: Head, store: FeatureStore, settings: SegmentationSettings) -> None:
        self.head, self.store, self.settings = head, store, settings
        self.steps = max(settings.passes * store.steps_per_pass, settings.least_steps)
        self.weight = class_weights(store.labels.counts(), settings.balance)
        named = list(self.head.named_parameters())
        self.optimizer = torch.optim.AdamW([
            {"params": [p for name, p in named if not name.endswith("bias")], "weight_decay": settings.weight_decay},
            {"params": [p for name, p in named if name.endswith("bias")], "weight_decay": 0.0},
        ], lr=settings.learning_rate, betas=(0.9, 0.99))  # fmt: skip
        self.number = 0

    def step(self) -> None:
        """Train on one window of an image."""
        seen = self.store.batch(self.number)
        seed_step(int(torch.randint(2**62, (), generator=stream(self.settings.seed, 3, self.number))))
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * warm_up_then_cosine(self.number, self.steps)
        self.optimizer.zero_grad()
        total = self._sum(seen.window.cut(seen.masks)).clamp(min=1e-12)
        for tile in seen.window.tiles(self.settings.tile):
            logits, masks = self.head.window(seen.features, tile), tile.cut(seen.masks)
            dice = self.settings.dice * self._sum(masks) / total
            segmentation_loss(logits, masks, self.weight, 1 / total, dice).backward()
        self.optimizer.step()
        self.number += 1

    def _sum(self, masks: Tensor) -> Tensor:
        return self.weight[masks[masks != IGNORE]].sum()
