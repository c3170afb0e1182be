"""Which of many images to label, so that few labels show every class: greedily, the next is what is shortest."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import numpy as np

from datamodules.masks import SEEN_SHARE, LabelledImages
from networks.checkpoints.errors import GanvasError

STRATA = 16  # the labels among which every class must occur often enough

Images = TypeVar("Images", bound=LabelledImages)


def shown_classes(images: LabelledImages) -> np.ndarray:
    """Whether each class really occurs in each image, ``bool [N, K]``."""
    return images.class_pixels() >= images.masks[0].size * SEEN_SHARE


def require_draw(n: int, pool: int) -> None:
    """Refuse a draw that cannot be, before candidates are rendered.

    Raises:
        GanvasError: if there is no label, or the pool is too small.
    """
    if n < 1:
        raise GanvasError(f"The number of labels must be at least 1, got {n}.")
    if pool < STRATA:
        raise GanvasError(f"The pool of label candidates must hold at least {STRATA} images, got {pool}.")


def draw_stratified(candidates: Images, n: int, minimum: np.ndarray, pool: int) -> Images:
    """The first ``n`` of a draw whose first 16 show class ``k`` in at least ``minimum[k]`` images.

    Args:
        candidates: what is drawn from, in random order: the rest of the draw is theirs.
        n: how many, 1 or more.
        minimum: ``int [K]``.
        pool: how many of the first candidates the 16 are chosen from.

    Raises:
        GanvasError: if ``n`` is below 1, or the pool has no 16 images with every class that often.
    """
    require_draw(n, pool)
    first = _stratify(shown_classes(candidates)[:pool], minimum, candidates.classes.names)
    rest = [i for i in range(len(candidates)) if i not in set(first)]
    drawn = candidates.take([*first, *rest][:n])
    # The order is part of the draw; with the rank in front, a folder written from it is read back in the same order.
    return replace(drawn, names=tuple(f"{rank:03d}-{name}" for rank, name in enumerate(drawn.names)))


def _stratify(shows: np.ndarray, minimum: np.ndarray, names: tuple[str, ...]) -> list[int]:
    """Greedily choose rows of ``shows`` (bool ``[N, K]``) until column k was shown ``minimum[k]`` times."""
    scarce = shows.sum(axis=0) < minimum
    if scarce.any():
        k = scarce.argmax()
        raise GanvasError(f"The class {names[k]!r} occurs in fewer than {minimum[k]} of the {len(shows)} label "
                          "candidates; ask for a larger pool or a smaller minimum.")  # fmt: skip
    chosen: list[int] = []
    count = np.zeros(shows.shape[1], dtype=int)
    while (short := count < minimum).any():
        # A class not seen at all weighs more than all classes seen too rarely, so that few labels cover much.
        need = short + (short & (count == 0)) * shows.shape[1]
        gain = shows @ need
        gain[chosen] = -1
        chosen.append(int(gain.argmax()))
        count += shows[chosen[-1]]
    if len(chosen) > STRATA:
        raise GanvasError(f"It takes {len(chosen)} labels to show every class {minimum.max()} times, more than "
                          f"{STRATA}; ask for a smaller minimum.")  # fmt: skip
    return chosen
