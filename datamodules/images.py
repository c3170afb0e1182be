"""Endless shuffled batches of images for GAN training, resumable at any image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple, Protocol

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from networks.checkpoints.errors import GanvasError


class ImageBatch(NamedTuple):
    """What a trainer is given."""

    images: Tensor          # float [B, C, R, R] in [-1, 1]
    labels: Tensor | None   # float [B, c_dim]


class Shown(Protocol):
    """What is shown in batches, epoch after epoch."""

    def __len__(self) -> int:
        """How many items an epoch shows."""
        ...

    def batch(self, indices: list[int]) -> Any:
        """The items of these numbers, in this order."""
        ...


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images to train on, and their labels where they are used.

    Raises:
        GanvasError: if there are fewer than two images.
        ValueError: if there are not as many labels as images.
    """

    images: np.ndarray                 # uint8 [N, C, R, R], in memory or mapped into it
    labels: np.ndarray | None = None   # float32 [N, c_dim]
    mirror: bool = False               # each image is also there from right to left, with the same label
    label_names: tuple[str, ...] = ()  # of the classes, where they have names

    def __post_init__(self) -> None:
        if len(self.images) < 2:
            raise GanvasError(f"a GAN needs at least 2 images to train on, got {len(self.images)}: give more of them.")
        if self.labels is not None and len(self.labels) != len(self.images):
            raise ValueError(f"{len(self.images)} images must have as many labels, got {len(self.labels)}")

    def __len__(self) -> int:
        """How many images an epoch shows, mirrored ones included."""
        return len(self.images) * (1 + self.mirror)

    @property
    def c_dim(self) -> int:
        """Width of a label; 0 without labels."""
        return 0 if self.labels is None else self.labels.shape[1]

    def batch(self, indices: list[int]) -> ImageBatch:
        """The images of these numbers, in this order; from ``len(self.images)`` on they are the mirrored ones."""
        mirrored, rows = np.divmod(indices, len(self.images))
        images = torch.from_numpy(np.asarray(self.images[rows])).to(torch.float32) / 127.5 - 1
        if mirrored.any():
            turned = torch.from_numpy(mirrored == 1)[:, None, None, None]
            images = torch.where(turned, images.flip(-1), images)
        return ImageBatch(images, None if self.labels is None else torch.from_numpy(self.labels[rows]))


class ShuffledImages(IterableDataset):
    """Batches of a set, epoch after epoch; each epoch's order depends only on ``(seed, epoch)``.

    Args:
        images: the set.
        batch_size: images in a batch; batches run across the end of an epoch.
        seed: seed of the order, from 0.
        start: images already seen: the stream goes on exactly there.
        rank: which device's part of each batch ...
        of: ... of how many devices, which divide a batch.
    """

    def __init__(
        self, images: Shown, batch_size: int, seed: int, start: int = 0, rank: int = 0, of: int = 1
    ) -> None:
        self.images, self.batch_size, self.seed, self.start = images, batch_size, seed, start
        self.part = slice(rank * batch_size // of, (rank + 1) * batch_size // of)

    def __iter__(self) -> Iterator[Any]:
        indices = self._indices()
        while True:
            yield self.images.batch(list(islice(indices, self.batch_size))[self.part])

    def _indices(self) -> Iterator[int]:
        epoch, offset = divmod(self.start, len(self.images))
        while True:
            order = np.random.default_rng([self.seed, epoch]).permutation(len(self.images))
            yield from order[offset:]
            epoch, offset = epoch + 1, 0


class GANImages(pl.LightningDataModule):
    """Feeds a trainer that counts images seen; after a resume it goes on at the module's ``images_seen``.

    Of several devices each is fed its part of the same batches.
    """

    def __init__(self, images: Shown, batch_size: int, seed: int) -> None:
        super().__init__()
        self.images, self.batch_size, self.seed = images, batch_size, seed

    def train_dataloader(self) -> DataLoader:
        start, devices = int(self.trainer.lightning_module.images_seen), self.trainer.world_size
        stream = ShuffledImages(self.images, self.batch_size, self.seed, start, self.trainer.global_rank, devices)
        # No workers: the images are made ready already, and a batch takes less than sending it would.
        return DataLoader(stream, batch_size=None, pin_memory=torch.cuda.is_available())
