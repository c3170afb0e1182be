"""Labels of annotation tools: the pixels that they mean, and what is said of labels that are wrong."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from datamodules.annotations import Labelling, read_labels
from datamodules.annotations.shapes import (
    ShapeError,
    area,
    box,
    circle,
    decode,
    encode,
    polygon,
    rectangle,
    run_lengths,
)
from networks.checkpoints.classes import IGNORE, ClassList
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.images import write_image
from networks.checkpoints.masks import write_mask

H, W = 12, 16
CLASSES = ClassList.of_names(["background", "face", "eye"])
FACE = {"label": "face", "shape_type": "rectangle", "points": [[2, 2], [14, 11]]}
EYE = {"label": "eye", "shape_type": "polygon", "points": [[4, 4], [8, 4], [8, 6], [4, 6]]}


def wished() -> np.ndarray:
    """What FACE and EYE mean."""
    mask = np.zeros((H, W), np.uint8)
    mask[2:11, 2:14], mask[4:6, 4:8] = 1, 2
    return mask


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with ``images/a.png`` and ``images/b.png``."""
    (tmp_path / "images").mkdir()
    for name in "ab":
        write_image(tmp_path / "images" / f"{name}.png", np.zeros((3, H, W), np.uint8))
    return tmp_path


def labelme(place: Path, shapes: list[dict], name: str = "a", **other) -> Path:
    data = {"shapes": shapes, "imagePath": f"..\\images\\{name}.png", "imageHeight": H, "imageWidth": W, **other}
    file = place / "images" / f"{name}.json"
    file.write_text(json.dumps(data))
    return file


def coco(place: Path, annotations: list[dict], **other) -> Path:
    data = {
        "images": [{"id": i, "file_name": f"some/{n}.png", "height": H, "width": W} for i, n in ((7, "a"), (8, "b"))],
        "categories": [{"id": 3, "name": "face"}, {"id": 5, "name": "eye"}], "annotations": annotations, **other,
    }  # fmt: skip
    (place / "annotations").mkdir(exist_ok=True)
    file = place / "annotations" / "instances_default.json"
    file.write_text(json.dumps(data))
    return file


def annotation(category: int, segmentation: object, number: int = 1, image: int = 7) -> dict:
    return {"id": number, "image_id": image, "category_id": category, "segmentation": segmentation}


def only_mask(labelling: Labelling) -> np.ndarray:
    (drawing,) = labelling.labelled
    assert drawing.image.stem == "a"
    assert [problem for _, own in labelling.checked() for problem in own] == []
    return labelling.mask(drawing)


def complaints(labelling: Labelling) -> list[str]:
    return [str(problem) for _, own in labelling.checked() for problem in own]


# Shapes


@settings(deadline=None, max_examples=40)
@given(x0=st.integers(0, 10), y0=st.integers(0, 8), w=st.integers(1, 6), h=st.integers(1, 4))
def test_a_polygon_on_pixel_edges_is_exact(x0: int, y0: int, w: int, h: int) -> None:
    x1, y1 = min(x0 + w, W), min(y0 + h, H)
    truth = np.zeros((H, W), bool)
    truth[y0:y1, x0:x1] = True
    np.testing.assert_array_equal(polygon([[[x0, y0], [x1, y0], [x1, y1], [x0, y1]]], H, W), truth)
    np.testing.assert_array_equal(rectangle([[x1, y1], [x0, y0]], H, W), truth)
    runs = encode(truth)
    np.testing.assert_array_equal(decode(runs), truth)
    assert area(runs) == truth.sum()
    assert box(runs) == [x0, y0, x1 - x0, y1 - y0]
    np.testing.assert_array_equal(run_lengths(runs, H, W), truth)


def test_run_lengths_may_be_numbers() -> None:
    truth = np.zeros((2, 3), bool)
    truth[1, 0] = truth[:, 1] = True  # column after column: 0 1 | 1 1 | 0 0
    np.testing.assert_array_equal(run_lengths({"size": [2, 3], "counts": [1, 3, 2]}, 2, 3), truth)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 1000), share=st.floats(0.01, 0.99))
def test_run_lengths_of_any_mask_come_back(seed: int, share: float) -> None:
    mask = np.random.default_rng(seed).random((23, 37)) < share
    mask[3, 4] = True
    np.testing.assert_array_equal(run_lengths(encode(mask), 23, 37), mask)


def test_a_disc_has_its_area_and_is_cut_off_at_the_edge() -> None:
    assert circle([[32, 32], [32, 52]], 64, 64).sum() == pytest.approx(np.pi * 400, rel=0.02)
    assert circle([[0, 32], [0, 52]], 64, 64).sum() == pytest.approx(np.pi * 200, rel=0.03)


