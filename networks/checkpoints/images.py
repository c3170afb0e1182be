"""Picture files in and out: PNG, JPEG, WebP and more become 8-bit RGB by the same rules everywhere."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from networks.checkpoints.atomic import atomic_path
from networks.checkpoints.errors import GanvasError


def open_image(path: Path, data: bytes | None = None) -> Image.Image:
    """Open and fully decode an image file.

    Args:
        path: the file.
        data: its contents, where they are not to be read from ``path``: an archive's.

    Raises:
        GanvasError: if it is missing, truncated or no image.
    """
    try:
        with Image.open(path if data is None else io.BytesIO(data)) as image:
            image.load()
            return image
    except FileNotFoundError as error:
        raise GanvasError(f"There is no file {path}; check the path.") from error
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise GanvasError(f"{path} cannot be read as an image ({error}); is it truncated? Save it again.") from error


def read_image(path: str | Path, data: bytes | None = None) -> np.ndarray:
    """Read a picture as ``uint8 [3, H, W]``.

    Grey becomes three equal channels; 16 bits a channel are scaled to 8 (65535 to 255); transparency is composited on
    white, as a browser would show it; the EXIF orientation of a photograph is applied.

    Args:
        path: the file.
        data: see :func:`open_image`.

    Raises:
        GanvasError: if the file is missing, damaged, or of a kind without a fixed range (32-bit integers, floats).
    """
    return rgb_pixels(open_image(Path(path), data), str(path))


def rgb_pixels(opened: Image.Image, what: str) -> np.ndarray:
    """An open picture as ``uint8 [3, H, W]``, by the rules of :func:`read_image`.

    Args:
        opened: the picture.
        what: its name, for sentences.

    Raises:
        GanvasError: if it is of a kind without a fixed range.
    """
    kind = opened.format  # exif_transpose may give a copy, which no longer knows its file format
    image = ImageOps.exif_transpose(opened)
    if image.mode.startswith("I;16") or (image.mode == "I" and kind == "PNG"):
        grey = np.asarray(image).astype(np.float64) / 257.0
        image = Image.fromarray(np.rint(grey).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise GanvasError(f"{what} holds 32-bit numbers, whose black and white are unknown; save it with 8 or 16 bits.")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.ascontiguousarray(np.asarray(image.convert("RGB")).transpose(2, 0, 1))


def write_image(path: str | Path, image: np.ndarray) -> None:
    """Write ``uint8 [3, H, W]`` as an RGB PNG, in one step."""
    with atomic_path(path) as partial:
        partial.write_bytes(image_png(image))


def image_png(image: np.ndarray) -> bytes:
    """``uint8 [3, H, W]`` as the contents of an RGB PNG."""
    written = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))).save(written, format="PNG")
    return written.getvalue()
