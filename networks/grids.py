"""Images to files: single pictures and contact sheets."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from networks.checkpoints.atomic import atomic_path


def to_uint8(images: Tensor) -> np.ndarray:
    """``[N, C, H, W]`` in [-1, 1] to ``uint8 [N, H, W, 3]``; one channel becomes grey.

    Raises:
        ValueError: if the images have neither 1 nor 3 channels.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(f"images must be [N, 1 or 3, H, W], got {list(images.shape)}")
    x = (images.detach().float().cpu() * 127.5 + 127.5).round().clamp(0, 255).byte()
    return x.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()


def tile(images: np.ndarray, columns: int | None = None, scale: int = 1, gap: int = 0) -> np.ndarray:
    """Arrange ``uint8 [N, H, W, 3]`` in rows of ``columns`` (a square by default), enlarged by ``scale``."""
    n, h, w, _ = images.shape
    columns = columns or math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    images = images.repeat(scale, axis=1).repeat(scale, axis=2)
    h, w = h * scale + gap, w * scale + gap
    sheet = np.full((rows * h - gap, columns * w - gap, 3), 255, np.uint8)
    for i, image in enumerate(images):
        y, x = divmod(i, columns)
        sheet[y * h : y * h + image.shape[0], x * w : x * w + image.shape[1]] = image
    return sheet


def save_png(array: np.ndarray, path: Path) -> Path:
    """Write ``uint8 [H, W, 3]`` as PNG, whole or not at all; makes the folder.

    Raises:
        GanvasError: if it cannot be written.
    """
    with atomic_path(path) as temporary:
        Image.fromarray(array).save(temporary, format="PNG")
    return path


def save_grid(images: Tensor, path: Path, columns: int | None = None, scale: int = 2) -> Path:
    """Write ``[N, C, H, W]`` in [-1, 1] as one picture."""
    return save_png(tile(to_uint8(images), columns, scale), path)
