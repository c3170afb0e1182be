"""Folders and zips of training images, their labels, and the file in which prepared images are kept."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datamodules import image_cache
from datamodules.image_cache import prepared_images, spread
from datamodules.image_files import ImageFiles
from networks.checkpoints.errors import GanvasError

NAMES = ["00000/img00000000.png", "00000/img00000001.png", "00001/img00000002.png", "00001/img00000003.png"]
IDS = {"labels": [[name, label] for name, label in zip(reversed(NAMES), (2, 0, 1, 1), strict=True)]}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "images"


def picture(i: int, size: int = 8) -> np.ndarray:
    return np.random.default_rng(i).integers(0, 256, (size, size, 3), dtype=np.uint8)


def dataset(folder: Path, labels: Any = IDS) -> Path:
    """A folder as NVIDIA's dataset tool writes it."""
    for i, name in enumerate(NAMES):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(i)).save(folder / name)
    (folder / "dataset.json").write_text(json.dumps(labels))
    return folder


def zipped(folder: Path) -> Path:
    """The same as a zip, not compressed, as that tool writes one."""
    out = folder.with_suffix(".zip")
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder).as_posix())
    return out


def keep(folder: Path) -> Path:
    return folder


@pytest.mark.parametrize("pack", [keep, zipped])
def test_a_folder_and_a_zip_of_the_dataset_tool_hold_the_same(pack: Callable[[Path], Path], tmp_path: Path) -> None:
    files = ImageFiles(pack(dataset(tmp_path / "set")))
    assert files.names == NAMES
    images = prepared_images(files)
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(images, np.stack([picture(i).transpose(2, 0, 1) for i in range(4)]))
    np.testing.assert_array_equal(files.labels(), [[0, 1, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1]])


@pytest.mark.parametrize(
    ("offset", "values"),
    [(6, [100]), (8, [1]), (10, [99]), (0, [0]), (42, [255, 255, 255, 255]), (46, [255])],
    ids=["version", "encrypted", "method", "signature", "place", "name"],
)
def test_a_zip_whose_list_of_files_is_damaged(offset: int, values: list[int], tmp_path: Path) -> None:
    path = zipped(dataset(tmp_path / "set"))
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"PK\x01\x02", 0, content.rindex(b".png"))  # the last image's
    content[entry + offset : entry + offset + len(values)] = values
    path.write_bytes(content)
    with pytest.raises(GanvasError, match=r"set.zip .* again") as error:
        prepared_images(ImageFiles(path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("part", ["entry", "list"])
def test_a_zip_with_a_name_that_is_no_text(part: str, tmp_path: Path) -> None:
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("\u00e9.png", b"")
    content = bytearray(path.read_bytes())
    find = content.index if part == "entry" else content.rindex
    content[find("\u00e9".encode())] = 255
    path.write_bytes(content)
    with pytest.raises(GanvasError, match=r"set.zip .* again"):
        prepared_images(ImageFiles(path))


def test_vectors_stay_as_they_are(tmp_path: Path) -> None:
    labels = {"labels": [[name, [i, 0.5]] for i, name in enumerate(NAMES)]}
    found = ImageFiles(dataset(tmp_path / "set", labels)).labels()
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [[0, 0.5], [1, 0.5], [2, 0.5], [3, 0.5]])


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        ({"labels": None}, "dataset.json holds no labels: add them, or leave data.labels out."),
        ({}, "dataset.json holds no labels"),
        ([], "dataset.json cannot be used"),
        ({"labels": 3}, "dataset.json cannot be used"),
        ({"labels": [["00000/img00000000.png"]]}, "dataset.json cannot be used"),
        ({"labels": [[name, 0] for name in NAMES[1:]]}, "dataset.json has no label for 00000/img00000000.png: add it"),
        ({"labels": [[name, -1] for name in NAMES]}, "dataset.json holds the class id -1"),
        ({"labels": [[name, 10**9] for name in NAMES]}, "dataset.json holds the class id 1000000000"),
        ({"labels": [[name, [0] * i] for i, name in enumerate(NAMES)]}, "must give each image a class id"),
        ({"labels": [[name, "cat"] for name in NAMES]}, "must give each image a class id"),
        ({"labels": [[name, [float("nan")]] for name in NAMES]}, "must give each image a class id"),
        ({"labels": [[NAMES[0], [1.0]], *([name, 0] for name in NAMES[1:])]}, "must give each image a class id"),
    ],
)
def test_labels_that_cannot_be_used(labels: Any, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(GanvasError) as error:
        ImageFiles(dataset(tmp_path / "set", labels)).labels()
    assert sentence in str(error.value)


def test_sub_folders_are_classes_where_no_file_says_otherwise(tmp_path: Path) -> None:
    for i, name in enumerate(("dog/old/a.png", "cat/b.png", "dog/c.png")):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(i)).save(tmp_path / "set" / name)
    files = ImageFiles(tmp_path / "set")
    assert files.label_names() == ("cat", "dog")
    np.testing.assert_array_equal(files.labels(), [[1, 0], [0, 1], [0, 1]])
    assert ImageFiles(dataset(tmp_path / "other")).label_names() == ()
    Image.fromarray(picture(3)).save(tmp_path / "set" / "d.png")
    with pytest.raises(GanvasError, match=r"d\.png lies in no folder of a class"):
        ImageFiles(tmp_path / "set").labels()
    (tmp_path / "set" / "d.png").unlink()
    (tmp_path / "set" / "cat" / "b.png").unlink()
    with pytest.raises(GanvasError, match="has one class, dog, and labels need two"):
        ImageFiles(tmp_path / "set").labels()


