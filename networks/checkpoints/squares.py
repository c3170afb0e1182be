"""Pictures of any shape as the squares that generators draw, and what was found in a square back at their shape."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from PIL import Image

from networks.checkpoints.classes import IGNORE

Window = tuple[int, int, int, int]   # top, left, height, width
Fit = Literal["pad", "crop", "stretch"]
FITS: tuple[Fit, ...] = get_args(Fit)


def to_square(image: np.ndarray, resolution: int | None = None, fit: Fit = "pad") -> np.ndarray:
    """Make a picture square and resize it: by area to shrink it, bicubic to enlarge it.

    Every picture that a generator is to reproduce comes this way, in training and in editing.

    Args:
        image: ``uint8 [C, H, W]``.
        resolution: pixels a side; None: the longer side as it is, or the shorter one of what is cropped.
        fit: ``pad`` centres the picture on a black square, ``crop`` takes the square in its middle, ``stretch`` gives
            up its proportions.

    Returns:
        ``uint8 [C, R, R]``.
    """
    height, width = image.shape[1:]
    if fit == "pad":
        image = np.pad(image, ((0, 0), *_margins(height, width)))
    elif fit == "crop":
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        image = image[:, top : top + side, left : left + side]
    side = resolution or max(image.shape[1:])
    if image.shape[1:] == (side, side):
        return image
    return np.stack([_resized(plane, side) for plane in np.ascontiguousarray(image)])


def _resized(plane: np.ndarray, side: int) -> np.ndarray:
    """``uint8 [H, W]`` at ``side`` pixels a side."""
    # Box is the exact area mean when shrinking; when enlarging it would only repeat pixels.
    smaller = Image.fromarray(plane).resize([min(side, n) for n in plane.shape[::-1]], Image.Resampling.BOX)
    return np.asarray(smaller.resize((side, side), Image.Resampling.BICUBIC))


def mask_to_square(mask: np.ndarray, resolution: int | None = None) -> np.ndarray:
    """The mask ``uint8 [H, W]`` of a picture after :func:`to_square`, ``uint8 [R, R]``: "ignore" on the margin."""
    square = np.pad(mask, _margins(*mask.shape), constant_values=IGNORE)
    if resolution in (None, len(square)):
        return square
    return np.asarray(Image.fromarray(square).resize((resolution, resolution), Image.Resampling.NEAREST))


def window(height: int, width: int, resolution: int | None = None) -> Window:
    """Where a picture of this size lies after :func:`to_square`, in whole pixels and at least one.

    Example:
        >>> window(48, 64, 32)
        (4, 0, 24, 32)
    """
    (top, _), (left, _) = _margins(height, width)
    side = max(height, width)
    # A pixel belongs to the picture if its centre does, which is what "nearest" asks of a mask: v R / side - 1/2, up.
    edges = (top, left, top + height, left + width)
    y0, x0, y1, x1 = (-((side - 2 * v * (resolution or side)) // (2 * side)) for v in edges)
    return y0, x0, max(y1 - y0, 1), max(x1 - x0, 1)


def classes_from_square(probabilities: np.ndarray, height: int, width: int) -> np.ndarray:
    """The likeliest class of each pixel of the picture that went into a square.

    Probabilities are interpolated, not ids, so that outlines stay smooth on a picture larger than the square.

    Args:
        probabilities: ``float [K, R, R]``.
        height: of the picture.
        width: of the picture.

    Returns:
        ``uint8 [height, width]``.
    """
    (top, _), (left, _) = _margins(height, width)
    side, resolution = max(height, width), probabilities.shape[-1]
    box = tuple(v * resolution / side for v in (left, top, left + width, top + height))
    best = np.full((height, width), -np.inf, np.float32)
    classes = np.zeros((height, width), np.uint8)
    for k, plane in enumerate(probabilities.astype(np.float32)):   # one by one: all of a large photo's are gigabytes
        found = np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR, box=box))
        classes[found > best] = k
        np.maximum(best, found, out=best)
    return classes


def _margins(height: int, width: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Pixels above and below, left and right."""
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    return (top, side - height - top), (left, side - width - left)
