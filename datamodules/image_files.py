"""The image files that a person brings to train on: a folder, nested or not, or a zip, and the labels beside them.

Both may be as the dataset tool of NVIDIA's StyleGAN releases writes them: ``00000/img00000000.png``, ..., and
``dataset.json`` with ``{"labels": [["00000/img00000000.png", 6], ...]}``, where a label is a class id or a vector.
Without that file the sub-folders are the classes: ``cat/1.png``, ``dog/2.png``, ....
"""

from __future__ import annotations

import json
import os
import re
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Any

import numpy as np

from datamodules.folder import IMAGE_SUFFIXES
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.images import read_image

LABELS = "dataset.json"
NUMBERED = re.compile(r"\d{5}")
MOST_CLASSES = 65536   # a larger class id is rather a number of something else


class ImageFiles:
    """Images by name, in the order of their names.

    Args:
        path: a folder, which may hold folders, or a zip. Hidden files (``.name``) are left out.

    Raises:
        GanvasError: if there is no such folder or zip, it holds no images, or the zip is damaged.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if self.path.is_dir():
            found = _in_folder(self.path)
            self._archive = None
        else:
            self._archive = _open_zip(self.path)
            found = {file.filename: (file.file_size, file.CRC) for file in self._archive.infolist()}
        self._lock = Lock()
        self._has_labels = LABELS in found
        # What tells that a file's contents changed, by name: its size, and its time of change or its checksum.
        self.marks = {name: found[name] for name in sorted(found) if _is_image(name)}
        if not self.marks:
            what = "folder" if self._archive is None else "zip"
            raise GanvasError(f"The {what} {self.path} holds no images ({', '.join(IMAGE_SUFFIXES)}); "
                              "put some there, or name another path.")  # fmt: skip

    @property
    def names(self) -> list[str]:
        """Paths of the images inside, with ``/``."""
        return list(self.marks)

    def read(self, name: str) -> np.ndarray:
        """One image, ``uint8 [3, H, W]``; may be called from several threads.

        Raises:
            GanvasError: if it cannot be read, naming it.
        """
        return read_image(self.path / name, None if self._archive is None else self._bytes(name))

    def label_names(self) -> tuple[str, ...]:
        """Names of the classes, in their order: those of the sub-folders; () where the labels are in a file.

        Raises:
            GanvasError: if neither gives labels.
        """
        if self._has_labels:
            return ()
        folders = {name.partition("/")[0] for name in self.marks if "/" in name}
        # Folders with numbers are the parts that the dataset tool cuts its images into, and no classes.
        if not folders or all(NUMBERED.fullmatch(folder) for folder in folders):
            raise GanvasError(f"There are no labels in {self.path}: add a {LABELS} to it, put each class into a folder "
                              "of its name, or leave data.labels out.")  # fmt: skip
        if stray := next((name for name in self.marks if "/" not in name), None):
            raise GanvasError(f"{self.path / stray} lies in no folder of a class, and other images do: move it into "
                              "one of them.")  # fmt: skip
        if len(folders) == 1:
            raise GanvasError(f"{self.path} has one class, {folders.pop()}, and labels need two: add a folder of "
                              "images, or leave data.labels out.")  # fmt: skip
        return tuple(sorted(folders))

    def labels(self) -> np.ndarray:
        """One row an image: class ids become one-hot rows, vectors stay as they are. ``float32 [N, c_dim]``.

        Raises:
            GanvasError: if there are no labels, an image has none, or they are neither all ids nor all vectors.
        """
        if names := self.label_names():
            return np.eye(len(names), dtype=np.float32)[[names.index(name.partition("/")[0]) for name in self.marks]]
        where = self.path / LABELS
        given = self._stored_labels(where)
        missing = next((name for name in self.marks if name not in given), None)
        if missing is not None:
            raise GanvasError(f"{where} has no label for {missing}: add it, or leave data.labels out.")
        labels = [given[name] for name in self.marks]
        if all(type(label) is int for label in labels):
            return _one_hot(labels, where)
        try:
            vectors = np.array(labels, dtype=np.float32)
        except (TypeError, ValueError):
            vectors = np.empty(0)
        if vectors.ndim != 2 or not vectors.size or not np.isfinite(vectors).all():
            raise GanvasError(f"{where} must give each image a class id (0, 1, ...), or each a list of as many "
                              "numbers.")
        return vectors

    def _stored_labels(self, where: Path) -> Mapping[str, Any]:
        try:
            stored = json.loads(self._bytes(LABELS))
            labels = stored.get("labels")
            if labels is not None:
                return dict(labels)
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise GanvasError(f'{where} cannot be used ({error}); it must be {{"labels": [["image.png", 0], '
                              '...]}.') from error
        raise GanvasError(f"{where} holds no labels: add them, or leave data.labels out.")

    def _bytes(self, name: str) -> bytes:
        if self._archive is None:
            return (self.path / name).read_bytes()
        try:
            with self._lock:   # an archive is one open file with one position
                return self._archive.read(name)
        except (OSError, RuntimeError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
            raise GanvasError(f"{name} in {self.path} cannot be read ({error}); is the zip damaged? Make it "
                              "again.") from error


def _in_folder(folder: Path) -> dict[str, tuple[int, int]]:
    """Path inside -> size and time of change, of all files."""
    found = {}
    for base, _, files in os.walk(folder):
        for file in files:
            path = Path(base) / file
            try:
                state = path.stat()
            except OSError as error:   # a link to nowhere
                if _is_image(path.relative_to(folder).as_posix()):
                    raise GanvasError(f"{path} cannot be read ({error.strerror}).") from error
                continue
            found[path.relative_to(folder).as_posix()] = (state.st_size, state.st_mtime_ns)
    return found


def _open_zip(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except FileNotFoundError as error:
        raise GanvasError(f"There is no folder {path} and no such zip; check images=.") from error
    except (OSError, NotImplementedError, ValueError, zipfile.BadZipFile) as error:  # a later version raises the second
        raise GanvasError(f"{path} is neither a folder nor a whole zip ({error}); is it truncated? Copy it "
                          "again.") from error


def _is_image(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix.lower() in IMAGE_SUFFIXES and not any(part.startswith(".") for part in path.parts)


def _one_hot(ids: list[int], where: Path) -> np.ndarray:
    if min(ids) < 0 or max(ids) >= MOST_CLASSES:
        wrong = min(ids) if min(ids) < 0 else max(ids)
        raise GanvasError(f"{where} holds the class id {wrong}; class ids are numbers from 0 to {MOST_CLASSES - 1}.")
    rows = np.zeros((len(ids), max(ids) + 1), np.float32)
    rows[np.arange(len(ids)), ids] = 1
    return rows
