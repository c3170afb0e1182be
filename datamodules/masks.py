"""Labelled images: pictures, their masks and what the ids of the masks mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np

from networks.checkpoints.classes import ClassList

SEEN_SHARE = 1 / 1024  # of the image's pixels: four at 64 x 64. A class with fewer has not really occurred


def class_pixels(masks: np.ndarray, classes: int) -> np.ndarray:
    """Pixels of each class in each mask ``uint8 [N, H, W]``, ``int64 [N, classes]``.

    Example:
        >>> class_pixels(np.array([[[0, 1], [1, 255]]], np.uint8), 2).tolist()
        [[1, 2]]
    """
    counts = [np.bincount(mask.ravel(), minlength=256)[:classes] for mask in masks]
    return np.array(counts, dtype=np.int64).reshape(-1, classes)


@dataclass(frozen=True)
class LabelledImages:
    """Images, and their masks where there are any.

    Raises:
        ValueError: if shapes or counts do not agree.
    """

    images: np.ndarray                  # uint8 [N, 3, H, W]
    masks: np.ndarray | None            # uint8 [N, H, W], class ids, 255 = ignore
    names: tuple[str, ...]              # one an image: its file stem
    classes: ClassList | None           # None only without masks
    valid: np.ndarray | None = None     # int64 [N, 4], top, left, height, width of the picture within a padded canvas

    def __post_init__(self) -> None:
        n, channels, height, width = self.images.shape
        if channels != 3 or self.images.dtype != np.uint8:
            raise ValueError(f"images must be uint8 [N, 3, H, W], got {self.images.dtype} {list(self.images.shape)}")
        if self.masks is not None and (self.masks.shape != (n, height, width) or self.masks.dtype != np.uint8):
            raise ValueError(f"masks must be uint8 [{n}, {height}, {width}], "
                             f"got {self.masks.dtype} {list(self.masks.shape)}")
        if (self.masks is None) != (self.classes is None):
            raise ValueError("masks and classes come together or not at all")
        if len(self.names) != n:
            raise ValueError(f"{n} images but {len(self.names)} names")
        if self.valid is not None and self.valid.shape != (n, 4):
            raise ValueError(f"valid must be [{n}, 4], got {list(self.valid.shape)}")

    def __len__(self) -> int:
        return len(self.images)

    def take(self, indices: Sequence[int]) -> Self:
        """The chosen images, in the order given."""
        chosen = list(indices)
        picked: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                picked[field.name] = value[chosen]
            elif isinstance(value, (tuple, list)):
                picked[field.name] = type(value)(value[i] for i in chosen)
        return replace(self, **picked)

    def class_pixels(self) -> np.ndarray:
        """Pixels of each class in each image, ``int64 [N, K]``.

        Raises:
            ValueError: without masks.
        """
        if self.masks is None or self.classes is None:
            raise ValueError("these images have no masks")
        return class_pixels(self.masks, len(self.classes))

    def instances(self) -> np.ndarray:
        """Which object each pixel shows, ``uint8 [N, H, W]``; 0 for none, or one that cannot be told from others.

        Where nothing tells more, each class of an image is one object.

        Raises:
            ValueError: without masks.
        """
        if self.masks is None:
            raise ValueError("these images have no masks")
        return self.masks + np.uint8(1)  # 255, no class, becomes 0
