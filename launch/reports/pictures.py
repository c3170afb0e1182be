"""Pictures of segmentations: masks in their palette, errors, uncertainty, and rows of panels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from datamodules.masks import IGNORE, ClassList
from networks.grids import tile

GAP = 4          # pixels between panels
CAPTION = 16     # height of the line above a column


def overlay(images: np.ndarray, masks: np.ndarray, classes: ClassList, strength: float = 0.65) -> np.ndarray:
    """Masks in colour over their images, ``uint8 [N, H, W, 3]``."""
    mixed = classes.paint(masks) * strength + images * (1 - strength)
    return mixed.round().astype(np.uint8)


def errors(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Wrong pixels red, right ones dark, ignored ones grey: ``uint8 [N, H, W, 3]``."""
    picture = np.full((*truth.shape, 3), 32, np.uint8)
    picture[predicted != truth] = (235, 60, 50)
    picture[truth == IGNORE] = 200
    return picture


def heat(values: np.ndarray, top: float) -> np.ndarray:
    """Values ``[N, H, W]`` from 0 to ``top`` as black, red, yellow, white: ``uint8 [N, H, W, 3]``."""
    t = np.clip(values / max(top, 1e-12), 0, 1)[..., None] * 3
    return (np.clip(t - np.arange(3), 0, 1) * 255).round().astype(np.uint8)


def panels(columns: dict[str, np.ndarray], across: int = 2, scale: int = 2) -> Image.Image:
    """A sheet of rows: each item shows its panels side by side, ``across`` items beside one another.

    Args:
        columns: caption -> ``uint8 [N, H, W, 3]``, the panels of each item in order.
        across: items in a row of the sheet.
        scale: enlargement.
    """
    stacked = np.stack(list(columns.values()), axis=1)  # [N, columns, H, W, 3]
    per_item, width = stacked.shape[1], stacked.shape[3]
    across = min(across, len(stacked))
    items = np.stack([tile(item, per_item, scale, GAP) for item in stacked])
    sheet = tile(items, across, 1, 3 * GAP)
    picture = Image.new("RGB", (sheet.shape[1], sheet.shape[0] + CAPTION), "white")
    picture.paste(Image.fromarray(sheet), (0, CAPTION))
    _captions(picture, list(columns), across, width * scale + GAP, items.shape[2] + 3 * GAP)
    return picture


def _captions(picture: Image.Image, names: Sequence[str], across: int, step: int, item: int) -> None:
    draw = ImageDraw.Draw(picture)
    for group in range(across):
        for i, name in enumerate(names):
            draw.text((group * item + i * step + 2, 2), name, fill="black")


def legend(classes: ClassList, columns: int = 6) -> Image.Image:
    """The class palette with names."""
    rows = -(-len(classes) // columns)
    picture = Image.new("RGB", (columns * 130, rows * 20), "white")
    draw = ImageDraw.Draw(picture)
    for i, (name, color) in enumerate(zip(classes.names, classes.palette, strict=True)):
        y, x = divmod(i, columns)
        draw.rectangle((x * 130 + 2, y * 20 + 3, x * 130 + 16, y * 20 + 16), fill=color, outline="black")
        draw.text((x * 130 + 22, y * 20 + 4), name, fill="black")
    return picture
