"""Training images made ready once, and kept in one file that is mapped into memory instead of read.

However many there are, a run holds only the batch at hand: the system keeps what fits of the file and drops it when
memory is short. A second run on the same images starts at once.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from datamodules.image_files import ImageFiles
from networks.checkpoints.atomic import atomic_path
from networks.checkpoints.cache_dir import cache_dir
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.squares import Fit, to_square

log = logging.getLogger(__name__)

_FORMAT = 1   # raise when the code makes something else of the same files
_CHUNK = 64   # images that the threads work on together


def prepared_images(
    files: ImageFiles, resolution: int | None = None, fit: Fit = "pad", first: int | None = None
) -> np.ndarray:
    """The images as squares of one size, read-only and mapped into memory.

    Args:
        files: which.
        resolution: pixels a side; None: as they are, which must be one size.
        fit: how they become square, see :func:`networks.checkpoints.squares.to_square`.
        first: so many, spread evenly over the names, if there are more; None: all.

    Returns:
        ``uint8 [N, 3, R, R]``.

    Raises:
        GanvasError: if an image cannot be read, sizes differ, or there is no room to keep them.
    """
    names = files.names
    if first is not None and first < len(names):
        pick = spread(len(names), first)
        if (whole := kept(_place(files, names, resolution, fit))) is not None:
            return whole[pick]
        names = [names[i] for i in pick]
    path = _place(files, names, resolution, fit)
    images = kept(path)
    if images is None:
        _prepare(files, names, resolution, fit, path)
        images = kept(path)
        if images is None:
            raise GanvasError(f"{path} cannot be read back: set GANVAS_CACHE to another folder.")
    return images


def spread(count: int, n: int) -> list[int]:
    """``n`` of ``count`` places, evenly; all of them if there are no more.

    Example:
        >>> spread(5, 3)
        [0, 1, 3]
    """
    n = min(n, count)
    return [i * count // n for i in range(n)]


def _place(files: ImageFiles, names: Sequence[str], resolution: int | None, fit: Fit) -> Path:
    """The file of these images; its name hashes everything that could change a pixel."""
    marks = [(name, *files.marks[name]) for name in names]
    key = json.dumps([_FORMAT, str(files.path.resolve()), marks, resolution, fit])
    digest = hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()[:16]
    return cache_dir() / "images" / f"{files.path.resolve().stem}-{resolution or 'as-is'}-{digest}.npy"


def kept(path: Path) -> np.ndarray | None:
    """The array in a file of the cache, mapped into memory; None if there is none, or a damaged one."""
    try:
        return np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return None


def _prepare(files: ImageFiles, names: Sequence[str], resolution: int | None, fit: Fit, path: Path) -> None:
    """Write the images to ``path`` one after another, so that none is held longer than that takes."""
    squares = _squares(files, names, lambda image: to_square(image, resolution, fit))
    first = next(squares)
    shape = (len(names), *first.shape)
    require_room(path.parent, int(np.prod(shape)))
    with atomic_path(path) as partial, partial.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        file.write(first.tobytes())
        for name, image in zip(names[1:], squares, strict=True):
            if image.shape != first.shape:
                raise GanvasError(f"{files.path / name} is {_size(image)}, but the images before it are {_size(first)} "
                                  "(in a square); give a resolution to resize them all.")
            file.write(image.tobytes())
    log.info("%d prepared images are kept in %s", len(names), path)


def _squares(
    files: ImageFiles, names: Sequence[str], square: Callable[[np.ndarray], np.ndarray]
) -> Iterator[np.ndarray]:
    """The images in order, read by several threads: decoding and resizing let one another run."""
    with (
        ThreadPoolExecutor(min(os.cpu_count() or 1, 16)) as pool,
        tqdm(total=len(names), desc="preparing images", unit="image") as bar,
    ):
        for start in range(0, len(names), _CHUNK):
            for image in pool.map(lambda name: square(files.read(name)), names[start : start + _CHUNK]):
                bar.update()
                yield image


def require_room(folder: Path, size: int) -> None:
    """Refuse a folder of the cache, made if it is missing, that cannot take ``size`` bytes.

    Raises:
        GanvasError: saying why.
    """
    mend = "set GANVAS_CACHE to a folder with room"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise GanvasError(f"Prepared images cannot be kept in {folder} ({error.strerror}): {mend}.") from error
    if not os.access(folder, os.W_OK):
        raise GanvasError(f"Prepared images cannot be kept in {folder}, which is not writable: {mend}.")
    if free < size:
        raise GanvasError(f"The prepared images take {size / 1e9:.1f} GB and {folder} has {free / 1e9:.1f} GB left: "
                          f"{mend}.")


def _size(image: np.ndarray) -> str:
    return f"{image.shape[-1]}x{image.shape[-2]}"
