"""Faces cut out as a generator of aligned faces knows them, and put back where they were.

The square of FFHQ (Karras et al. 2019, arXiv 1812.04948, appendix A): turned with the face, centred between eyes and
mouth, as large as the larger of twice the distance of the eyes and 1.8 times that from eyes to mouth, to each side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy import ndimage

from networks.checkpoints.errors import GanvasError

LEFT_EYE, RIGHT_EYE, MOUTH = slice(36, 42), slice(42, 48), (48, 54)   # of 68 points
EYES, EYES_TO_MOUTH, DOWN = 2.0, 1.8, 0.1   # half a side in either distance; the centre's way from eyes to mouth


@dataclass(frozen=True)
class Alignment:
    """A square in a photo, in pixels whose centres are whole numbers.

    Crop pixel (u, v) of R a side lies at ``centre + across (2 u + 1 - R) / R + down (2 v + 1 - R) / R``.
    """

    centre: tuple[float, float]     # x, y
    across: tuple[float, float]     # from the centre to the middle of the right side

    @classmethod
    def of(cls, landmarks: np.ndarray) -> Self:
        """The square of a face with 68 or 5 landmarks ``[N, 2]``.

        Raises:
            GanvasError: if the points do not span a face.
        """
        if len(landmarks) == 68:
            left, right = landmarks[LEFT_EYE].mean(0), landmarks[RIGHT_EYE].mean(0)
            mouth = landmarks[list(MOUTH)].mean(0)
        else:
            left, right, mouth = landmarks[0], landmarks[1], landmarks[3:5].mean(0)
        eyes = right - left
        to_mouth = mouth - (left + right) / 2
        # Both tell the face's turn; a quarter of a turn brings the second to the direction of the first.
        direction = eyes + np.array([to_mouth[1], -to_mouth[0]])
        length = math.hypot(*direction)
        if length < 1e-6:
            raise GanvasError("the landmarks do not span a face: eyes and mouth coincide or contradict each other")
        half = max(EYES * math.hypot(*eyes), EYES_TO_MOUTH * math.hypot(*to_mouth))
        centre, across = (left + right) / 2 + DOWN * to_mouth, direction / length * half
        return cls((float(centre[0]), float(centre[1])), (float(across[0]), float(across[1])))

    @property
    def side(self) -> float:
        """Of the square, in pixels of the photo."""
        return 2 * math.hypot(*self.across)

    def crop(self, photo: np.ndarray, size: int) -> np.ndarray:
        """The face, uint8 ``[size, size, C]``, of a photo ``[H, W, C]``; beyond its edges the photo is mirrored.

        Raises:
            GanvasError: if the square's middle is outside the photo.
        """
        height, width = photo.shape[:2]
        if not (0 <= self.centre[0] < width and 0 <= self.centre[1] < height):
            raise GanvasError(f"the landmarks are of a face around {self.centre[0]:.0f}, {self.centre[1]:.0f}, outside "
                              f"the photo of {width}x{height}: give those of this photo.")  # fmt: skip
        samples = max(math.ceil(self.side / size), 1)
        fine = _sampled(photo, self._in_photo(size * samples), "mirror")
        fine = fine.reshape(size, samples, size, samples, -1).mean((1, 3))
        return np.clip(np.rint(fine), 0, 255).astype(np.uint8)

    def crop_mask(self, mask: np.ndarray, size: int) -> np.ndarray:
        """The same of class ids ``[H, W]``: each of the crop's pixels takes the nearest."""
        x, y = self._in_photo(size)
        return ndimage.map_coordinates(mask, [y, x], order=0, mode="mirror")

    def back(self, crop: np.ndarray, region: np.ndarray, photo: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A crop at its place in the photo.

        Args:
            crop: uint8 ``[R, R, C]``.
            region: bool ``[R, R]``, the part of it that counts.
            photo: uint8 ``[H, W, C]``.

        Returns:
            float64 ``[H, W, C]``, the photo's own values outside the square; and bool ``[H, W]``, where the region is.
        """
        size, shown, where = len(crop), photo.astype(np.float64), np.zeros(photo.shape[:2], dtype=bool)
        top, bottom, left, right = self._box(*photo.shape[:2])
        samples = max(math.ceil(size / self.side), 1)
        u, v = self._in_crop(np.mgrid[top:bottom, left:right].astype(np.float64), size)
        inside = (u >= -0.5) & (u <= size - 0.5) & (v >= -0.5) & (v <= size - 0.5)
        # A crop that is finer than the photo is averaged over each of the photo's pixels.
        offsets = (np.arange(samples) + 0.5) / samples - 0.5
        total = np.zeros((bottom - top, right - left, crop.shape[2]))
        for dy in offsets:
            for dx in offsets:
                rows, columns = np.mgrid[top:bottom, left:right].astype(np.float64)
                total += _sampled(crop, self._in_crop((rows + dy, columns + dx), size), "nearest")
        part = (slice(top, bottom), slice(left, right))
        shown[part][inside] = (total / samples**2)[inside]
        near = ndimage.map_coordinates(region.astype(np.float64), [v, u], order=1, mode="nearest")
        where[part] = inside & (near >= 0.5)
        return shown, where

    def _in_photo(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Where in the photo each pixel of a crop lies: x and y, ``[size, size]``."""
        (ax, ay), at = self.across, (2 * np.arange(size) + 1 - size) / size
        u, v = at[None, :], at[:, None]
        return self.centre[0] + ax * u - ay * v, self.centre[1] + ay * u + ax * v

    def _in_crop(self, yx: tuple[np.ndarray, np.ndarray] | np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
        """The way back: pixels of the photo as coordinates of a crop."""
        (ax, ay), squared = self.across, self.across[0] ** 2 + self.across[1] ** 2
        x, y = yx[1] - self.centre[0], yx[0] - self.centre[1]
        u, v = (ax * x + ay * y) / squared, (ax * y - ay * x) / squared   # -1 to 1
        return ((u + 1) * size - 1) / 2, ((v + 1) * size - 1) / 2

    def _box(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Rows and columns of the photo that the square touches: top, bottom, left, right."""
        reach = abs(self.across[0]) + abs(self.across[1]) + 1
        (x, y), low = self.centre, (lambda value: max(math.floor(value - reach), 0))
        return low(y), min(math.ceil(y + reach) + 1, height), low(x), min(math.ceil(x + reach) + 1, width)


def _sampled(image: np.ndarray, at: tuple[np.ndarray, np.ndarray], mode: str) -> np.ndarray:
    """Cubic interpolation of ``[H, W, C]`` at x and y, float64 ``[..., C]``."""
    x, y = at
    channels = (image[..., c].astype(np.float64) for c in range(image.shape[-1]))
    return np.stack([ndimage.map_coordinates(c, [y, x], order=3, mode=mode) for c in channels], axis=-1)
