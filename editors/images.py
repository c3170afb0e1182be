"""What an editor takes as an image: a file, a PIL image, an array or a tensor, brought to the generator's form."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from networks.checkpoints.errors import GanvasError
from networks.checkpoints.images import read_image

ImageLike = str | Path | Image.Image | np.ndarray | Tensor


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
        image = np.asarray(image.convert("RGB"))
    if isinstance(image, np.ndarray):
        if image.ndim != 3 or image.dtype != np.uint8:
            raise ValueError(f"an array must be uint8 [H, W, C], got {image.dtype} {list(image.shape)}")
        image = torch.from_numpy(image.copy()).permute(2, 0, 1)
    image = image[None] if image.ndim == 3 else image
    if image.ndim != 4 or len(image) == 0:
        raise ValueError(f"images must be [N, C, H, W] with N >= 1, got {list(image.shape)}")
    image = image.float() / 127.5 - 1 if image.dtype == torch.uint8 else image.float()
    if not torch.isfinite(image).all():
        raise GanvasError("an image has values that are NaN or infinite; check where it comes from")
    return image


def gather(what: ImageLike | Sequence[ImageLike], channels: int, resolution: int) -> Tensor:
    """One image or several, in any form, as one batch of the generator's form, ``[N, C, R, R]`` in [-1, 1]."""
    items = list(what) if isinstance(what, list | tuple) else [what]
    if not items:
        raise GanvasError("there are no images; give at least one")
    return torch.cat([fit(to_tensor(item), channels, resolution) for item in items])


def fit(images: Tensor, channels: int, resolution: int) -> Tensor:
    """``images [N, C, H, W]`` at the generator's resolution; warns if it has to resize.

    Raises:
        GanvasError: if an image is not square or has another number of channels.
    """
    _, c, height, width = images.shape
    if c != channels:
        raise GanvasError(f"the generator makes images of {channels} channels and got {c}; convert the images")
    if height != width:
        raise GanvasError(
            f"images must be square as the generator's are, got {width}x{height} pixels; crop them so that the object"
            " lies as in the generator's images"
        )
    if height == resolution:
        return images
    warnings.warn(f"images of {width}x{height} are resized to {resolution}x{resolution}", stacklevel=2)
    resized = F.interpolate(images, (resolution, resolution), mode="bicubic", antialias=True, align_corners=False)
    return resized.clamp(-1, 1)
