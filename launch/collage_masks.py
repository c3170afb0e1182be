"""Masks of a collage: brought to the generator's size, and where those of a photo's own size let it change."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from networks.checkpoints.classes import IGNORE
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.squares import mask_to_square, to_square


class MaskFit:
    """Brings a mask or a class map to the generator's size, and remembers what was drawn at a photo's.

    Args:
        photos: what is edited, each ``[H, W, 3]``; none where codes are.
        size: pixels a side of the generator's images.
    """

    def __init__(self, photos: Sequence[np.ndarray], size: int) -> None:
        self.photos, self.size = photos, size
        self._drawn: dict[int, np.ndarray | None] = {}

    def __call__(self, given: np.ndarray, number: int, path: Path) -> np.ndarray:
        """``[size, size]`` of the type of ``given [H, W]``, which is for the picture of that number.

        Raises:
            GanvasError: if it has neither the generator's size nor that of its photo.
        """
        if given.shape == (self.size, self.size):
            self._drawn[number] = None
            return given
        if not self.photos or given.shape != self.photos[number].shape[:2]:
            has = "x".join(map(str, given.shape[::-1]))
            own = " nor that of its photo" if self.photos else ""
            raise GanvasError(f"{path} is {has}, which is not the {self.size}x{self.size} of the generator{own}: give "
                              "it in that size.")  # fmt: skip
        before = self._drawn.get(number, np.zeros(given.shape, bool))
        self._drawn[number] = None if before is None else before | _marked(given)
        if given.dtype == np.uint8:
            return mask_to_square(given, self.size)
        return to_square((given[None] * 255).round().astype(np.uint8), self.size)[0].astype(np.float32) / 255

    def within(self, number: int) -> np.ndarray | None:
        """Where that photo may change, bool ``[H, W]``; None if a mask of another size says so, or none does."""
        return self._drawn.get(number)


def _marked(given: np.ndarray) -> np.ndarray:
    return (given > 0) & (given != IGNORE) if given.dtype == np.uint8 else given > 0
