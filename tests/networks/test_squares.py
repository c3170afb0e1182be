"""Pictures of any shape go into a square and come back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from networks.checkpoints.classes import IGNORE
from networks.checkpoints.squares import classes_from_square, mask_to_square, to_square, window

SIDES = st.integers(1, 40)


def within(found: tuple[int, int, int, int], side: int) -> np.ndarray:
    top, left, height, width = found
    inside = np.zeros((side, side), dtype=bool)
    inside[top : top + height, left : left + width] = True
    return inside


@settings(deadline=None, max_examples=200)
@given(height=SIDES, width=SIDES, resolution=st.sampled_from([None, 4, 16, 32]))
def test_the_mask_is_ignored_just_outside_the_window(height: int, width: int, resolution: int | None) -> None:
    side = resolution or max(height, width)
    found = within(window(height, width, resolution), side)
    mask = mask_to_square(np.ones((height, width), dtype=np.uint8), resolution)
    assert mask.shape == (side, side)
    assert found.any()
    if (mask == 1).any():   # a line so thin that no pixel of the square has its centre in it leaves none
        np.testing.assert_array_equal(mask, np.where(found, 1, IGNORE))


@settings(deadline=None, max_examples=100)
@given(height=SIDES, width=SIDES)
def test_without_a_resolution_nothing_but_the_margin_is_new(height: int, width: int) -> None:
    image = np.random.default_rng(0).integers(1, 256, (3, height, width), dtype=np.uint8)
    square, found = to_square(image), within(window(height, width), max(height, width))
    np.testing.assert_array_equal(square[:, found].reshape(image.shape), image)
    assert (square[:, ~found] == 0).all()


@settings(deadline=None, max_examples=100)
@given(height=SIDES, width=SIDES)
def test_classes_come_back_exactly_where_nothing_was_resized(height: int, width: int) -> None:
    ids = np.random.default_rng(0).integers(0, 3, (height, width), dtype=np.uint8)
    square = mask_to_square(ids)
    probabilities = np.stack([square == k for k in range(3)]).astype(np.float32)
    np.testing.assert_array_equal(classes_from_square(probabilities, height, width), ids)


@pytest.mark.parametrize(("height", "width"), [(600, 400), (400, 600), (512, 512)])
def test_an_outline_comes_back_where_it_was(height: int, width: int) -> None:
    y, x = np.mgrid[:height, :width]
    disc = ((y - 0.5 * height) ** 2 + (x - 0.45 * width) ** 2 < 150**2).astype(np.uint8)
    share = to_square(np.stack([disc * 255]), 64)[0] / 255
    found = classes_from_square(np.stack([1 - share, share]), height, width)
    overlap = (found & disc).sum() / (found | disc).sum()
    assert overlap > 0.98
    assert found.dtype == np.uint8


def test_crop_takes_the_middle_and_stretch_all_of_it() -> None:
    image = np.arange(24, dtype=np.uint8).reshape(1, 4, 6)
    np.testing.assert_array_equal(to_square(image, fit="crop"), image[:, :, 1:5])
    np.testing.assert_array_equal(to_square(image.transpose(0, 2, 1), fit="crop"), image.transpose(0, 2, 1)[:, 1:5])
    columns = np.tile(np.array([0, 0, 90, 90], np.uint8), (1, 8, 1))
    np.testing.assert_array_equal(to_square(columns, 4, "stretch"), np.tile([0, 0, 90, 90], (1, 4, 1)))
    assert to_square(columns, fit="stretch").shape == (1, 8, 8)


@settings(deadline=None, max_examples=50)
@given(height=SIDES, width=SIDES, resolution=st.integers(1, 40), fit=st.sampled_from(["pad", "crop", "stretch"]))
def test_every_fit_gives_the_resolution(height: int, width: int, resolution: int, fit: str) -> None:
    flat = np.full((3, height, width), 77, np.uint8)
    square = to_square(flat, resolution, fit)
    assert square.shape == (3, resolution, resolution)
    if fit != "pad":
        assert (square == 77).all()