@pytest.mark.parametrize(
    ("rings", "said"),
    [
        ([], "has no outline"),
        ([[[1, 1], [2, 2]]], "has 2 corners, and an area needs 3"),
        ([[[1, 1], [20, 1], [5, 5]]], r"has a point at \(20, 1\), outside the 16x12 image"),
        ([[[1, 1], [-9, 1], [5, 5]]], r"has a point at \(-9, 1\), outside"),
        ([[[1, 1], [1.2, 1], [1.1, 1.1]]], "covers no pixel"),
        ([[[1, 1], [float("nan"), 1], [5, 5]]], "no pairs of numbers"),
        ([[["x", 1], [2, 1], [5, 5]]], "are no numbers"),
        ([[1, 2, 3]], "no pairs of numbers"),
    ],
)
def test_an_outline_that_is_none(rings: list, said: str) -> None:
    with pytest.raises(ShapeError, match=said):
        polygon(rings, H, W)


def test_a_click_just_outside_is_one_on_the_edge() -> None:
    assert polygon([[[-0.7, -0.5], [W + 0.9, 0], [W, H + 1], [0, H]]], H, W).all()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"size": [W, H], "counts": "PP"}, r"has run lengths of size \[16, 12\] \(height, width\), and the image"),
        ({"size": [H, W], "counts": [1, 2]}, "do not add up to the 192 pixels"),
        ({"size": [H, W], "counts": [-1, 193]}, "do not add up"),
        ({"size": [H, W], "counts": "zzz"}, "damaged run lengths"),
        ({"size": [H, W], "counts": "P"}, "damaged run lengths"),
        ({"size": [H, W], "counts": "0"}, "do not add up"),
        ({"size": [H, W], "counts": None}, "neither text nor numbers"),
        ({"counts": [192]}, "has run lengths of size None"),
        ({"size": [H, W], "counts": [H * W]}, "covers no pixel"),
    ],
)
def test_run_lengths_that_are_none(data: dict, said: str) -> None:
    with pytest.raises(ShapeError, match=said):
        run_lengths(data, H, W)


# The same labels from every tool


def test_labelme(place: Path) -> None:
    labelme(place, [EYE, FACE])  # the face, drawn later, does not cover the eye: it is larger
    labelling = read_labels(place, classes=CLASSES)
    np.testing.assert_array_equal(only_mask(labelling), wished())
    assert labelling.kind == "LabelMe"


def test_labelme_stores_masks_and_discs(place: Path) -> None:
    pixels = np.zeros((2, 4), np.uint8)
    pixels[:, 1:] = 255
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    stored = {"label": "eye", "shape_type": "mask", "points": [[4, 4], [7, 5]],
              "mask": base64.b64encode(buffer.getvalue()).decode()}  # fmt: skip
    labelme(place, [{"label": "face", "shape_type": "circle", "points": [[8, 6], [8, 2]]}, stored])
    mask = only_mask(read_labels(place, classes=CLASSES))
    assert np.argwhere(mask == 2).tolist() == [[y, x] for y in (4, 5) for x in (5, 6, 7)]
    assert (mask == 1).sum() == pytest.approx(np.pi * 16 - 6, abs=3)


def test_coco(place: Path) -> None:
    truth = wished()
    face = encode(truth == 1)
    eye = [[4, 4, 6, 4, 6, 6, 4, 6], [6, 4, 8, 4, 8, 6, 6, 6]]  # in two parts
    file = coco(place, [annotation(3, face), annotation(5, eye, 2)])
    for path in (place, file):
        np.testing.assert_array_equal(only_mask(read_labels(path, place / "images", CLASSES)), truth)
    assert read_labels(place).classes.names == ("background", "face", "eye")


def test_an_export_with_its_images(place: Path) -> None:
    coco(place, [annotation(5, [[4, 4, 8, 4, 8, 6, 4, 6]])])
    (place / "images").rename(place / "default")
    (place / "images").mkdir()
    (place / "default").rename(place / "images" / "default")  # as CVAT packs them
    assert (only_mask(read_labels(place, classes=CLASSES)) == 2).sum() == 8


def test_cvat_masks(place: Path) -> None:
    folder = place / "SegmentationClass"
    folder.mkdir()
    colours = ClassList(("background", "eye", "face"), ((0, 0, 0), (10, 20, 30), (9, 9, 9)))  # another order, too
    mine = np.array([0, 2, 1], np.uint8)[wished()]
    Image.fromarray(colours.paint(mine)).save(folder / "a.png")
    Image.fromarray(colours.paint(np.zeros((H, W), np.uint8))).save(folder / "b.png")  # what nobody labelled
    (place / "labelmap.txt").write_text("# label:color_rgb:parts:actions\nbackground:0,0,0::\neye:10,20,30::\n"
                                        "face:9,9,9::\n")  # fmt: skip
    labelling = read_labels(place, classes=CLASSES)
    np.testing.assert_array_equal(only_mask(labelling), wished())
    assert labelling.waiting == ("b",)


