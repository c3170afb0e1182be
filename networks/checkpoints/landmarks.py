"""Landmarks of a face in a file: 68 points in the order of iBUG 300-W, or 5 (eyes, nose, corners of the mouth)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from networks.checkpoints.errors import GanvasError

COUNTS = (68, 5)
SUFFIXES = (".json", ".txt", ".npz", ".npy")
KEY = "landmarks"   # of the points, where a file holds several things


def read_landmarks(path: Path) -> np.ndarray:
    """Points in pixels, x to the right and y down, float64 ``[68 or 5, 2]``.

    Args:
        path: ``.json``, a list of ``[x, y]`` or an object that has one as ``landmarks``; ``.txt``, a point a line, its
            numbers apart by blanks or a comma; ``.npz``, with an array ``landmarks`` or a single one; or ``.npy``.

    Raises:
        GanvasError: if the file cannot be read, or does not hold 68 or 5 points.
    """
    try:
        points = np.asarray(_read(path), dtype=np.float64)
    except OSError as error:
        raise GanvasError(f"the landmarks {path} cannot be read ({error.strerror or error}); check the path") from error
    except (ValueError, KeyError, TypeError, EOFError) as error:
        raise GanvasError(f"{path} holds no landmarks; give a list of [x, y], 68 or 5 of them") from error
    if points.ndim != 2 or points.shape[1] != 2 or len(points) not in COUNTS:
        raise GanvasError(f"{path} must hold 68 or 5 points [x, y] of one face, and holds {list(points.shape)}")
    if not np.isfinite(points).all():
        raise GanvasError(f"{path} has landmarks that are NaN or infinite; detect them again")
    return points


def _read(path: Path) -> Any:
    match path.suffix.lower():
        case ".json":
            found = json.loads(path.read_text())
            return found[KEY] if isinstance(found, dict) else found
        case ".txt":
            return [[float(number) for number in line.replace(",", " ").split()]
                    for line in path.read_text().splitlines() if line.strip()]  # fmt: skip
        case ".npy":
            return np.load(path, allow_pickle=False)
        case ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return arrays[KEY if KEY in arrays.files or len(arrays.files) != 1 else arrays.files[0]]
    raise GanvasError(f"landmarks are read from {', '.join(SUFFIXES)}, and {path.name} ends otherwise")
