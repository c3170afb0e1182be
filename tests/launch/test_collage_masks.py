"""Masks of a collage at the generator's size, and where those of a photo's own size let it change."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from launch.collage_masks import MaskFit
from networks.checkpoints.errors import GanvasError

FILE = Path("mask.png")


def mask(size: int, dtype: type = np.float32) -> np.ndarray:
    """The left third."""
    found = np.zeros((size, size), dtype)
    found[:, : size // 3] = 1
    return found


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_what_is_drawn_at_the_photo_s_size_says_where_it_may_change(dtype: type) -> None:
    fit = MaskFit([np.zeros((32, 32, 3), np.uint8)] * 2, 8)
    assert fit(mask(32, dtype), 0, FILE).shape == (8, 8)
    np.testing.assert_array_equal(fit.within(0), mask(32) > 0)
    assert fit.within(1) is None, "nothing was drawn for it"
    fit(mask(32, dtype).T, 0, FILE)
    np.testing.assert_array_equal(fit.within(0), (mask(32) + mask(32).T) > 0)
    given = mask(8, dtype)
    assert fit(given, 0, FILE) is given
    assert fit.within(0) is None, "this one is known in the generator's pixels alone"
    fit(mask(32, dtype), 0, FILE)
    assert fit.within(0) is None


def test_a_mask_of_another_size_is_refused() -> None:
    with pytest.raises(GanvasError, match=r"mask.png is 9x9, which is not .* nor that of its photo"):
        MaskFit([np.zeros((32, 32, 3), np.uint8)], 8)(mask(9), 0, FILE)
    with pytest.raises(GanvasError, match=r"which is not the 8x8 of the generator: give"):
        MaskFit([], 8)(mask(32), 0, FILE)
