"""Differentiable augmentation (Zhao et al. 2020, DiffAugment, arXiv 2006.10738): colour, translation, cutout.

Real and generated images pass through the same kinds of random change before the discriminator, and the generator's
gradient passes back through them: the discriminator cannot learn the images by heart, and no change leaks into samples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from networks.augment.base import Augment

Change = Literal["color", "translation", "cutout"]

SHIFT = 0.125   # largest translation, as a share of the side
HOLE = 0.5      # side of the square that cutout blackens, as a share of the side


def color(x: Tensor) -> Tensor:
    """Brightness up to half of the half-range either way, saturation 0 to 2 times, contrast 0.5 to 1.5 times."""
    brightness, saturation, contrast = torch.rand(3, len(x), 1, 1, 1, device=x.device, dtype=x.dtype)
    x = x + brightness - 0.5
    grey = x.mean(dim=1, keepdim=True)
    x = grey + (x - grey) * (2 * saturation)
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    return mean + (x - mean) * (contrast + 0.5)


def translation(x: Tensor) -> Tensor:
    """Each image moved by whole pixels, with black (0) where nothing is left to show."""
    n, _, height, width = x.shape
    reach = [round(side * SHIFT) for side in (height, width)]
    top, left = (torch.randint(-r, r + 1, [n], device=x.device) for r in reach)
    rows = torch.arange(height, device=x.device) + top[:, None] + reach[0]    # [N, H], in the padded image
    columns = torch.arange(width, device=x.device) + left[:, None] + reach[1]
    padded = F.pad(x, (reach[1], reach[1], reach[0], reach[0]))
    image = torch.arange(n, device=x.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def cutout(x: Tensor) -> Tensor:
    """A square of half the side, anywhere, part of it perhaps outside, is black (0)."""
    n, _, height, width = x.shape
    inside = []
    for side in (height, width):
        size = round(side * HOLE)
        start = torch.randint(0, side + (1 - size % 2), [n, 1], device=x.device) - size // 2
        at = torch.arange(side, device=x.device)
        inside.append((at >= start) & (at < start + size))
    hole = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return x * ~hole


CHANGES: dict[str, Callable[[Tensor], Tensor]] = {"color": color, "translation": translation, "cutout": cutout}


class DiffAugment(Augment):
    """The changes, one after another, drawn anew for each image of each batch.

    Raises:
        ValueError: if a change is unknown.
    """

    def __init__(self, changes: Sequence[Change] = get_args(Change)) -> None:
        super().__init__()
        unknown = sorted({*changes} - CHANGES.keys())
        if unknown:
            raise ValueError(f"DiffAugment has the changes {', '.join(CHANGES)}, got {unknown[0]!r}")
        self.changes = tuple(changes)

    def forward(self, images: Tensor) -> Tensor:  # [N, C, H, W] -> the same shape
        for change in self.changes:
            images = CHANGES[change](images)
        return images
