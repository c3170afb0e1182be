"""Fashion-MNIST out of Debian's package: pictures on their margin, classes, and what is no such package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datamodules.fashion_mnist import CLASSES, read_fashion_mnist
from networks.checkpoints.errors import GanvasError
from tests.fashion_mnist import idx, write_fashion_mnist
from tests.furniture import write_deb


def test_pictures_come_with_their_classes_from_a_folder_and_a_package(tmp_path: Path) -> None:
    folder = write_fashion_mnist(tmp_path / "unpacked")
    found = read_fashion_mnist(folder, None, "train", 32)
    assert found.images.shape == (20, 3, 32, 32)
    assert found.labels.shape == (20, len(CLASSES))
    assert found.labels.argmax(1).tolist() == [*range(10)] * 2
    assert (found.images[13, :, 16, 16] == 30).all()
    assert (found.images[13, :, 2, 15] == 255).all()          # the white pixel of number 13, two further in
    assert not found.images[:, :, :2].any()                   # the margin
    packed = read_fashion_mnist(write_deb(folder, tmp_path / "some.deb"), None, "train", 32)
    assert np.array_equal(found.images, packed.images)
    assert np.array_equal(found.labels, packed.labels)


def test_splits_counts_and_sizes(tmp_path: Path) -> None:
    folder = write_fashion_mnist(tmp_path)
    assert len(read_fashion_mnist(folder, None, "heldout", 32).images) == 12
    few = read_fashion_mnist(folder, 5, "train", 64)
    assert few.images.shape == (5, 3, 64, 64)
    assert few.labels.argmax(1).tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="split must be train or heldout"):
        read_fashion_mnist(folder, 5, "labels", 32)


def test_what_is_no_such_package_is_refused(tmp_path: Path) -> None:
    def at(split: str, what: str, data: bytes) -> Path:
        folder = write_fashion_mnist(tmp_path / f"{len(list(tmp_path.iterdir()))}")
        next(folder.rglob(f"{split}-{what}*")).write_bytes(data)
        return folder

    (tmp_path / "odd.deb").write_bytes(b"text")
    (tmp_path / "empty").mkdir()
    whole = idx(np.zeros((20, 28, 28)))
    cases = [
        (None, "needs data.fashion_mnist=PATH: the Debian package dataset-fashion-mnist"),
        (tmp_path / "nowhere", "does not exist"), (tmp_path / "empty", "holds no train-images-idx3-ubyte.gz"),
        (tmp_path / "odd.deb", "is no Debian package, or damaged"),
        (at("train", "images", b"text"), "train-images-idx3-ubyte.gz in .* is damaged"),
        (at("train", "images", whole[:-20]), "is damaged"), (at("train", "images", idx(np.zeros(9))), "is damaged"),
        (at("train", "labels", idx(np.full(20, 11))), "are not those of Fashion-MNIST"),
        (at("train", "images", idx(np.zeros((20, 8, 8)))), "are not those of Fashion-MNIST"),
    ]  # fmt: skip
    for path, says in cases:
        with pytest.raises(GanvasError, match=says):
            read_fashion_mnist(path, None, "train", 32)
