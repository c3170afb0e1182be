"""Masks survive a round trip, and every way to save one wrongly gets its own sentence."""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from networks.checkpoints.classes import IGNORE, IGNORE_COLOR, ClassList, Color, voc_palette
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.images import read_image, write_image
from networks.checkpoints.masks import read_mask, write_mask

THREE = ClassList(("sky", "sea", "land"), ((0, 0, 0), (0, 0, 255), (90, 60, 30)))


@st.composite
def masks_with_classes(draw) -> tuple[np.ndarray, ClassList]:
    count = draw(st.integers(1, 255))
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=2, max_side=9))
    ids = st.integers(0, count - 1) | st.just(IGNORE)
    return draw(hnp.arrays(np.uint8, shape, elements=ids)), ClassList.of_names([f"c{i}" for i in range(count)])


def test_voc_palette_never_repeats_and_never_says_ignore() -> None:
    palette = voc_palette(255)
    assert len({*palette, IGNORE_COLOR}) == 256


@settings(deadline=None, max_examples=40)
@given(masks_with_classes())
def test_index_png_round_trip(tmp_path_factory, drawn) -> None:
    mask, classes = drawn
    path = tmp_path_factory.mktemp("masks") / "m.png"
    write_mask(path, mask, classes)
    np.testing.assert_array_equal(read_mask(path, classes), mask)
    np.testing.assert_array_equal(np.asarray(Image.open(path).convert("RGB")), classes.paint(mask))
    assert [p.name for p in path.parent.iterdir()] == ["m.png"]


@settings(deadline=None, max_examples=40)
@given(masks_with_classes(), st.sampled_from(["RGB", "RGBA", "L", "grey16"]))
def test_other_kinds_of_png_give_the_same_ids(tmp_path_factory, drawn, kind: str) -> None:
    mask, classes = drawn
    path = tmp_path_factory.mktemp("masks") / "m.png"
    if kind == "L":
        image = Image.fromarray(mask)
    elif kind == "grey16":
        image = Image.fromarray(mask.astype(np.uint16))
    else:
        image = Image.fromarray(classes.paint(mask)).convert(kind)
    image.save(path)
    np.testing.assert_array_equal(read_mask(path, classes), mask)


def test_a_reindexed_palette_is_read_by_its_colours(tmp_path: Path) -> None:
    mask = np.array([[0, 1], [2, IGNORE]], dtype=np.uint8)
    image = Image.fromarray(np.array([[3, 2], [1, 0]], dtype=np.uint8))
    image.putpalette([*IGNORE_COLOR, *THREE.palette[2], *THREE.palette[1], *THREE.palette[0]])
    image.save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png", THREE), mask)


def test_a_foreign_palette_leaves_the_ids_alone(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[2, 1, 0]], dtype=np.uint8))
    image.putpalette([1, 2, 3, 4, 5, 6, 7, 8, 9])
    image.save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png", THREE), [[2, 1, 0]])


TWENTY = ClassList.of_names([f"c{i}" for i in range(20)])


def save_indexed(path: Path, ids: list[int], palette: Sequence[Color]) -> None:
    """An index PNG of one row with just these colours. Of at most 16, Pillow keeps no more than four bits of an id."""
    image = Image.fromarray(np.array([ids], dtype=np.uint8))
    image.putpalette([v for color in palette for v in color])
    image.save(path)


def test_a_foreign_id_in_our_own_palette_is_named(tmp_path: Path) -> None:
    write_mask(tmp_path / "m.png", np.array([[0, 10, 5], [255, 1, 2]], dtype=np.uint8), TWENTY)
    image = Image.open(tmp_path / "m.png")
    image.putpixel((1, 1), 77)   # painted like "ignore", as all ids without a class are
    image.save(tmp_path / "m.png")
    with pytest.raises(GanvasError, match=r"class id 77 at pixel \(x=1, y=1\).* ends at 19 \('c19'.*correct"):
        read_mask(tmp_path / "m.png", TWENTY)


