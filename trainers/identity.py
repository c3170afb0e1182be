"""Training of the identity embedding (``networks/identity.py``) on two pictures of each person."""

from __future__ import annotations

import torch
from torch import Tensor

from networks.identity import IdentityNetwork, pair_loss
from networks.metrics.attributes import recognition
from trainers.supervised import SupervisedTrainer
from trainers.views import view


class IdentityTrainer(SupervisedTrainer):
    """The contrastive loss between two pictures of each person, each mirrored and degraded by itself.

    The others of a batch are what a person is told from, so larger batches teach finer differences.

    Raises:
        DivergedError: when the loss is not a number, naming the step.
    """

    def __init__(
        self,
        network: IdentityNetwork,    # the network to train
        total_steps: int,            # length of the run, in batches
        seed: int = 0,               # of the augmentation
        lr: float = 3e-3,            # AdamW's peak rate
        weight_decay: float = 0.01,  # AdamW's decay
        temperature: float = 0.1,    # that cosines are divided by
    ) -> None:
        super().__init__(total_steps, seed, lr, weight_decay)
        self.network, self.temperature = network, temperature
        self.seen: list[tuple[Tensor, Tensor]] = []  # embeddings of both pictures, of the last validation

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        first, second = batch
        draws = self.draws()
        both = torch.cat([first, as_floats(second)])
        vectors = self.network(view(both, draws))
        return self.checked(pair_loss(*vectors.chunk(2), self.temperature))

    def on_validation_epoch_start(self) -> None:
        self.seen = []

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        first, second = batch
        self.seen.append((self.network(first).cpu(), self.network(as_floats(second)).cpu()))

    def scores(self) -> dict[str, float]:
        """Of the last validation; see :func:`networks.metrics.attributes.recognition`."""
        return recognition(*(torch.cat(column) for column in zip(*self.seen, strict=True)))


def as_floats(images: Tensor) -> Tensor:
    """``uint8 [N, C, H, W]`` as images in [-1, 1]."""
    return images.float() / 127.5 - 1
