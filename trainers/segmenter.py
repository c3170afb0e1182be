"""Training of a feed-forward labeller (``networks/segmenters.py``) on images with masks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from networks.checkpoints.classes import IGNORE
from networks.metrics.segmentation import SegmentationScore
from networks.segmentation.losses import segmentation_loss
from networks.segmenter_library import LibrarySegmenter
from networks.unet import UNet
from trainers.supervised import SupervisedTrainer
from trainers.views import degrade, mirror


class SegmenterTrainer(SupervisedTrainer):
    """Cross-entropy and Dice on degraded images.

    Raises:
        DivergedError: when the loss is not a number, naming the step.
    """

    def __init__(
        self,
        network: UNet | LibrarySegmenter,
        class_names: Sequence[str],  # name of each class id
        total_steps: int,            # length of the run, in batches
        seed: int = 0,               # of the augmentation
        lr: float = 3e-3,            # AdamW's peak rate
        weight_decay: float = 0.01,  # AdamW's decay
        dice: float = 0.5,           # weight of the Dice loss; 0 leaves cross-entropy alone
    ) -> None:  # fmt: skip
        super().__init__(total_steps, seed, lr, weight_decay)
        self.network, self.class_names, self.dice = network, tuple(class_names), dice
        self.score = SegmentationScore(self.class_names)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        images, masks = batch
        draws = self.draws()
        images, masks = mirror(images, masks, draws)
        logits = self.network(degrade(images, draws))
        pixels = (masks != IGNORE).sum().clamp(min=1)
        alike = logits.new_ones(len(self.class_names), dtype=torch.float32)
        return self.checked(segmentation_loss(logits[None], masks.long(), alike, 1 / pixels, self.dice))

    def on_validation_epoch_start(self) -> None:
        self.score = SegmentationScore(self.class_names)

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        images, masks = batch
        self.score.update(self.network(images).float().softmax(1), masks)


class EpochOrder(Sampler[int]):
    """A shuffle that depends only on ``(seed, epoch)``; Lightning sets the epoch, also after a resume.

    Args:
        size: how many images there are.
        seed: of the order.
        least: how many an epoch shows at least: then some or all again, in another order.
    """

    def __init__(self, size: int, seed: int, least: int = 0) -> None:
        self.size, self.seed, self.length, self.epoch = size, seed, max(size, least), 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        draws = torch.Generator().manual_seed((self.seed << 32) + self.epoch)
        orders = [torch.randperm(self.size, generator=draws) for _ in range(-(-self.length // self.size))]
        return iter(torch.cat(orders)[: self.length].tolist())

    def __len__(self) -> int:
        return self.length


def labelled_batches(
    images: Tensor, labels: Tensor, batch_size: int, shuffle_seed: int | None = None, least: int = 0
) -> DataLoader:  # fmt: skip
    """Batches of images in [-1, 1] with what is known of each, from memory.

    Args:
        images: ``uint8 [N, C, H, W]``.
        labels: ``[N, ...]``: masks, or labels of attributes, or other images.
        batch_size: images in a batch; in training the last, smaller one is left out.
        shuffle_seed: shuffles each epoch anew; None keeps the order.
        least: how many images a shuffled epoch shows at least.
    """
    def collate(indices: list[int]) -> tuple[Tensor, Tensor]:
        return images[indices].float() / 127.5 - 1, labels[indices]

    order = None if shuffle_seed is None else EpochOrder(len(images), shuffle_seed, least)
    return DataLoader(range(len(images)), batch_size, sampler=order, collate_fn=collate, drop_last=order is not None)
