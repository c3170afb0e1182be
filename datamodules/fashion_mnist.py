"""Fashion-MNIST (Xiao et al. 2017, arXiv 1708.07747) as Debian packages it: grey pictures of clothes in ten classes."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from datamodules.debian import files_of_deb, package_named
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.squares import to_square

CLASSES = (
    "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"
)  # fmt: skip
WANTED = package_named("dataset-fashion-mnist")
SPLITS = {"train": "train", "heldout": "t10k"}   # ours -> theirs, in names of files
SIDE = 28
KEY = "data.fashion_mnist"


class LabelledPictures(NamedTuple):
    """Pictures and their classes."""

    images: np.ndarray   # uint8 [N, 3, R, R]
    labels: np.ndarray   # float32 [N, 10], one-hot


def read_fashion_mnist(path: str | Path | None, count: int | None, split: str, resolution: int) -> LabelledPictures:
    """The first pictures of a split, on a black margin, as their own background is.

    Args:
        path: the ``.deb``, or a folder somewhere in which its files lie.
        count: how many; None: all.
        split: train (60,000) or heldout (the test set, 10,000).
        resolution: pixels a side. The 28x28 pictures are put in the middle of 32x32, and that is then resized.

    Raises:
        GanvasError: if there is no such file, or one is damaged.
        ValueError: if there is no such split.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be {' or '.join(SPLITS)}, got {split}")
    if path is None:
        raise GanvasError(f"data=fashion_mnist needs {KEY}=PATH: {WANTED}.")
    wanted = [f"{SPLITS[split]}-images-idx3-ubyte.gz", f"{SPLITS[split]}-labels-idx1-ubyte.gz"]
    files = _files(Path(path), wanted)
    pictures, ids = (_idx(files[name], dimensions, name, path) for name, dimensions in zip(wanted, (3, 1), strict=True))
    if len(pictures) != len(ids) or pictures.shape[1:] != (SIDE, SIDE) or ids.max() >= len(CLASSES):
        raise GanvasError(f"{KEY}={path} holds {list(pictures.shape)} pictures and {len(ids)} labels, which are not "
                          f"those of Fashion-MNIST: give {WANTED}.")  # fmt: skip
    margin = (32 - SIDE) // 2
    padded = np.pad(pictures[:count], ((0, 0), (margin, margin), (margin, margin)))
    if resolution != padded.shape[1]:
        padded = np.stack([to_square(picture[None], resolution)[0] for picture in padded])
    return LabelledPictures(np.repeat(padded[:, None], 3, axis=1), np.eye(len(CLASSES), dtype=np.float32)[ids[:count]])


def _files(path: Path, wanted: list[str]) -> dict[str, bytes]:
    """The contents of these files."""
    if path.is_dir():
        found = {file.name: file.read_bytes() for file in sorted(path.rglob("*.gz")) if file.name in wanted}
    elif path.is_file():
        inside = files_of_deb(path, lambda name: PurePosixPath(name).name in wanted, KEY, WANTED)
        found = {PurePosixPath(name).name: data for name, data in inside}
    else:
        raise GanvasError(f"{KEY}={path} does not exist: give {WANTED}.")
    if missing := [name for name in wanted if name not in found]:
        raise GanvasError(f"{KEY}={path} holds no {missing[0]}: give {WANTED}.")
    return found


def _idx(packed: bytes, dimensions: int, name: str, path: str | Path) -> np.ndarray:
    """An array of bytes in LeCun's idx format: two zeros, 8 for uint8, the number of dimensions, each as big-endian."""
    try:
        data = gzip.decompress(packed)
        head = 4 + 4 * dimensions
        if data[:4] != bytes([0, 0, 8, dimensions]):
            raise ValueError(f"it begins with {data[:4].hex()}")
        shape = np.frombuffer(data, ">u4", dimensions, 4).astype(int)
        return np.frombuffer(data, np.uint8, int(shape.prod()), head).reshape(shape)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise GanvasError(f"{name} in {KEY}={path} is damaged ({error}): fetch the package anew.") from error
