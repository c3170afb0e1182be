"""A few pictures in the form of Debian's package of Fashion-MNIST, so that tests need no download."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np


def idx(array: np.ndarray) -> bytes:
    """An array of bytes in the idx format, packed."""
    head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return gzip.compress(head + array.astype(np.uint8).tobytes())


def write_fashion_mnist(folder: Path, count: int = 20) -> Path:
    """A folder like the unpacked package: class i has pictures of the grey 10 * i, with a white pixel of its number."""
    files = folder / "usr" / "share" / "datasets" / "fashion-mnist"
    files.mkdir(parents=True, exist_ok=True)
    for split, n in (("train", count), ("t10k", 12)):
        ids = np.arange(n) % 10
        pictures = np.repeat(10 * ids, 28 * 28).reshape(n, 28, 28)
        pictures[np.arange(n), 0, np.arange(n)] = 255
        (files / f"{split}-images-idx3-ubyte.gz").write_bytes(idx(pictures))
        (files / f"{split}-labels-idx1-ubyte.gz").write_bytes(idx(ids))
    return folder
