"""Pictures of edits by text: before and after, one image at several strengths, and what a strength costs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from PIL import Image
from torch import Tensor

from launch.reports.edits import LARGEST_CHANGE, SHOWN
from launch.reports.pictures import heat, panels
from networks.grids import to_uint8


def text_sheet(before: Tensor, after: Tensor, given: Tensor | None = None) -> Image.Image:
    """The first images: before, after, and what changed, black where nothing did and white at half of full scale.

    Args:
        before: ``[N, C, R, R]`` in [-1, 1].
        after: the same.
        given: the images whose inversions were edited; they stand in front.
    """
    before, after = before[:SHOWN], after[:SHOWN]
    change = heat(((after - before).abs().mean(1) / 2).numpy(), LARGEST_CHANGE)
    columns = {} if given is None else {"given": to_uint8(given[:SHOWN])}
    columns |= {"before": to_uint8(before), "after": to_uint8(after), "change": change}
    return panels(columns, across=1 if len(before) < 4 else 2)


def strengths_sheet(images: Mapping[str, Tensor]) -> Image.Image:
    """The first images, one column a strength; ``images`` are ``[N, C, R, R]`` in [-1, 1] by caption."""
    columns: dict[str, np.ndarray] = {caption: to_uint8(each[:SHOWN]) for caption, each in images.items()}
    return panels(columns, across=1)
