"""Tables of attributes beside a folder: a CSV, CelebA's list, and what is wrong with others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.labelled_attributes import read_attributes, rendered_attributes
from networks.checkpoints.attributes import UNKNOWN, Attribute
from networks.checkpoints.errors import GanvasError


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four images, each of one grey: 0, 60, 120, 180."""
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "images"
    folder.mkdir()
    for i, name in enumerate("abcd"):
        Image.new("RGB", (8, 8), (60 * i,) * 3).save(folder / f"{name}.png")
    return folder


def table(folder: Path, text: str) -> Path:
    path = folder.parent / "table.csv"
    path.write_text(text)
    return path


def test_a_csv_gives_attributes_and_labels(images: Path) -> None:
    found = read_attributes(images, table(images, "image,mood,hat\nc.png,glad,no\na.png,sad,\nd.png,glad,yes\n"))
    assert found.names == ("a.png", "c.png", "d.png")  # b has no line
    assert found.attributes == (Attribute("mood", ("glad", "sad")), Attribute("hat", ("no", "yes")))
    assert found.labels.tolist() == [[1, UNKNOWN], [0, 0], [0, 1]]
    assert found.images[:, 0, 0, 0].tolist() == [0, 120, 180]
    assert found.where("mood", "glad").tolist() == [1, 2]
    assert found.take([2]).names == ("d.png",)
    for name, value, says in (("nose", "big", "no attribute 'nose'"), ("hat", "maybe", "hat is never 'maybe'")):
        with pytest.raises(GanvasError, match=says):
            found.where(name, value)


def test_a_judge_that_knows_more_is_asked_by_its_own_numbers(images: Path) -> None:
    found = read_attributes(images, table(images, "image,mood,hat\nc.png,glad,no\na.png,sad,\nd.png,glad,yes\n"))
    hat, mood = Attribute("hat", ("yes", "no")), Attribute("mood", ("wry", "sad", "glad"))
    labels = found.labels_as((hat, Attribute("nose", ("big", "small")), mood))
    assert labels.tolist() == [[UNKNOWN, UNKNOWN, 1], [1, UNKNOWN, 2], [0, UNKNOWN, 2]]
    for known in ((mood,), (hat, Attribute("mood", ("glad", "wry")))):
        with pytest.raises(GanvasError, match="does not know what the images show of"):
            found.labels_as(known)


def test_celeba_s_list_is_read_as_it_is(images: Path) -> None:
    found = read_attributes(images, table(images, "2\nSmiling  Bald\na.png  1 -1\nb.png -1  1\n"), resolution=4)
    assert found.attributes[0] == Attribute("Smiling", ("no", "yes"))
    assert found.labels.tolist() == [[1, 0], [0, 1]]
    assert found.images.shape == (2, 3, 4, 4)


@pytest.mark.parametrize(("text", "says"), [
    ("", "is no table of attributes: it needs a line of names"),
    ("image,mood\n", "is no table of attributes"),
    ("image,mood\na.png,glad,extra\n", "the line of a.png has 2 values for 1 attributes"),
    ("image,mood\nz.png,glad\n", "names none of the images"),
    ("image,mood\na.png,glad\nb.png,glad\n", "has 1 values of mood"),
])  # fmt: skip
def test_a_table_that_says_too_little_is_one_sentence(images: Path, text: str, says: str) -> None:
    with pytest.raises(GanvasError, match=says):
        read_attributes(images, table(images, text))


def test_avatars_come_with_their_labels(images: Path) -> None:
    found = rendered_attributes(6, "heldout", 0, 16, "avataaars")
    assert (len(found), found.labels.shape) == (6, (6, len(found.attributes)))
    smiling = found.where("smile", "yes")
    assert np.array_equal(found.take(smiling).where("smile", "yes"), np.arange(len(smiling)))
