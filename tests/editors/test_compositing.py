"""Pasting back: the photo itself outside, the edit inside, no seam between."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from editors.compositing import PASTES, paste
from networks.checkpoints.errors import GanvasError


def ramp(height: int, width: int, offset: int = 0) -> np.ndarray:
    rows, columns = np.indices((height, width))
    return (np.stack([rows, columns, rows + columns], -1) * 2 + offset).astype(np.uint8)


def square(size: int = 32, low: int = 10, high: int = 20) -> np.ndarray:
    region = np.zeros((size, size), bool)
    region[low:high, low:high] = True
    return region


@pytest.mark.parametrize("how", PASTES)
@given(height=st.integers(8, 60), width=st.integers(8, 60))
@hypothesis_settings(deadline=None, max_examples=15)
def test_far_from_the_region_the_photo_is_itself(how, height: int, width: int) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    region = np.zeros((16, 16), bool)
    region[:3, :3] = True
    pasted = paste(photo, np.zeros((16, 16, 3), np.uint8), region, how)
    assert pasted.shape == photo.shape
    side = max(height, width)
    edge = int(np.ceil(side * (3 / 16 + 0.04))) + 2
    top, left = (side - height) // 2, (side - width) // 2
    assert np.array_equal(pasted[max(edge - top, 0) :], photo[max(edge - top, 0) :])
    assert np.array_equal(pasted[:, max(edge - left, 0) :], photo[:, max(edge - left, 0) :])


@pytest.mark.parametrize("how", PASTES)
def test_an_edit_equal_to_the_photo_changes_nothing(how) -> None:
    photo = ramp(32, 32)
    assert abs(paste(photo, photo, square(), how).astype(int) - photo).max() <= 1


def test_feathering_shows_the_edit_itself_inside() -> None:
    edited = np.full((32, 32, 3), 200, np.uint8)
    pasted = paste(ramp(32, 32), edited, square(), "feather")
    assert (pasted[square()] == 200).all()


def test_poisson_takes_gradients_from_the_edit_and_colours_from_the_photo() -> None:
    # The same picture, 40 brighter: its gradients say "nothing changes", so the photo comes back.
    photo = ramp(32, 32)
    pasted = paste(photo, ramp(32, 32, offset=40), square(), "poisson")
    assert abs(pasted.astype(int) - photo).max() <= 1


def test_poisson_solves_its_equation() -> None:
    rng = np.random.default_rng(1)
    photo, edited = (rng.integers(80, 170, (24, 24, 3)).astype(np.uint8) for _ in range(2))
    region = square(24, 6, 18)
    f = paste(photo, edited, region, "poisson").astype(float)
    laplace = lambda x: 4 * x[1:-1, 1:-1] - x[:-2, 1:-1] - x[2:, 1:-1] - x[1:-1, :-2] - x[1:-1, 2:]  # noqa: E731
    inner = region[1:-1, 1:-1] & (f[1:-1, 1:-1] > 0).all(-1) & (f[1:-1, 1:-1] < 255).all(-1)
    difference = (laplace(f) - laplace(edited.astype(float)))[inner]
    assert abs(difference).mean() < 1.5  # rounding to 8 bits alone


def test_mixed_gradients_keep_the_photo_s_lines_and_take_the_edit_s() -> None:
    photo, edited = np.full((32, 32, 3), 100, np.uint8), np.full((32, 32, 3), 160, np.uint8)
    photo[15:17] = 20          # a line of the photo that goes on through the region
    edited[:, 15:17] = 220     # and one of the edit, across it
    mixed, plain = (paste(photo, edited, square(), how).astype(int) for how in ("poisson-mixed", "poisson"))
    contrast = lambda x: (x[11, 15] - x[11, 13]).mean(), lambda x: (x[13, 11] - x[15, 11]).mean()
    assert contrast[0](mixed) > 40  # the edit's line
    assert contrast[1](mixed) > 60  # the photo's line
    assert abs(contrast[1](plain)) < 20


@pytest.mark.parametrize("how", PASTES)
def test_regions_at_the_edge_and_empty_ones(how) -> None:
    photo, edited = ramp(32, 32), ramp(32, 32, offset=30)
    assert np.array_equal(paste(photo, edited, np.zeros((32, 32), bool), how), photo)
    whole = paste(photo, edited, np.ones((32, 32), bool), how)
    assert abs(whole.astype(int) - edited).max() <= 1


def test_an_unknown_way_is_refused() -> None:
    with pytest.raises(GanvasError, match="feather, poisson or poisson-mixed, not by glue"):
        paste(ramp(8, 8), ramp(8, 8), square(8, 2, 4), "glue")
