"""Out of the photo and back: where a face's square lies, and that nothing else changes."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from editors.alignment import Alignment
from editors.compositing import PASTES, paste
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.landmarks import read_landmarks

UPRIGHT = np.array([[40, 50], [60, 50], [50, 60], [42, 70], [58, 70]], dtype=np.float64)
HEIGHT, WIDTH = 96, 128


def turned(points: np.ndarray, degrees: float) -> np.ndarray:
    a = math.radians(degrees)
    return (points - 50) @ np.array([[math.cos(a), math.sin(a)], [-math.sin(a), math.cos(a)]]) + 50


def smooth_photo() -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal((HEIGHT, WIDTH, 3))
    smooth = ndimage.gaussian_filter(noise, (5, 5, 0))
    return np.clip(128 + 50 * smooth / smooth.std(), 0, 255).astype(np.uint8)


def in_square(alignment: Alignment, margin: float = 1.0) -> np.ndarray:
    """Pixels of the photo whose centres are in the square, or within a margin of it."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float64)
    x, y, half = x - alignment.centre[0], y - alignment.centre[1], alignment.side / 2
    (ax, ay) = np.array(alignment.across) / half
    return np.maximum(np.abs(ax * x + ay * y), np.abs(ax * y - ay * x)) <= half + margin


def test_the_square_of_an_upright_face() -> None:
    found = Alignment.of(UPRIGHT)  # eyes 20 apart, the mouth 20 below
    assert found.centre == (50, 52)
    assert found.across == (40, 0)
    assert found.side == 80


def test_68_points_and_5_say_the_same() -> None:
    points = np.zeros((68, 2))
    points[36:42], points[42:48], points[48], points[54] = UPRIGHT[0], UPRIGHT[1], UPRIGHT[3], UPRIGHT[4]
    assert Alignment.of(points) == Alignment.of(UPRIGHT)


@pytest.mark.parametrize("degrees", [-140, 30, 90])
def test_the_square_turns_and_grows_with_the_face(degrees: float) -> None:
    found, plain = Alignment.of(turned(UPRIGHT, degrees)), Alignment.of(UPRIGHT)
    assert found.side == pytest.approx(plain.side)
    assert math.degrees(math.atan2(found.across[1], found.across[0])) == pytest.approx(degrees)
    assert Alignment.of(2 * UPRIGHT).side == pytest.approx(2 * plain.side)


def test_a_square_that_is_a_part_of_the_photo_is_cut_pixel_by_pixel() -> None:
    photo = smooth_photo()
    alignment = Alignment((47.5, 39.5), (16, 0))
    assert np.array_equal(alignment.crop(photo, 32), photo[24:56, 32:64])
    assert np.array_equal(alignment.crop_mask(photo[..., 0], 32), photo[24:56, 32:64, 0])
    quarter = Alignment((47.5, 39.5), (0, 16))  # its right is down in the photo
    assert np.array_equal(quarter.crop(photo, 32), np.rot90(photo[24:56, 32:64]))


@pytest.mark.parametrize("degrees", [0, 17, -75])
@pytest.mark.parametrize("size", [48, 80, 200])
def test_there_and_back_is_the_photo(degrees: float, size: int) -> None:
    photo, alignment = smooth_photo(), Alignment.of(turned(UPRIGHT, degrees))
    everywhere = np.ones((size, size), dtype=bool)
    shown, where = alignment.back(alignment.crop(photo, size), everywhere, photo)
    assert np.abs(shown - photo)[where].mean() < 1.5
    square = in_square(alignment)
    assert not where[~square].any()
    assert where[in_square(alignment, margin=-1)].all()
    assert np.array_equal(shown[~square], photo[~square])


@pytest.mark.parametrize("how", PASTES)
def test_outside_the_crop_the_photo_stays_bit_for_bit(how: str) -> None:
    photo, alignment, size = smooth_photo(), Alignment.of(turned(UPRIGHT, 25)), 64
    region = np.ones((size, size), dtype=bool)  # up to the crop's edge, where a feather would reach over it
    pasted = paste(photo, 255 - alignment.crop(photo, size), region, how, alignment)
    outside = ~in_square(alignment)
    assert np.array_equal(pasted[outside], photo[outside])
    assert not np.array_equal(pasted, photo)
    inner = np.zeros_like(region)
    inner[28:36, 28:36] = True
    pasted = paste(photo, 255 - alignment.crop(photo, size), inner, how, alignment)
    changed = (pasted != photo).any(-1)
    y, x = np.nonzero(changed)
    assert 0 < changed.sum() < 0.1 * changed.size
    assert abs(x.mean() - alignment.centre[0]) < 1
    assert abs(y.mean() - alignment.centre[1]) < 1


def test_a_photo_is_mirrored_beyond_its_edges() -> None:
    photo = smooth_photo()
    crop = Alignment((0.0, 48.0), (20, 0)).crop(photo, 40)
    assert np.abs(crop[:, :20].astype(int) - crop[:, 20:][:, ::-1]).mean() < 3


def test_what_is_no_face() -> None:
    with pytest.raises(GanvasError, match="do not span a face"):
        Alignment.of(np.full((5, 2), 7.0))
    with pytest.raises(GanvasError, match="around 400, 52, outside the photo of 128x96"):
        Alignment((400, 52), (40, 0)).crop(smooth_photo(), 32)


@pytest.mark.parametrize("suffix", [".json", ".txt", ".npy", ".npz"])
def test_landmarks_in_every_form(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"face{suffix}"
    if suffix == ".json":
        path.write_text(json.dumps(UPRIGHT.tolist()))
    elif suffix == ".txt":
        path.write_text("".join(f"{x}, {y}\n" for x, y in UPRIGHT))
    elif suffix == ".npy":
        np.save(path, UPRIGHT)
    else:
        np.savez(path, landmarks=UPRIGHT, score=1.0)
    assert np.array_equal(read_landmarks(path), UPRIGHT)


@pytest.mark.parametrize(("name", "text", "says"), [
    ("a.json", "[[1, 2], [3, 4]]", r"must hold 68 or 5 points .* and holds \[2, 2\]"),
    ("a.json", '{"points": []}', "holds no landmarks"),
    ("a.json", "{", "holds no landmarks"),
    ("a.txt", "one two", "holds no landmarks"),
    ("a.txt", "1 nan\n" * 5, "NaN or infinite"),
    ("a.npz", "text", "holds no landmarks"),
    ("a.csv", "1,2", "landmarks are read from .json, .txt, .npz, .npy"),
])  # fmt: skip
def test_what_holds_no_landmarks(tmp_path: Path, name: str, text: str, says: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(GanvasError, match=says):
        read_landmarks(tmp_path / name)
    with pytest.raises(GanvasError, match="cannot be read"):
        read_landmarks(tmp_path / f"no{name[1:]}" if not name.endswith("csv") else tmp_path / "no.txt")
