"""Images that bring their classes, by the name of their ``data`` group: styles of avatars, Fashion-MNIST."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from omegaconf import DictConfig

from datamodules.avatar_styles import render_styles
from datamodules.fashion_mnist import CLASSES, read_fashion_mnist

CLASSED = ("styles", "fashion_mnist")  # kinds of data


class ClassedImages(NamedTuple):
    """Images and their classes."""

    images: np.ndarray       # uint8 [N, 3, R, R]
    labels: np.ndarray       # float32 [N, classes], one-hot
    names: tuple[str, ...]   # of the classes


def classed_images(data: DictConfig, count: int | None, split: str, seed: int) -> ClassedImages:
    """Images of one of :data:`CLASSED`.

    Args:
        data: the ``data`` group.
        count: how many; None: all there are.
        split: train or heldout; they share no image.
        seed: of the draw within the split, of images that are drawn.

    Raises:
        GanvasError: if they cannot be drawn or read.
    """
    if data.kind == "styles":
        return ClassedImages(*render_styles(data.styles, count, split, seed, data.resolution), tuple(data.styles))
    return ClassedImages(*read_fashion_mnist(data.fashion_mnist, count, split, data.resolution), CLASSES)


def classed_name(data: DictConfig) -> str:
    """What the images are called beside figures."""
    return f"rendered avatars of {len(data.styles)} styles" if data.kind == "styles" else "Fashion-MNIST"
