"""Pasting an edit back: the photo stays as it is, and shows the edited image where the edit took place.

An inversion loses detail everywhere. Outside the region of an edit there is no need to show it: the photo itself is
there, at its own size.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from PIL import Image
from scipy import ndimage
from scipy.sparse import csc_matrix, diags
from scipy.sparse.linalg import splu

from editors.alignment import Alignment
from networks.checkpoints.errors import GanvasError

Paste = Literal["feather", "poisson", "poisson-mixed"]
PASTES: tuple[Paste, ...] = get_args(Paste)
FEATHER = 0.02     # how far the edit fades into the photo, as a share of the square's side


def paste(
    photo: np.ndarray, edited: np.ndarray, region: np.ndarray, how: Paste = "feather",
    alignment: Alignment | None = None, within: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """The photo with the edited image where the region is.

    Args:
        photo: uint8 ``[H, W, 3]``, of any shape.
        edited: uint8 ``[R, R, 3]``, the generator's square, in the middle of which the photo lies; or what
            ``alignment`` cut out of the photo.
        region: bool ``[R, R]``, where the edit took place.
        how: ``feather`` fades between the two; ``poisson`` takes the edited image's gradients and the photo's colours
            along the region's outline (Perez et al. 2003, eq. 4); ``poisson-mixed`` takes each gradient from whichever
            of the two has the stronger one there, so that lines of the photo go on through the region (eq. 12).
        alignment: where in the photo the square lies, if it was cut out.
        within: bool ``[H, W]``, what of the photo the region may cover: a mask that was drawn finer than the
            generator's pixels; None: all of it.

    Returns:
        uint8 ``[H, W, 3]``; the photo itself, bit for bit, away from the region and outside the square.

    Raises:
        GanvasError: if there is no such way.
    """
    if how not in PASTES:
        raise GanvasError(f"an edit is pasted by {', '.join(PASTES[:-1])} or {PASTES[-1]}, not by {how}")
    height, width = photo.shape[:2]
    if alignment is None:
        side, fitted = max(height, width), _out_of_square(edited, height, width, Image.Resampling.BICUBIC)
        where = _out_of_square(region.astype(np.uint8) * 255, height, width, Image.Resampling.BILINEAR) >= 128
    else:
        side, (fitted, where) = alignment.side, alignment.back(edited, region, photo)
    where = where if within is None else where & within
    if not where.any():
        return photo.copy()
    if how == "feather":
        shown = _feather(photo, fitted, where, FEATHER * side)
    else:
        shown = _poisson(photo, fitted, where, mixed=how == "poisson-mixed")
    return np.clip(np.rint(shown), 0, 255).astype(np.uint8)


def _out_of_square(square: np.ndarray, height: int, width: int, resampling: Image.Resampling) -> np.ndarray:
    """The part of a square ``[R, R, ...]`` that shows a picture of this size, at this size."""
    side, size = max(height, width), len(square)
    top, left = (side - height) // 2, (side - width) // 2
    box = tuple(v * size / side for v in (left, top, left + width, top + height))
    return np.asarray(Image.fromarray(square).resize((width, height), resampling, box=box))


def _feather(photo: np.ndarray, edited: np.ndarray, where: np.ndarray, reach: float) -> np.ndarray:
    """The edit in the region, fading out ``reach`` pixels beyond it."""
    reach = max(reach, 1.0)
    away = ndimage.distance_transform_edt(~where)
    weight = 0.5 + 0.5 * np.cos(np.pi * np.clip(away / (reach + 1), 0, 1))[..., None]
    return photo * (1 - weight) + edited * weight


def _poisson(photo: np.ndarray, edited: np.ndarray, where: np.ndarray, mixed: bool) -> np.ndarray:
    """Solve ``laplace f = laplace edited`` in the region, with ``f = photo`` around it.

    With ``mixed``, a difference of two neighbours is the photo's where that is the larger one. At the edge of the
    photo, where there is nothing around, the gradient across the edge is left out of both sides.
    """
    number = np.full(where.shape, -1)
    number[where] = np.arange(where.sum())
    photo, edited = photo.astype(np.float64), edited.astype(np.float64)
    degree, right = np.zeros(where.sum()), np.zeros((where.sum(), photo.shape[2]))
    links: list[tuple[np.ndarray, np.ndarray]] = []
    rows, columns = np.nonzero(where)
    for down, across in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        r, c = rows + down, columns + across
        there = (r >= 0) & (r < where.shape[0]) & (c >= 0) & (c < where.shape[1])
        here, r, c = np.flatnonzero(there), r[there], c[there]
        degree[here] += 1
        step, own = (picture[rows[here], columns[here]] - picture[r, c] for picture in (edited, photo))
        right[here] += np.where(np.abs(own) > np.abs(step), own, step) if mixed else step
        known = ~where[r, c]
        right[here[known]] += photo[r[known], c[known]]
        links.append((here[~known], number[r[~known], c[~known]]))
    i, j = (np.concatenate(part) for part in zip(*links, strict=True))
    # A region that is the whole photo has no edge to take colours from: a touch of the edited image's own decides.
    slack = 0.0 if (~where).any() else 1e-6
    matrix = diags(degree + slack).tocsc() - csc_matrix((np.ones(len(i)), (i, j)), shape=(len(degree),) * 2)
    right += slack * edited[where]
    solved = photo.copy()
    solved[where] = splu(matrix).solve(right)
    return solved
