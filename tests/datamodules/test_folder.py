"""A folder that a person brings: what is read from it, and what is said when something is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from datamodules.folder import read_classes, read_folder, write_folder
from datamodules.masks import LabelledImages
from networks.checkpoints.classes import IGNORE, ClassList, voc_palette
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.images import write_image
from networks.checkpoints.masks import write_mask

CLASSES = ClassList(("none", "cat", "dog"), ((0, 0, 0), (200, 0, 0), (0, 0, 200)))


def some_labelled(count: int = 3, size: int = 8, seed: int = 0) -> LabelledImages:
    rng = np.random.default_rng(seed)
    return LabelledImages(
        images=rng.integers(0, 256, (count, 3, size, size), dtype=np.uint8),
        masks=rng.choice(np.array([0, 1, 2, IGNORE], dtype=np.uint8), (count, size, size)),
        names=tuple(f"pet-{i:02d}" for i in range(count)),
        classes=CLASSES,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(some_labelled(), tmp_path / "pets")


@settings(deadline=None, max_examples=15)
@given(count=st.integers(1, 4), size=st.integers(1, 12), seed=st.integers(0, 99))
def test_what_is_written_is_read_back(tmp_path_factory, count: int, size: int, seed: int) -> None:
    labelled = some_labelled(count, size, seed)
    out = write_folder(labelled, tmp_path_factory.mktemp("out"))
    again = read_folder(out / "images", out / "masks")
    np.testing.assert_array_equal(again.images, labelled.images)
    np.testing.assert_array_equal(again.masks, labelled.masks)
    assert (again.names, again.classes) == (labelled.names, labelled.classes)
    np.testing.assert_array_equal(again.valid, [[0, 0, size, size]] * count)


def test_images_alone(folder: Path) -> None:
    alone = read_folder(folder / "images")
    assert alone.masks is None
    assert alone.classes is None
    assert len(alone) == 3


def test_images_not_labelled_yet_are_left_out_on_request(folder: Path) -> None:
    (folder / "masks" / "pet-01.png").unlink()
    with pytest.raises(GanvasError, match=r"pet-01\.png has no mask"):
        read_folder(folder / "images", folder / "masks")
    part, whole = read_folder(folder / "images", folder / "masks", partial=True), some_labelled()
    assert part.names == ("pet-00", "pet-02")
    np.testing.assert_array_equal(part.images, whole.images[[0, 2]])
    np.testing.assert_array_equal(part.masks, whole.masks[[0, 2]])
    (folder / "images" / "pet-02.png").unlink()
    with pytest.raises(GanvasError, match=r"pet-02\.png has no image"):
        read_folder(folder / "images", folder / "masks", partial=True)


def test_a_full_folder_is_not_written_into(folder: Path) -> None:
    with pytest.raises(GanvasError, match="already exists"):
        write_folder(some_labelled(), folder)


def test_classes_txt_and_the_argument(folder: Path, tmp_path: Path) -> None:
    (folder / "masks" / "classes.json").unlink()
    (folder / "masks" / "classes.txt").write_text("bg\nfeline\n\ncanine\n", encoding="utf-8")
    with pytest.raises(GanvasError, match="end") as caught:   # the palette of the files is not the VOC one: ids stand
        read_folder(folder / "images", folder / "masks", classes=ClassList.of_names(["only one"]))
    assert "only one" in str(caught.value)
    assert read_folder(folder / "images", folder / "masks").classes == ClassList.of_names(["bg", "feline", "canine"])


def test_a_class_file_may_give_colours(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "classes.txt"
    file.write_text("\ufeffnone #000000\r\nhouse cat  #C80000 \n\ndog #0000c8\n", encoding="utf-8")
    read = read_folder(folder / "images", folder / "masks", file)
    assert read.classes == ClassList(("none", "house cat", "dog"), CLASSES.palette)
    np.testing.assert_array_equal(read.masks, some_labelled().masks)
    for mask in (folder / "masks").glob("*.png"):
        Image.open(mask).convert("RGB").save(mask)   # now the colours are all there is
    np.testing.assert_array_equal(read_folder(folder / "images", folder / "masks", file).masks, some_labelled().masks)


def test_classes_without_a_colour_get_one_that_is_free(tmp_path: Path) -> None:
    file, voc = tmp_path / "classes.txt", voc_palette(5)
    file.write_text("a\nb #000000\nc\nNo. #5 of all\n", encoding="utf-8")   # b takes the colour of a's place
    assert read_classes(file) == ClassList(("a", "b", "c", "No. #5 of all"), (voc[4], (0, 0, 0), voc[2], voc[3]))
    file.write_text("\n".join(f"c{i}" for i in range(254)) + "\nlast #000000", encoding="utf-8")
    assert len(read_classes(file)) == 255


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a\ncat #12", r"line 2 ends in '#12', which is no colour of the form #rrggbb"),
        ("cat #gg0000", r"line 1 ends in '#gg0000'"),
        ("a\n\n#00ff00", r"line 3 has a colour, but no class name"),
        ("a #ff0000\nb #FF0000", r"the class colour #ff0000 is used twice"),
        ("a #e0e0c0", r"the class colour #e0e0c0 belongs to 'ignore'"),
        ("a\na", r"the class name 'a' is used twice"),
        ("\n", r"1 to 255 classes, got 0"),
        ("\n".join(map(str, range(256))), r"1 to 255 classes, got 256"),
    ],
)
def test_a_class_file_that_is_not_usable(tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "classes.txt"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(GanvasError, match=rf"The class file .*classes\.txt is not usable: .*{sentence}"):
        read_classes(file)


def test_classes_are_inferred_from_ids_and_palette(folder: Path) -> None:
    (folder / "masks" / "classes.json").unlink()
    inferred = read_folder(folder / "images", folder / "masks")
    assert inferred.classes == ClassList(("class 0", "class 1", "class 2"), CLASSES.palette)
    np.testing.assert_array_equal(inferred.masks, some_labelled().masks)


@pytest.mark.parametrize("kind", ["L", "LA"])
def test_grey_masks_get_the_voc_colours(tmp_path: Path, kind: str) -> None:
    for sub in ("images", "masks"):
        (tmp_path / sub).mkdir()
    write_image(tmp_path / "images" / "a.png", np.zeros((3, 2, 2), dtype=np.uint8))
    ids = np.array([[0, 1], [4, 255]], dtype=np.uint8)
    Image.fromarray(ids).convert(kind).save(tmp_path / "masks" / "a.png")
    read = read_folder(tmp_path / "images", tmp_path / "masks")
    assert read.classes.palette == voc_palette(5)
    np.testing.assert_array_equal(read.masks[0], ids)


def test_a_black_and_white_mask_is_not_taken_for_ignore(tmp_path: Path) -> None:
    for sub in ("images", "masks"):
        (tmp_path / sub).mkdir()
    write_image(tmp_path / "images" / "a.png", np.zeros((3, 2, 2), dtype=np.uint8))
    Image.fromarray(np.array([[0, 255], [0, 0]], dtype=np.uint8)).save(tmp_path / "masks" / "a.png")
    with pytest.raises(GanvasError, match="only 0 and 255"):
        read_folder(tmp_path / "images", tmp_path / "masks")


@settings(deadline=None, max_examples=25)
@given(height=st.integers(1, 12), width=st.integers(1, 12), resolution=st.sampled_from([None, 4, 8, 16]))
def test_any_shape_becomes_a_square_whose_margin_is_ignored(tmp_path_factory, height, width, resolution) -> None:
    root = tmp_path_factory.mktemp("pads")
    write_image(root / "a.png", np.full((3, height, width), 200, dtype=np.uint8))
    masks = root / "masks"
    masks.mkdir()
    write_mask(masks / "a.png", np.ones((height, width), dtype=np.uint8), CLASSES)
    read = read_folder(root, masks, CLASSES, resolution)
    side = resolution or max(height, width)
    assert read.images.shape == (1, 3, side, side)
    top, left, h, w = read.valid[0]
    assert 0 <= top <= top + h <= side
    assert 0 <= left <= left + w <= side
    if resolution is None:
        assert (h, w) == (height, width)
        inside = np.zeros((side, side), dtype=bool)
        inside[top:top + h, left:left + w] = True
        np.testing.assert_array_equal(read.masks[0], np.where(inside, 1, IGNORE))
        np.testing.assert_array_equal(read.images[0], np.broadcast_to(np.where(inside, 200, 0), (3, side, side)))


def test_shrinking_is_the_mean_of_each_block(tmp_path: Path) -> None:
    image = np.random.default_rng(3).integers(0, 256, (3, 8, 8), dtype=np.uint8)
    write_image(tmp_path / "a.png", image)
    blocks = image.reshape(3, 4, 2, 4, 2).mean(axis=(2, 4))
    # Pillow rounds after the columns and again after the rows.
    assert np.abs(read_folder(tmp_path, resolution=4).images[0] - blocks).max() <= 1.0


def test_images_of_several_sizes_need_a_resolution(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", np.zeros((3, 4, 4), dtype=np.uint8))
    write_image(tmp_path / "b.png", np.zeros((3, 6, 6), dtype=np.uint8))
    with pytest.raises(GanvasError, match=r"b\.png is 6x6, but the images before it are 4x4.*resolution"):
        read_folder(tmp_path)
    assert read_folder(tmp_path, resolution=4).images.shape == (2, 3, 4, 4)


def spoil_no_mask(folder: Path) -> None:
    (folder / "masks" / "pet-01.png").unlink()


def spoil_no_image(folder: Path) -> None:
    (folder / "images" / "pet-01.png").unlink()


def spoil_size(folder: Path) -> None:
    write_mask(folder / "masks" / "pet-01.png", np.zeros((8, 9), dtype=np.uint8), CLASSES)


def spoil_twin(folder: Path) -> None:
    (folder / "images" / "pet-01.jpg").write_bytes(b"")


def spoil_jpeg(folder: Path) -> None:
    (folder / "masks" / "pet-01.png").rename(folder / "masks" / "pet-01.jpg")


def spoil_truncated(folder: Path) -> None:
    file = folder / "images" / "pet-02.png"
    file.write_bytes(file.read_bytes()[:70])


def spoil_json(folder: Path) -> None:
    (folder / "masks" / "classes.json").write_text("{", encoding="utf-8")


def spoil_json_shape(folder: Path) -> None:
    (folder / "masks" / "classes.json").write_text(json.dumps({"cat": 1}), encoding="utf-8")


def spoil_rgb_without_classes(folder: Path) -> None:
    (folder / "masks" / "classes.json").unlink()
    Image.new("RGB", (8, 8)).save(folder / "masks" / "pet-00.png")


def spoil_empty(folder: Path) -> None:
    for file in (folder / "images").iterdir():
        file.unlink()


def spoil_gone(folder: Path) -> None:
    spoil_empty(folder)
    (folder / "images").rmdir()


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (spoil_no_mask, r"pet-01\.png has no mask pet-01\.png in .*masks"),
        (spoil_no_image, r"masks/pet-01\.png has no image of that name"),
        (spoil_size, r"masks/pet-01\.png is 9x8, but its image .*images/pet-01\.png is 8x8"),
        (spoil_twin, r"have the same stem"),
        (spoil_jpeg, r"pet-01\.jpg is a JPEG"),
        (spoil_truncated, r"pet-02\.png cannot be read as an image"),
        (spoil_json, r"classes\.json is not usable"),
        (spoil_json_shape, r"classes\.json is not usable: expected a list of class names"),
        (spoil_rgb_without_classes, r"pet-00\.png holds colours .*classes\.json"),
        (spoil_empty, r"images holds no images"),
        (spoil_gone, r"There is no folder .*images"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(folder: Path, spoil, sentence: str) -> None:
    spoil(folder)
    with pytest.raises(GanvasError, match=sentence) as caught:
        read_folder(folder / "images", folder / "masks")
    assert "\n" not in str(caught.value)
