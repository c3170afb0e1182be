"""Image files in: any PNG, JPEG or WebP becomes 8-bit RGB by the same rules everywhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from networks.checkpoints.errors import GanvasError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})


def read_rgb(path: str | Path) -> np.ndarray:
    """Read an image file.

    Grey images get three equal channels, 16-bit values are scaled to 8 bits, transparency is laid on white, and a
    camera's rotation flag is applied.

    Returns:
        ``uint8 [H, W, 3]``.

    Raises:
        GanvasError: if the file is missing, cut short or not an image.
    """
    path = Path(path)
    try:
        with Image.open(path) as image:
            return np.asarray(_to_rgb(ImageOps.exif_transpose(image)))
    except FileNotFoundError as error:
        raise GanvasError(f"there is no image {path}; check the path") from error
    except UnidentifiedImageError as error:
        raise GanvasError(f"{path} is not an image that can be read; use PNG, JPEG or WebP") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise GanvasError(f"{path} is damaged ({error}); save it again or take it out of the folder") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image, dtype=np.float64)
        # PNG stores 16 bits; 257 maps 65535 onto 255 exactly.
        return Image.fromarray((values / 257).round().clip(0, 255).astype(np.uint8)).convert("RGB")
    if "A" in image.mode or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")