@pytest.mark.parametrize("coloured", [False, True])
def test_png_masks(place: Path, coloured: bool) -> None:
    (place / "masks").mkdir()
    if coloured:
        Image.fromarray(CLASSES.paint(wished())).save(place / "masks" / "a.png")
    else:
        write_mask(place / "masks" / "a.png", wished(), CLASSES)
    np.testing.assert_array_equal(only_mask(read_labels(place, classes=CLASSES)), wished())
    elsewhere = (place / "masks").rename(place.parent / f"painted {coloured}")
    np.testing.assert_array_equal(only_mask(read_labels(elsewhere, place / "images", CLASSES)), wished())


# How shapes lie


def test_who_has_a_pixel_of_two_shapes(place: Path) -> None:
    labelme(place, [EYE, {**FACE, "points": [[6, 2], [14, 11]]}])
    found = {rule: read_labels(place, classes=CLASSES, overlap=rule) for rule in ("smallest", "order", "ignore")}
    shared = np.s_[4:6, 6:8]
    assert {rule: np.unique(only_mask(it)[shared]).tolist() for rule, it in found.items()} == {
        "smallest": [2], "order": [1], "ignore": [IGNORE],
    }  # fmt: skip
    (said,) = complaints(read_labels(place, classes=CLASSES, overlap="refuse"))
    assert said.endswith("a.json: shape 1 ('eye') and shape 2 ('face') share 4 pixels")


def test_a_shape_of_which_nothing_is_left(place: Path) -> None:
    labelme(place, [EYE, FACE])
    (said,) = complaints(read_labels(place, classes=CLASSES, overlap="order"))
    assert "shape 1 ('eye') is covered by other shapes" in said


def test_what_no_shape_covers(place: Path) -> None:
    labelme(place, [EYE])
    outside = np.s_[8:, :]
    assert (only_mask(read_labels(place, classes=CLASSES))[outside] == 0).all()
    assert (only_mask(read_labels(place, classes=CLASSES, rest="ignore"))[outside] == IGNORE).all()
    assert (only_mask(read_labels(place, classes=CLASSES, rest="face"))[outside] == 1).all()
    bare = ClassList.of_names(["eye", "face"])
    assert (only_mask(read_labels(place, classes=bare))[outside] == IGNORE).all()
    with pytest.raises(GanvasError, match="rest=nose is no class: choose of background, face, eye and ignore"):
        read_labels(place, classes=CLASSES, rest="nose")


def test_background_and_ignored_regions_have_several_spellings(place: Path) -> None:
    hole = {"label": "_background_", "shape_type": "polygon", "points": EYE["points"]}
    void = {"label": "__ignore__", "shape_type": "rectangle", "points": [[0, 0], [2, 2]]}
    labelme(place, [FACE, hole, void])
    mask = only_mask(read_labels(place, classes=CLASSES))
    assert (mask[4:6, 4:8] == 0).all()
    assert (mask[:2, :2] == IGNORE).all()
    assert read_labels(place).classes.names == ("background", "face")


def test_an_image_that_nobody_drew_on_waits(place: Path) -> None:
    labelme(place, [EYE])
    assert read_labels(place, classes=CLASSES).waiting == ("b",)  # no file of it
    labelme(place, [], "b")
    assert read_labels(place, classes=CLASSES).waiting == ("b",)  # a file without a shape
    both = read_labels(place, classes=CLASSES, empty=True)
    assert both.waiting == ()
    assert [both.mask(drawing).max() for drawing in both.labelled] == [2, 0]


# What is wrong, and where


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ({**EYE, "label": "eyes"}, "shape 2 ('eyes') has a label that is no class (did you mean 'eye'?)"),
        ({**EYE, "label": "wheel"}, "('wheel') has a label that is no class (there are background, face, eye)"),
        ({**EYE, "points": [[1, 1], [40, 1], [1, 5]]}, "shape 2 ('eye') has a point at (40, 1), outside the 16x12"),
        ({**EYE, "shape_type": "linestrip"}, "shape 2 ('eye') is a linestrip, which encloses no area"),
        ({**EYE, "shape_type": "rectangle"}, "shape 2 ('eye') has 4 points instead of 2"),
        ({**EYE, "shape_type": "mask", "points": [[1, 1], [2, 2]], "mask": "!"}, "shape 2 ('eye') has a damaged mask"),
        ({"points": []}, "shape 2 has no label"),
        ("eye", "shape 2 has no label"),
        ({"label": "eye"}, "shape 2 ('eye') has coordinates that are no"),
    ],
)
def test_a_wrong_shape_of_labelme_s(place: Path, shape: dict, said: str) -> None:
    file = labelme(place, [FACE, shape])
    (found,) = complaints(read_labels(place, classes=CLASSES))
    assert found.startswith(f"{file}: shape 2")
    assert said in found