@pytest.mark.parametrize(
    "palette",
    [
        (*TWENTY.palette, *[(0, 0, 0)] * 236),               # filled up with black, which is class 0's
        (*TWENTY.palette, *[IGNORE_COLOR] * 236),
        voc_palette(255),                                    # 77 has a colour, but no class
        (*TWENTY.palette, *[(9, 9, 9)] * 236),
    ],
)
def test_a_foreign_id_is_named_whatever_its_colour(tmp_path: Path, palette: Sequence[Color]) -> None:
    save_indexed(tmp_path / "m.png", [0, 3, 77, 10], palette)
    with pytest.raises(GanvasError, match=r"m\.png has class id 77 at pixel \(x=2, y=0\).* ends at 19"):
        read_mask(tmp_path / "m.png", TWENTY)
    save_indexed(tmp_path / "m.png", [0, 3, 255, 10], palette)
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png", TWENTY), [[0, 3, 255, 10]])


@pytest.mark.parametrize("foreign", [20, 77])
def test_an_id_beyond_the_file_s_palette_is_named(tmp_path: Path, foreign: int) -> None:
    save_indexed(tmp_path / "m.png", [0, 3, foreign, 10], TWENTY.palette)
    with pytest.raises(GanvasError, match=rf"m\.png has class id {foreign} at pixel \(x=2, y=0\).*palette ends at 19"):
        read_mask(tmp_path / "m.png", TWENTY)


def test_ignore_needs_no_colour(tmp_path: Path) -> None:
    save_indexed(tmp_path / "m.png", [0, 3, 255, 10], TWENTY.palette)
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png", TWENTY), [[0, 3, 255, 10]])


def test_a_mask_whose_palette_was_made_compact_is_read_by_its_colours(tmp_path: Path) -> None:
    # What an optimiser makes of ids 0, 1, 7 and 255: the colours in use, one after another.
    save_indexed(tmp_path / "m.png", [0, 1, 2, 3], (*TWENTY.palette[:2], TWENTY.palette[7], IGNORE_COLOR))
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png", TWENTY), [[0, 1, 7, IGNORE]])


def test_a_palette_of_one_colour_tells_nothing(tmp_path: Path) -> None:
    save_indexed(tmp_path / "m.png", [0, 1, 2], [(0, 0, 0)] * 256)
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png", TWENTY), [[0, 1, 2]])


def test_opaque_alpha_is_no_colour(tmp_path: Path) -> None:
    ids = np.array([[0, 1, 2, 255]], dtype=np.uint8)
    image = Image.merge("LA", (Image.fromarray(ids), Image.new("L", (4, 1), 255)))
    image.save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png", THREE), ids)
    image.putpixel((2, 0), (7, 255))
    image.save(tmp_path / "m.png")
    with pytest.raises(GanvasError, match=r"has class id 7 at pixel \(x=2, y=0\)"):
        read_mask(tmp_path / "m.png", THREE)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_an_id_outside_the_class_list_is_named_with_its_pixel(tmp_path: Path, dtype: type) -> None:
    mask = np.zeros((4, 5), dtype=dtype)
    mask[2, 3] = 7
    Image.fromarray(mask).save(tmp_path / "m.png")
    with pytest.raises(GanvasError, match=r"m\.png has class id 7 at pixel \(x=3, y=2\).* ends at 2 \('land'"):
        read_mask(tmp_path / "m.png", THREE)


def test_a_colour_of_no_class_is_named_with_its_pixel(tmp_path: Path) -> None:
    rgb = THREE.paint(np.ones((4, 5), dtype=np.uint8))
    rgb[1, 4] = (0, 0, 254)
    Image.fromarray(rgb).save(tmp_path / "m.png")
    with pytest.raises(GanvasError, match=r"m\.png has colour #0000fe at pixel \(x=4, y=1\)"):
        read_mask(tmp_path / "m.png", THREE)


