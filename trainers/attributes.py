"""Training of the attribute classifier (``networks/attributes.py``) on images with labels."""

from __future__ import annotations

import torch
from torch import Tensor

from networks.attributes import AttributeClassifier, attribute_loss
from networks.metrics.attributes import AttributeScore, attribute_scores
from trainers.supervised import SupervisedTrainer
from trainers.views import view


class AttributeTrainer(SupervisedTrainer):
    """Cross-entropy of every attribute on mirrored, degraded images.

    Raises:
        DivergedError: when the loss is not a number, naming the step.
    """

    def __init__(
        self,
        network: AttributeClassifier,  # the network to train
        total_steps: int,              # length of the run, in batches
        seed: int = 0,                 # of the augmentation
        lr: float = 3e-3,              # AdamW's peak rate
        weight_decay: float = 0.01,    # AdamW's decay
    ) -> None:
        super().__init__(total_steps, seed, lr, weight_decay)
        self.network = network
        self.said: list[tuple[Tensor, Tensor]] = []  # labels told and true, of the last validation

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        images, labels = batch
        draws = self.draws()
        images = view(images, draws)
        return self.checked(attribute_loss(self.network(images), labels))

    def on_validation_epoch_start(self) -> None:
        self.said = []

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        images, labels = batch
        told = torch.stack([logits.argmax(1) for logits in self.network(images).values()], 1)
        self.said.append((told.cpu(), labels.cpu()))

    def scores(self) -> dict[str, AttributeScore]:
        """Of the last validation, by attribute."""
        told, truth = (torch.cat(column) for column in zip(*self.said, strict=True))
        return attribute_scores(told, truth, self.network.attributes)
