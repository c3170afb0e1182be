"""Avatars of several styles, with the style as their class: what a class-conditional GAN learns from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from datamodules.avatars import render_avatars
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
    if len(styles) < 2 or len(set(styles)) < len(styles):
        raise GanvasError(f"data.styles must name at least two styles, none twice, got {', '.join(styles) or 'none'}.")
    if count < len(styles):
        raise GanvasError(f"{count} images cannot show {len(styles)} styles: raise the number, or name fewer styles.")
    k = len(styles)
    images = np.empty([count, 3, resolution, resolution], np.uint8)
    for i, style in enumerate(styles):
        images[i::k] = render_avatars(len(images[i::k]), split, seed, resolution, style=style).images
    return StyledAvatars(images, np.eye(k, dtype=np.float32)[np.arange(count) % k])
