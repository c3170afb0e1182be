"""Endless shuffled batches of images for GAN training, resumable at any image."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from networks.checkpoints.errors import GanvasError


class ImageBatch(NamedTuple):
    """Images, and their labels where there are any."""

    images: Tensor          # float [B, C, R, R] in [-1, 1]
    labels: Tensor | None   # float [B, c_dim]


class ShuffledImages(IterableDataset):
    """Batches ``[B, C, H, W]`` in [-1, 1], epoch after epoch; each epoch's order depends only on ``(seed, epoch)``.

    Args:
        images: ``uint8 [N, C, H, W]``, held in memory.
        batch_size: images in a batch; batches run across the end of an epoch.
        seed: seed of the order, from 0.
        start: images already seen: the stream goes on exactly there.

    Raises:
        GanvasError: if there are fewer than two images.
    """

    def __init__(
        self, images: Tensor, batch_size: int, seed: int, start: int = 0, labels: Tensor | None = None
    ) -> None:
        if len(images) < 2:
            raise GanvasError(f"a GAN needs at least 2 images to train on, got {len(images)}: give more of them.")
        self.images, self.batch_size, self.seed, self.start, self.labels = images, batch_size, seed, start, labels

    def __iter__(self) -> Iterator[ImageBatch]:
        indices = self._indices()
        while True:
            chosen = list(islice(indices, self.batch_size))
            labels = None if self.labels is None else self.labels[chosen]
            yield ImageBatch(self.images[chosen].to(torch.float32) / 127.5 - 1, labels)

    def _indices(self) -> Iterator[int]:
        epoch, offset = divmod(self.start, len(self.images))
        while True:
            order = np.random.default_rng([self.seed, epoch]).permutation(len(self.images))
            yield from order[offset:]
            epoch, offset = epoch + 1, 0


class GANImages(pl.LightningDataModule):
    """Feeds a GAN trainer; after a resume it goes on at the module's ``images_seen``."""

    def __init__(self, images: Tensor, batch_size: int, seed: int, labels: Tensor | None = None) -> None:
        super().__init__()
        self.images, self.batch_size, self.seed, self.labels = images, batch_size, seed, labels

    def train_dataloader(self) -> DataLoader:
        start = int(self.trainer.lightning_module.images_seen)
        stream = ShuffledImages(self.images, self.batch_size, self.seed, start, self.labels)
        # No workers: the images are in memory already, and a batch takes less than sending it would.
        return DataLoader(stream, batch_size=None, pin_memory=torch.cuda.is_available())
