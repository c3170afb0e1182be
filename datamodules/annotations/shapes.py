"""Shapes that people draw, as pixels: polygons, boxes, circles, run lengths; each checked against its image.

COCO's own library draws them, so that what CVAT, Label Studio and COCO tools show is what is learned from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco

Runs = dict[str, Any]   # {"size": [height, width], "counts": text}
SLACK = 1.0   # pixels that a point may lie outside the image: a click on its edge
ROUND = 64    # corners of a circle


class ShapeError(ValueError):
    """What is wrong with a shape, as the end of a sentence that begins with its name."""


def polygon(rings: Sequence[Any], height: int, width: int) -> np.ndarray:
    """The pixels of one polygon or of several together, ``bool [height, width]``.

    Args:
        rings: each ``[P, 2]``, x and y of its corners; pixel (0, 0) reaches from 0 to 1.
        height: of the image.
        width: of the image.

    Raises:
        ShapeError: fewer than three corners, a coordinate that is none or lies outside the image, or no pixel inside.

    Example:
        >>> polygon([[[1, 1], [3, 1], [3, 2], [1, 2]]], 3, 4).astype(int).tolist()
        [[0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    """
    if not rings:
        raise ShapeError("has no outline")
    flat = []
    for ring in rings:
        corners = _corners(ring, height, width)
        if len(corners) < 3:
            raise ShapeError(f"has {len(corners)} corners, and an area needs 3")
        flat.append(np.clip(corners, 0, [width, height]).ravel().tolist())
    return _inside(coco.decode(coco.merge(coco.frPyObjects(flat, height, width))))


def rectangle(points: Any, height: int, width: int) -> np.ndarray:
    """The pixels between two opposite corners.

    Raises:
        ShapeError: as :func:`polygon`, or if there are not two.
    """
    (x0, y0), (x1, y1) = _two(points, height, width)
    return polygon([[[x0, y0], [x1, y0], [x1, y1], [x0, y1]]], height, width)


def circle(points: Any, height: int, width: int) -> np.ndarray:
    """The pixels of a disc, given its centre and a point of its edge; what reaches beyond the image is cut off.

    Raises:
        ShapeError: as :func:`rectangle`.
    """
    centre, edge = _two(points, height, width)
    angles = np.linspace(0, 2 * np.pi, ROUND, endpoint=False)
    ring = centre + np.hypot(*(edge - centre)) * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return polygon([np.clip(ring, 0, [width, height])], height, width)


def run_lengths(data: Any, height: int, width: int) -> np.ndarray:
    """The pixels of COCO's run lengths, ``{"size": [height, width], "counts": text or numbers}``.

    Raises:
        ShapeError: if they are damaged, or those of an image of another size.
    """
    size, counts = data.get("size"), data.get("counts")
    if size != [height, width]:
        raise ShapeError(f"has run lengths of size {size} (height, width), and the image is [{height}, {width}]")
    if isinstance(counts, str):
        counts = _numbers(counts)
    if not isinstance(counts, list) or not all(isinstance(n, int) for n in counts):
        raise ShapeError("has run lengths that are neither text nor numbers")
    # The library trusts what it is given, and would read and write beyond it.
    if min(counts, default=0) < 0 or sum(counts) != height * width:
        raise ShapeError(f"has run lengths that do not add up to the {height * width} pixels of the image")
    return _inside(coco.decode(coco.frPyObjects({"size": [height, width], "counts": counts}, height, width)))


def _numbers(text: str) -> list[int]:
    """COCO's compressed run lengths as numbers.

    A number has five bits in each character, the lowest first, from "0" on; the sixth says that more follow, and the
    fifth of the last is the sign. From the fourth number on, it is the difference from the second before.

    Raises:
        ShapeError: if the text has another character, or ends within a number.
    """
    counts: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise ShapeError("has damaged run lengths")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (bits & 16) << (shift - 4)
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    if shift:
        raise ShapeError("has damaged run lengths")
    return counts


def patch(pixels: np.ndarray, points: Any, height: int, width: int) -> np.ndarray:
    """The pixels of a small mask ``bool [h, w]`` whose first pixel lies at ``points[0]``.

    Raises:
        ShapeError: if it reaches beyond the image, or holds no pixel.
    """
    corner, _ = _two(points, height, width)
    left, top = (int(v) for v in corner)
    bottom, right = top + pixels.shape[0], left + pixels.shape[1]
    if min(top, left) < 0 or bottom > height or right > width:
        raise ShapeError(f"has a mask that reaches to ({right}, {bottom}), outside the {width}x{height} image")
    whole = np.zeros((height, width), bool)
    whole[top:bottom, left:right] = pixels
    return _inside(whole)


def encode(mask: np.ndarray) -> Runs:
    """``bool [H, W]`` as COCO's run lengths, ready for JSON: a thousandth of the memory."""
    found = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(mask.shape), "counts": found["counts"].decode("ascii")}


def decode(runs: Runs) -> np.ndarray:
    """What :func:`encode` was given."""
    return coco.decode(runs).astype(bool)


def area(runs: Runs) -> int:
    """How many pixels they cover."""
    return int(coco.area(runs))


def box(runs: Runs) -> list[int]:
    """Left, top, width and height of what they cover."""
    return [int(value) for value in coco.toBbox(runs)]


def shared(first: Runs, second: Runs) -> int:
    """How many pixels both cover."""
    return int(coco.area(coco.merge([first, second], intersect=True)))


def _corners(points: Any, height: int, width: int) -> np.ndarray:
    """``[P, 2]`` numbers inside the image.

    Raises:
        ShapeError: if they are not.
    """
    try:
        corners = np.asarray(points, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ShapeError("has coordinates that are no numbers") from error
    if corners.ndim != 2 or corners.shape[1] != 2 or not np.isfinite(corners).all():
        raise ShapeError("has coordinates that are no pairs of numbers")
    outside = (corners < -SLACK).any(1) | (corners > np.array([width, height]) + SLACK).any(1)
    if outside.any():
        x, y = corners[outside][0]
        raise ShapeError(f"has a point at ({x:g}, {y:g}), outside the {width}x{height} image")
    return corners


def _two(points: Any, height: int, width: int) -> np.ndarray:
    corners = _corners(points, height, width)
    if len(corners) != 2:
        raise ShapeError(f"has {len(corners)} points instead of 2")
    return corners


def _inside(mask: np.ndarray) -> np.ndarray:
    if not mask.any():
        raise ShapeError("covers no pixel")
    return mask.astype(bool)