def test_a_file_of_another_image(place: Path) -> None:
    labelme(place, [EYE], imageWidth=99)
    labelme(place, [EYE], "c")
    size, missing = complaints(read_labels(place, classes=CLASSES))
    assert f"it is of an image of 99x12 pixels, but {place / 'images' / 'a.png'} has 16x12" in size
    assert missing.endswith(f"c.png' is not in {place / 'images'}")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (annotation(9, [[1, 1, 5, 1, 5, 5]]), "annotation 1 of 'some/a.png' has category 9, which is not listed"),
        (annotation(5, [[1, 1, 5, 1, 5]]), "annotation 1 of 'some/a.png' ('eye') has a polygon with an x and no y"),
        (annotation(5, []), "('eye') has a box but no outline"),
        (annotation(5, {"size": [5, 5], "counts": [25]}), "('eye') has run lengths of size [5, 5]"),
        (annotation(5, [[1, 1, 50, 1, 5, 5]]), "('eye') has a point at (50, 1), outside"),
        (annotation(5, [[1, 1, 5, 1, 5, 5]], image=99), "annotation 1 is of an image that the file does not list"),
    ],
)
def test_a_wrong_annotation_of_coco_s(place: Path, wrong: dict, said: str) -> None:
    coco(place, [wrong])
    (found,) = complaints(read_labels(place, classes=CLASSES))
    assert said in found


def test_an_image_that_is_labelled_twice(place: Path) -> None:
    labelme(place, [EYE])
    (place / "images" / "a.json").rename(place / "images" / "z.json")
    labelme(place, [FACE])
    (said,) = complaints(read_labels(place, classes=CLASSES))
    assert f"a.png is labelled in {place / 'images' / 'a.json'}, too" in said


def test_a_mask_that_does_not_fit(place: Path) -> None:
    (place / "masks").mkdir()
    Image.fromarray(np.full((H, W), 9, np.uint8)).save(place / "masks" / "a.png")
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(place / "masks" / "b.png")
    Image.fromarray(np.zeros((H, W), np.uint8)).save(place / "masks" / "c.png")
    found = complaints(read_labels(place, classes=CLASSES))
    assert "a.png has class id 9 at pixel (x=0, y=0)" in found[0]
    assert "the mask is 5x5 pixels, but" in found[1]
    assert f"no image of that name is in {place / 'images'}" in found[2]


def nothing(place: Path) -> None:
    """An untouched folder."""


def two_kinds(place: Path) -> None:
    labelme(place, [EYE])
    coco(place, [annotation(5, [[1, 1, 5, 1, 5, 5]])])


def half_a_file(place: Path) -> None:
    (place / "images" / "a.json").write_text('{"shapes": [')


def cvat_xml(place: Path) -> None:
    (place / "annotations.xml").write_text("<annotations/>")


def no_coco(place: Path) -> None:
    coco(place, [{"id": 1}])


def no_label_map(place: Path) -> None:
    (place / "SegmentationClass").mkdir()
    Image.fromarray(np.zeros((H, W), np.uint8)).save(place / "SegmentationClass" / "a.png")
    (place / "labelmap.txt").write_text("eye\n")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (nothing, "holds no labels: give LabelMe files"),
        (two_kinds, r"holds labels of several kinds \(LabelMe, COCO\)"),
        (half_a_file, "a.json is no whole JSON file"),
        (cvat_xml, "CVAT's own XML is not read: export COCO 1.0 or Segmentation mask 1.1"),
        (no_coco, "is no COCO file that can be understood"),
        (no_label_map, "labelmap.txt is no label map of CVAT's"),
    ],
)
def test_what_cannot_be_read_at_all(place: Path, spoil, said: str) -> None:
    spoil(place)
    with pytest.raises(GanvasError, match=said):
        read_labels(place, classes=CLASSES)


def test_a_path_that_leads_nowhere(place: Path) -> None:
    with pytest.raises(GanvasError, match="is neither a file nor a folder"):
        read_labels(place / "none")
    with pytest.raises(GanvasError, match=r"is no \.json file and no folder"):
        read_labels(place / "images" / "a.png")
    (place / "export.zip").write_bytes(b"")
    with pytest.raises(GanvasError, match="unpack it and give the folder"):
        read_labels(place / "export.zip")
