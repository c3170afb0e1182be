"""What an editor takes as an image: a file, a PIL image, an array or a tensor, brought to the generator's form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from networks.checkpoints.errors import GanvasError
from networks.checkpoints.images import read_image, rgb_pixels
from networks.checkpoints.squares import to_square, window

ImageLike = str | Path | Image.Image | np.ndarray | Tensor


@dataclass(frozen=True)
class Prepared:
    """Images in the generator's form, and what they were before."""

    images: Tensor                        # [N, C, R, R] in [-1, 1]
    windows: Tensor                       # int64 [N, 4]: top, left, height, width of the picture within its square
    sizes: tuple[tuple[int, int], ...]    # height and width of each image as given

    @classmethod
    def cat(cls, parts: Sequence[Prepared]) -> Prepared:
        """All of several, one after another."""
        return cls(
            torch.cat([part.images for part in parts]), torch.cat([part.windows for part in parts]),
            tuple(size for part in parts for size in part.sizes),
        )  # fmt: skip


def to_tensor(image: ImageLike) -> Tensor:
    """Images as ``[N, C, H, W]`` floats in [-1, 1].

    Args:
        image: a path, a PIL image, a ``uint8 [H, W, C]`` array, or a tensor ``[C, H, W]`` or ``[N, C, H, W]``, either
            uint8 or floats in [-1, 1].

    Raises:
        GanvasError: if a file cannot be read, or values are not finite.
        ValueError: if an array or a tensor has another form.
    """
    if isinstance(image, str | Path):
        image = torch.from_numpy(read_image(image))
    elif isinstance(image, Image.Image):
        image = torch.from_numpy(rgb_pixels(image, "the image"))
    if isinstance(image, np.ndarray):
        if image.ndim != 3 or image.dtype != np.uint8:
            raise ValueError(f"an array must be uint8 [H, W, C], got {image.dtype} {list(image.shape)}")
        image = torch.from_numpy(image.copy()).permute(2, 0, 1)
    image = image[None] if image.ndim == 3 else image
    if image.ndim != 4 or 0 in image.shape:
        raise ValueError(f"images must be [N, C, H, W] with N >= 1, got {list(image.shape)}")
    image = image.float() / 127.5 - 1 if image.dtype == torch.uint8 else image.float()
    if not torch.isfinite(image).all():
        raise GanvasError("an image has values that are NaN or infinite; check where it comes from")
    return image


def gather(what: ImageLike | Sequence[ImageLike], channels: int, resolution: int) -> Prepared:
    """One image or several, in any form and of any size, as one batch of the generator's form.

    Raises:
        GanvasError: if there are none, or one has another number of channels.
    """
    items = list(what) if isinstance(what, list | tuple) else [what]
    if not items:
        raise GanvasError("there are no images: give at least one.")
    return Prepared.cat([prepare(to_tensor(item), channels, resolution) for item in items])


def prepare(images: Tensor, channels: int, resolution: int) -> Prepared:
    """``images [N, C, H, W]`` in [-1, 1] in the generator's form: as a folder of them is read for training.

    What is not square is centred on a black square; what has another size is resized, in 8 bits.

    Raises:
        GanvasError: if the images have another number of channels.
    """
    n, c, height, width = images.shape
    if c != channels:
        raise GanvasError(f"the generator makes images of {channels} channels and got {c}; convert the images")
    windows = torch.tensor([window(height, width, resolution)]).repeat(n, 1)
    sizes = ((height, width),) * n
    if height == width == resolution:
        return Prepared(images, windows, sizes)
    pixels = ((images + 1) * 127.5).round().clamp(0, 255).byte().cpu().numpy()
    squares = np.stack([to_square(image, resolution) for image in pixels])
    return Prepared(torch.from_numpy(squares).to(images.device) / 127.5 - 1, windows, sizes)


def inside(windows: Tensor, resolution: int) -> Tensor:
    """Which pixels of squares show the picture: ``windows [N, 4]`` to ``bool [N, 1, R, R]``."""
    top, left, height, width = (edge[:, None] for edge in windows.T)
    at = torch.arange(resolution, device=windows.device)
    rows = (at >= top) & (at < top + height)
    columns = (at >= left) & (at < left + width)
    return (rows[:, :, None] & columns[:, None, :])[:, None]
