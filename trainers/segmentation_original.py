"""The original recipe, of DatasetGAN (Zhang et al. 2021, arXiv 2104.06490) and EditGAN (arXiv 2111.03186)."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from networks.checkpoints.classes import IGNORE
from networks.segmentation import Head, ReferenceHead
from networks.segmentation.geometry import sample_table
from trainers.diverged import stop_if_not_a_number
from trainers.segmentation_data import FeatureStore, stream
from trainers.segmentation_loop import Clock, SegmentationSettings


class OriginalTrainer(pl.LightningModule):
    """The original recipe: 64 pixels a step from a shuffle of all pixels, plain cross-entropy, Adam at 1e-3.

    After four epochs a member stops once 50 batch losses in a row fail to improve on its best. The original trains one
    member after another; here each member follows its own shuffle and its own stop rule in one batched computation,
    which is the same since nothing couples them.

    Raises:
        DivergedError: when the loss is not a number, naming the step.
    """

    PIXELS, FREE_EPOCHS, PATIENCE, MAX_EPOCHS = 64, 4, 50, 100

    def __init__(self, head: ReferenceHead, store: FeatureStore, settings: SegmentationSettings) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.head, self.settings = head, settings
        self.stopped_head = copy.deepcopy(head).requires_grad_(False)  # each member as it was when it stopped
        self._store = store
        self._tables: list[tuple[Tensor, tuple[int, int]]] = []
        self._pixels = (store.masks.flatten() != IGNORE).nonzero()[:, 0]
        self._orders: tuple[int, Tensor] | None = None
        self.steps_per_epoch = -(-len(self._pixels) // self.PIXELS)
        # In fact "four epochs": the rule then fires after some 90 batches.
        self.total_steps = self.FREE_EPOCHS * self.steps_per_epoch + 2 * self.PATIENCE
        self.most_steps = self.MAX_EPOCHS * self.steps_per_epoch
        self.register_buffer("clock", torch.zeros([], dtype=torch.int64))  # steps taken; saved with the weights
        self.register_buffer("best", torch.full([head.members], math.inf))
        self.register_buffer("waited", torch.zeros(head.members, dtype=torch.int64))
        self.register_buffer("stopped", torch.zeros(head.members, dtype=torch.bool))

    @property
    def steps_taken(self) -> int:
        """Of the whole run."""
        return int(self.clock)

    def train_dataloader(self) -> Clock:
        return Clock()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.head.parameters(), lr=1e-3)

    def training_step(self, batch: Any, batch_idx: int) -> None:
        step = self.steps_taken
        values, truth = self._sample(step)
        logits = self.head.classify(values)  # [M, P, K]
        losses = cross_entropy(logits.movedim(2, 1), truth, reduction="none").mean(dim=1)  # [M]
        stop_if_not_a_number({"the loss": losses.detach()}, f"at step {step}")
        optimizer = self.optimizers(use_pl_optimizer=False)
        optimizer.zero_grad(set_to_none=True)
        self.manual_backward(losses.sum())  # members share nothing, so each gets its own gradient
        optimizer.step()
        self.clock += 1
        self.loss = losses.detach()
        if step >= self.FREE_EPOCHS * self.steps_per_epoch:
            self._apply_stop_rule(losses.detach())
        self.trainer.should_stop = bool(self.stopped.all())

    def _sample(self, step: int) -> tuple[Tensor, Tensor]:
        """Concatenated features ``[M, P, D]`` and classes ``[M, P]`` of the pixels of a step."""
        self._fill_tables()
        epoch, place = divmod(step, self.steps_per_epoch)
        if self._orders is None or self._orders[0] != epoch:
            self._orders = epoch, torch.stack([
                torch.randperm(len(self._pixels), generator=stream(self.settings.seed, 4, member, epoch))
                for member in range(self.head.members)
            ])  # fmt: skip
        chosen = self._pixels[self._orders[1][:, place * self.PIXELS : (place + 1) * self.PIXELS]]
        out = self.head.out_resolution
        image, pixel = chosen.flatten() // out**2, chosen.flatten() % out**2
        yx = torch.stack([pixel // out, pixel % out], dim=1)
        parts = [sample_table(table, size, image, yx, out, self.head.nearest) for table, size in self._tables]
        values = torch.cat(parts, dim=1)
        return values.to(self.head.first.dtype).view(*chosen.shape, -1), self._store.masks.flatten()[chosen].long()

    def _fill_tables(self) -> None:
        """The maps with one row a position, so that a pixel's channels lie together; they replace the store's."""
        if not self._tables:
            self._store.fill(0)
            for name in self.head.feature_names:
                x = self._store.maps.pop(name)
                self._tables.append((x.movedim(1, -1).flatten(0, 2).contiguous(), tuple(x.shape[2:])))

    def _apply_stop_rule(self, losses: Tensor) -> None:
        better = losses < self.best
        self.best = torch.where(better, losses, self.best)
        self.waited = torch.where(better, 0, self.waited + 1)
        stops = (self.waited > self.PATIENCE) & ~self.stopped
        for member in stops.nonzero()[:, 0].tolist():
            _copy_member(self.head, self.stopped_head, member)
        self.stopped |= stops

    def finish(self) -> None:
        """Give each member the weights with which it stopped."""
        for member in self.stopped.nonzero()[:, 0].tolist():
            _copy_member(self.stopped_head, self.head, member)


@torch.no_grad()
def _copy_member(source: Head, target: Head, member: int) -> None:
    """Copy one member's weights and statistics; every tensor holds the members first."""
    for a, b in zip(source.state_dict().values(), target.state_dict().values(), strict=True):
        if a.ndim > 0:
            b.view(source.members, -1)[member] = a.view(source.members, -1)[member]
