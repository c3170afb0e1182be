"""Our recipe: a window of an image a step, with Dice and dropout."""

from __future__ import annotations

import math
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from networks.checkpoints.classes import IGNORE
from networks.segmentation import Head, PyramidHead
from networks.segmentation.losses import segmentation_loss
from trainers.diverged import stop_if_not_a_number
from trainers.draws import seed_step
from trainers.schedule import warm_up_then_cosine
from trainers.segmentation_data import FeatureStore, class_weights, stream
from trainers.segmentation_loop import Clock, SegmentationSettings


class HeadTrainer(pl.LightningModule):
    """Our recipe: one window a step, AdamW with a warm-up and a cosine, cross-entropy and Dice.

    Everything random follows from ``(seed, step)``, so a resumed run goes on as if it had never stopped. Lightning sees
    several steps as one batch, the more the smaller they are: what it does for a batch takes 1 ms, a step at 64x64 10.
    A batch stays below half a second on one CPU core, so that the bar moves and Ctrl-C is heard.

    Raises:
        DivergedError: when the loss is not a number, naming the step and the images.
    """

    TOGETHER = 32         # steps of a batch, at most ...
    BATCH_PIXELS = 32768  # ... and pixels that they see together

    def __init__(self, head: Head, store: FeatureStore, settings: SegmentationSettings) -> None:
        super().__init__()
        self.automatic_optimization = False  # tiles are backpropagated one by one, to bound memory
        self.head, self.settings = head, settings
        self._store = store
        pixels = math.prod(store.windows[0].shape) * store.images_per_step
        self.together = max(1, min(self.TOGETHER, self.BATCH_PIXELS // pixels))
        self.total_steps = self.most_steps = max(settings.passes * store.steps_per_pass, settings.least_steps)
        self.register_buffer("clock", torch.zeros([], dtype=torch.int64))  # steps taken; saved with the weights
        self.register_buffer("class_weight", class_weights(store.labels.counts(), settings.balance))
        if isinstance(head, PyramidHead):
            store.fill(0)
            head.standardise(store.maps)

    @property
    def steps_taken(self) -> int:
        """Of the whole run."""
        return int(self.clock)

    def train_dataloader(self) -> Clock:
        return Clock()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        parameters = dict(self.head.named_parameters())
        groups = [
            {"params": [p for name, p in parameters.items() if name.endswith("bias") == is_bias], "weight_decay": decay}
            for is_bias, decay in ((False, self.settings.weight_decay), (True, 0.0))
        ]
        return torch.optim.AdamW(groups, lr=self.settings.learning_rate, betas=(0.9, 0.99))

    def training_step(self, batch: Any, batch_idx: int) -> None:
        # Not Lightning's wrapper: with its hooks an update of this size takes 2 % longer. It is for scaled gradients.
        first, optimizer = self.steps_taken, self.optimizers(use_pl_optimizer=False)
        steps = range(first, min(first + self.together, self.total_steps))
        losses = [self.take(step, optimizer) for step in steps]  # none of a run that is done already
        self.loss = torch.tensor(losses[-1:])
        self.clock.fill_(first + len(steps))
        self.trainer.should_stop = first + len(steps) >= self.total_steps

    def take(self, step: int, optimizer: torch.optim.Optimizer) -> float:
        """Take one step; gives its loss."""
        seen = self._store.batch(step)
        seed_step(int(torch.randint(2**62, (), generator=stream(self.settings.seed, 3, step))))
        for group in optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * warm_up_then_cosine(step, self.total_steps)
        optimizer.zero_grad(set_to_none=True)
        total = self._weight(seen.window.cut(seen.masks)).clamp(min=1e-12)
        loss = 0.0
        for tile in seen.window.tiles(self.settings.tile):
            logits = self.head.window(seen.features, tile)  # [M, N, K, h, w]
            masks = tile.cut(seen.masks)
            share = self._weight(masks) / total  # Dice is not a sum over pixels: each tile has its own
            part = segmentation_loss(logits, masks, self.class_weight, 1 / total, self.settings.dice * share)
            self.manual_backward(part)
            loss += float(part.detach())
        stop_if_not_a_number({"the loss": loss}, f"at step {step}", self._store.labels.called(seen.images))
        optimizer.step()
        return loss

    def _weight(self, masks: Tensor) -> Tensor:
        """Sum of the class weights of all labelled pixels."""
        return self.class_weight[masks[masks != IGNORE]].sum()
