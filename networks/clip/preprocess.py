"""Images as a CLIP takes them: an exact area resize, then its own mean and deviation.

StyleCLIP enlarges an image seven times by repetition and averages blocks of ``size / 32`` pixels, through 616 MB for
one image of 1024 pixels. Each of its outputs is the average of the image over a square of ``size / 224`` pixels, edges
counted by the part that lies inside; so it is ``A x A^T`` with a matrix for each axis, which this module applies
without the large image in between.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from networks.checkpoints.errors import GanvasError

OPENAI_MEAN, OPENAI_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
LARGEST = 1e6   # mean or deviation that can be meant


@dataclass(frozen=True)
class Preprocessing:
    """How images in [-1, 1] become what an image tower takes.

    ``legacy`` hands over the resized image in [-1, 1] as it is, as the original StyleCLIP did by mistake; mappers that
    were trained so need it.
    """

    size: int                           # pixels a side
    mean: tuple[float, ...] = OPENAI_MEAN   # of each channel, of images in [0, 1]
    std: tuple[float, ...] = OPENAI_STD
    legacy: bool = False

    def __call__(self, images: Tensor) -> Tensor:
        """``[N, 3, H, W]`` in [-1, 1] to ``[N, 3, size, size]``; differentiable.

        Raises:
            ValueError: if they are no such images.
        """
        x = area_resize(images, self.size)
        if self.legacy:
            return x
        mean, std = (x.new_tensor(values).view(3, 1, 1) for values in (self.mean, self.std))
        return ((x + 1) / 2 - mean) / std

    def to_json(self) -> dict[str, Any]:
        """As an identity stores it."""
        return {"size": self.size, "mean": list(self.mean), "std": list(self.std), "legacy": self.legacy}


def area_resize(images: Tensor, size: int) -> Tensor:
    """Average ``[N, 3, H, W]`` over the squares that ``size x size`` pixels cover; enlarging repeats pixels.

    Equal to ``avg_pool2d(interpolate(x, scale_factor=7), H // 32)`` for ``size`` 224 and H = W a power of two from 32
    on. ``interpolate(mode="area")`` rounds the squares to whole pixels and differs.

    Raises:
        ValueError: if the images are no floats ``[N, 3, H, W]``.
    """
    if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
        raise ValueError(f"images must be floats [N, 3, H, W] in [-1, 1], got {images.dtype} {list(images.shape)}")
    height, width = images.shape[-2:]
    x = images
    if width != size:
        x = x @ area_weights(width, size).to(x).T      # [N, 3, H, size]
    if height != size:
        x = area_weights(height, size).to(x) @ x       # [N, 3, size, size]
    return x


@cache
def area_weights(length: int, size: int) -> Tensor:
    """The matrix ``[size, length]`` that averages ``length`` pixels over ``size`` intervals of equal length.

    Row o holds how much of pixel j lies in ``[o, o + 1) length / size``, over that length: in whole numbers, in units
    of ``1 / size`` of a pixel, so that no rounding decides what lies inside.

    Example:
        >>> area_weights(3, 2)
        tensor([[0.6667, 0.3333, 0.0000],
                [0.0000, 0.3333, 0.6667]])
    """
    with torch.inference_mode(False):   # kept, so it must do for a later training step, too
        outputs, pixels = torch.arange(size)[:, None] * length, torch.arange(length)[None] * size
        inside = torch.minimum(outputs + length, pixels + size) - torch.maximum(outputs, pixels)
        return (inside.clamp_min(0).double() / length).float()


def checked_preprocessing(size: Any, mean: Any, std: Any, legacy: bool, source: str) -> Preprocessing:
    """What a library or a file says of how a CLIP takes images.

    Args:
        size: pixels a side, one number or both sides.
        mean: of the three channels of images in [0, 1].
        std: likewise.
        legacy: as :class:`Preprocessing` has it.
        source: where it is said, for errors.

    Raises:
        GanvasError: if images are no squares, or mean and deviation are not three numbers each, deviations above 0.
    """
    sides = [size] if isinstance(size, int) else list(size) if isinstance(size, (list, tuple)) else []
    if len(set(sides)) != 1 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise GanvasError(f"{source} says that images are {_short(size)} pixels large, and only squares can be given: "
                          "use another CLIP.")  # fmt: skip
    found = [_triple(values) for values in (mean, std)]
    for name, said, values in zip(("mean", "deviation"), (mean, std), found, strict=True):
        if values is None or (name == "deviation" and min(values) <= 0):
            above = " above 0" if name == "deviation" else ""
            raise GanvasError(f"{source} says {_short(said)} for the {name} of images: write three numbers{above} "
                              "there, those that the CLIP was trained with.")  # fmt: skip
    return Preprocessing(sides[0], *found, legacy)


def _triple(values: Any) -> tuple[float, ...] | None:
    """Three numbers that can be meant, or None."""
    if not isinstance(values, (list, tuple)) or len(values) != 3:
        return None
    numbers = all(isinstance(value, (int, float)) and abs(value) < LARGEST for value in values)
    return tuple(map(float, values)) if numbers else None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