def test_a_folder_without_labels_says_so(tmp_path: Path) -> None:
    (dataset(tmp_path / "set") / "dataset.json").unlink()
    with pytest.raises(GanvasError, match=r"There are no labels in .*set: add a dataset.json"):
        ImageFiles(tmp_path / "set").labels()


def test_hidden_files_and_other_files_are_no_images(tmp_path: Path) -> None:
    folder = dataset(tmp_path / "set")
    for name in ("._img.png", ".thumbs/a.png", "__MACOSX/._b.png", "notes.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    assert ImageFiles(folder).names == ImageFiles(zipped(folder)).names == NAMES


def test_the_second_time_nothing_is_read_and_pixels_are_mapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    first = prepared_images(ImageFiles(dataset(tmp_path / "set")), 4)
    monkeypatch.setattr(ImageFiles, "read", lambda self, name: pytest.fail("read again"))
    second = prepared_images(ImageFiles(tmp_path / "set"), 4)
    assert isinstance(second, np.memmap)
    np.testing.assert_array_equal(first, second)
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize("change", ["contents", "a new image", "resolution", "fit"])
def test_what_changes_a_pixel_is_prepared_anew(change: str, tmp_path: Path, cache: Path) -> None:
    folder = dataset(tmp_path / "set")
    prepared_images(ImageFiles(folder), 4)
    if change == "contents":
        Image.fromarray(picture(9)).save(folder / NAMES[1])
        os.utime(folder / NAMES[1], ns=(1, 1))
    elif change == "a new image":
        Image.fromarray(picture(9)).save(folder / "new.png")
    prepared_images(ImageFiles(folder), 2 if change == "resolution" else 4, "crop" if change == "fit" else "pad")
    assert len(list(cache.iterdir())) == 2


def test_a_damaged_cache_is_made_again(tmp_path: Path, cache: Path) -> None:
    images = np.array(prepared_images(ImageFiles(dataset(tmp_path / "set")), 4))
    (file,) = cache.iterdir()
    file.write_bytes(file.read_bytes()[:-5])
    np.testing.assert_array_equal(prepared_images(ImageFiles(tmp_path / "set"), 4), images)


@pytest.mark.parametrize(("count", "n"), [(5, 3), (3999, 2000), (5999, 2000), (3, 5)])
def test_places_are_spread_to_the_end(count: int, n: int) -> None:
    places = spread(count, n)
    assert len(places) == min(n, count)
    steps = {b - a for a, b in pairwise(places)}
    assert max(steps) - min(steps) <= 1
    assert count - places[-1] <= max(steps) + 1


def test_a_few_are_spread_over_all_and_alike_with_and_without_the_rest(tmp_path: Path, cache: Path) -> None:
    files = ImageFiles(dataset(tmp_path / "set"))
    few = np.array(prepared_images(files, first=2))
    assert few.shape[0] == 2
    whole = prepared_images(files)
    np.testing.assert_array_equal(few, whole[::2])
    for file in cache.iterdir():
        if np.load(file).shape[0] == 2:
            file.unlink()
    np.testing.assert_array_equal(prepared_images(files, first=2), few)
    assert len(list(cache.iterdir())) == 1  # taken from the whole, not prepared again


def test_sizes_that_differ_ask_for_a_resolution(tmp_path: Path, cache: Path) -> None:
    folder = dataset(tmp_path / "set")
    Image.fromarray(picture(9, 16)).save(folder / NAMES[2])
    with pytest.raises(GanvasError, match=r"img00000002.png is 16x16, but the images before it are 8x8 .*resolution"):
        prepared_images(ImageFiles(folder))
    assert list(cache.iterdir()) == []
    assert prepared_images(ImageFiles(folder), 8).shape == (4, 3, 8, 8)


def test_no_room_is_said_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    usage = type("Usage", (), {"free": 100})
    monkeypatch.setattr(image_cache.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(GanvasError, match=r"The prepared images take .* GB left: set GANVAS_CACHE to a folder"):
        prepared_images(ImageFiles(dataset(tmp_path / "set")))
    assert list(cache.iterdir()) == []


def test_a_cache_that_cannot_be_made_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "file"))
    with pytest.raises(GanvasError, match=r"Prepared images cannot be kept in .*: set GANVAS_CACHE"):
        prepared_images(ImageFiles(dataset(tmp_path / "set")))