def test_wide_grey_with_alpha_is_refused(tmp_path: Path) -> None:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 3, 1, 16, 4, 0, 0, 0)   # 3x1, 16 bits, grey and alpha; Pillow cannot write it
    row = b"\0" + struct.pack(">6H", 0, 65535, 1, 65535, 2, 65535)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(row)), chunk(b"IEND", b""))
    (tmp_path / "m.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    with pytest.raises(GanvasError, match="16-bit grey with an alpha channel"):
        read_mask(tmp_path / "m.png", THREE)


@pytest.mark.parametrize("kind", ["LA", "RGBA"])
def test_a_transparent_mask_is_refused(tmp_path: Path, kind: str) -> None:
    image = Image.new("L", (3, 3), 1).convert(kind)
    image.putpixel((2, 1), (1, 254) if kind == "LA" else (0, 0, 255, 254))
    image.save(tmp_path / "m.png")
    with pytest.raises(GanvasError, match=r"partly transparent, first at pixel \(x=2, y=1\).*without an alpha channel"):
        read_mask(tmp_path / "m.png", THREE)


def test_a_mask_without_a_class_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="ids below 3 or 255"):
        write_mask(tmp_path / "m.png", np.full((2, 2), 3, dtype=np.uint8), THREE)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("keep", [0, 20, 60, 200])
def test_damaged_files_are_named(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "broken.png"
    rng = np.random.default_rng(0)
    write_image(path, rng.integers(0, 256, (3, 16, 16), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(GanvasError, match=r"broken\.png cannot be read as an image .* truncated"):
        read_image(path)
    with pytest.raises(GanvasError, match=r"broken\.png cannot be read as an image"):
        read_mask(path, THREE)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(GanvasError, match=re.escape(f"There is no file {tmp_path / 'no.png'}")):
        read_image(tmp_path / "no.png")


def test_image_round_trip(tmp_path: Path) -> None:
    image = np.random.default_rng(1).integers(0, 256, (3, 7, 5), dtype=np.uint8)
    write_image(tmp_path / "i.png", image)
    np.testing.assert_array_equal(read_image(tmp_path / "i.png"), image)


def test_every_kind_of_picture_becomes_rgb(tmp_path: Path) -> None:
    grey = np.arange(0, 250, 10, dtype=np.uint8).reshape(5, 5)
    path = tmp_path / "i.png"
    Image.fromarray(grey).save(path)
    np.testing.assert_array_equal(read_image(path), np.stack([grey] * 3))
    Image.fromarray(grey.astype(np.uint16) * 257).save(path)   # 16 bits: black stays 0, white 65535 becomes 255
    np.testing.assert_array_equal(read_image(path), np.stack([grey] * 3))
    Image.fromarray(grey > 100).save(path)
    np.testing.assert_array_equal(read_image(path)[0], np.where(grey > 100, 255, 0))
    Image.fromarray(np.stack([grey] * 3, -1)).quantize().save(path)
    np.testing.assert_array_equal(read_image(path), np.stack([grey] * 3))


def test_transparency_is_shown_on_white(tmp_path: Path) -> None:
    Image.new("RGBA", (2, 2), (255, 0, 0, 0)).save(tmp_path / "i.png")
    assert (read_image(tmp_path / "i.png") == 255).all()


def test_numbers_without_a_range_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.ones((2, 2), dtype=np.float32)).save(tmp_path / "i.tif")
    with pytest.raises(GanvasError, match="32-bit numbers"):
        read_image(tmp_path / "i.tif")


def test_class_list_round_trip_and_default_colours() -> None:
    assert ClassList.from_json(json.loads(json.dumps(THREE.to_json()))) == THREE
    assert ClassList.from_json(["a", "b"]).palette == voc_palette(2)


@pytest.mark.parametrize(
    ("names", "palette", "message"),
    [
        ((), (), "1 to 255 classes"),
        (("a", "a"), ((0, 0, 0), (1, 1, 1)), "^the class name 'a' is used twice$"),
        (("a", "b"), ((1, 1, 10), (1, 1, 10)), "^the class colour #01010a is used twice$"),
        (("a",), (IGNORE_COLOR,), "^the class colour #e0e0c0 belongs to 'ignore'$"),
        (("a",), ((0, 0, 256),), "from 0 to 255"),
        (("a", "b"), ((0, 0, 0),), "2 class names but 1 colours"),
    ],
)
def test_unusable_class_lists(names, palette, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClassList(names, palette)
