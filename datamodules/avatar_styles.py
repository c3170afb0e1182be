"""Avatars of several styles: with the style as their class, for a class-conditional GAN, or with masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from datamodules.avatars import AVATAR_CLASSES, render_avatars
from datamodules.masks import LabelledImages
from networks.checkpoints.errors import GanvasError


class StyledAvatars(NamedTuple):
    """Images and their classes, the styles in turn."""

    images: np.ndarray  # uint8 [N, 3, R, R]
    labels: np.ndarray  # float32 [N, styles], one-hot


def render_styles(styles: Sequence[str], count: int, split: str, seed: int, resolution: int) -> StyledAvatars:
    """Image ``i`` is of style ``i % len(styles)``, and depends only on ``(style, split, seed, i // len(styles))``.

    Args:
        styles: DiceBear styles, at least two.
        count: images of all styles together.
        split: one of ``datamodules.avatars.SPLITS``.
        seed: the draw within the split.
        resolution: pixels a side.

    Raises:
        GanvasError: for fewer than two styles, one that is named twice, fewer images than styles, and as
            :func:`datamodules.avatars.render_avatars`.
    """
    k = _number(styles)
    if count < k:
        raise GanvasError(f"{count} images cannot show {k} styles: raise the number, or name fewer styles.")
    images = label_styles(styles, count, split, seed, resolution, masks=False).images
    return StyledAvatars(images, np.eye(k, dtype=np.float32)[np.arange(count) % k])


def label_styles(
    styles: Sequence[str], count: int, split: str, seed: int, resolution: int, masks: bool = True
) -> LabelledImages:  # fmt: skip
    """The images of :func:`render_styles`, with masks if wanted; their names begin with the style.

    Raises:
        GanvasError: as :func:`render_styles`, but for few images, and for masks of a style whose parts have no classes.
    """
    k = _number(styles)
    images = np.empty([count, 3, resolution, resolution], np.uint8)
    drawn = np.empty([count, resolution, resolution], np.uint8) if masks else None
    names = [""] * count
    for i, style in enumerate(styles[:count]):
        found = render_avatars(len(images[i::k]), split, seed, resolution, masks, style)
        images[i::k], names[i::k] = found.images, [f"{style}-{name}" for name in found.names]
        if drawn is not None:
            drawn[i::k] = found.masks
    return LabelledImages(images, drawn, tuple(names), AVATAR_CLASSES if masks else None)


def _number(styles: Sequence[str]) -> int:
    if len(styles) < 2 or len(set(styles)) < len(styles):
        raise GanvasError(f"data.styles must name at least two styles, none twice, got {', '.join(styles) or 'none'}.")
    return len(styles)
