"""Mask files in and out: index PNGs whose palette is the class palette."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from networks.checkpoints.atomic import atomic_path
from networks.checkpoints.classes import IGNORE, IGNORE_COLOR, ClassList
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.images import open_image


def read_mask(path: str | Path, classes: ClassList) -> np.ndarray:
    """Read a mask as class ids, ``uint8 [H, W]``.

    - Index and grey PNGs hold the ids themselves. The one exception: an index PNG whose colours are all class colours,
      but at other ids, was re-indexed by an image tool, and its colours are believed.
    - RGB masks are decoded by colour, exactly.

    Raises:
        GanvasError: an unreadable file, an id outside the class list, a colour outside the palette (with the pixel),
            or transparency.
    """
    path = Path(path)
    image = open_image(path)
    if image.mode == "P":
        ids = np.asarray(image)
        recoded = _recode(ids, image, classes)
        return recoded if recoded is not None else _checked(ids, path, classes)
    if image.mode in ("1", "L", "I", "I;16", "I;16B", "I;16L"):
        return _checked(np.asarray(image).astype(np.int64), path, classes)
    if image.mode in ("LA", "RGBA", "PA"):
        if image.convert("RGBA").getextrema()[3][0] < 255:
            raise GanvasError(f"The mask {path} is partly transparent, so some pixels have no class; save it opaque.")
        image = image.convert("RGB")
    if image.mode != "RGB":
        raise GanvasError(f"The mask {path} is of kind {image.mode}; save it as an index, grey or RGB PNG.")
    return _by_color(np.asarray(image), path, classes)


def write_mask(path: str | Path, mask: np.ndarray, classes: ClassList) -> None:
    """Write class ids ``uint8 [H, W]`` as an index PNG with the class palette, in one step.

    Raises:
        ValueError: if an id is neither a class nor 255.
    """
    if mask.dtype != np.uint8 or mask.ndim != 2 or np.any((mask >= len(classes)) & (mask != IGNORE)):
        raise ValueError(f"a mask is uint8 [H, W] with ids below {len(classes)} or 255")
    image = Image.fromarray(mask)
    image.putpalette(classes.paint(np.arange(256, dtype=np.uint8)).tobytes())
    with atomic_path(path) as partial:
        image.save(partial, format="PNG")


def index_palette(image: Image.Image) -> np.ndarray:
    """The colours of an index image, ``uint8 [256, 3]``; ids without one are black."""
    table = np.zeros((256, 3), dtype=np.uint8)
    colors = np.array(image.getpalette("RGB") or [], dtype=np.uint8).reshape(-1, 3)
    table[: len(colors)] = colors
    return table


def _recode(ids: np.ndarray, image: Image.Image, classes: ClassList) -> np.ndarray | None:
    """Ids by colour, if every colour in use is a class colour and some id is not its own; else None."""
    known = {color: i for i, color in enumerate(classes.palette)} | {IGNORE_COLOR: IGNORE}
    table = np.arange(256, dtype=np.uint8)
    for used in np.unique(ids):
        color = tuple(int(v) for v in index_palette(image)[used])
        if color not in known:
            return None
        table[used] = known[color]
    return table[ids]


def _checked(ids: np.ndarray, path: Path, classes: ClassList) -> np.ndarray:
    wrong = np.argwhere((ids < 0) | ((ids >= len(classes)) & (ids != IGNORE)))
    if len(wrong):
        y, x = wrong[0]
        raise GanvasError(
            f"The mask {path} has class id {ids[y, x]} at pixel (x={x}, y={y}), but the class list ends at "
            f"{len(classes) - 1} ({classes.names[-1]!r}; 255 = ignore): correct the mask or name the class."
        )
    return ids.astype(np.uint8)


def _by_color(rgb: np.ndarray, path: Path, classes: ClassList) -> np.ndarray:
    packed = rgb.astype(np.int32) @ np.array([65536, 256, 1])
    colors, inverse = np.unique(packed, return_inverse=True)
    known = {r << 16 | g << 8 | b: i for i, (r, g, b) in enumerate(classes.palette)}
    known[IGNORE_COLOR[0] << 16 | IGNORE_COLOR[1] << 8 | IGNORE_COLOR[2]] = IGNORE
    for color in colors.tolist():
        if color not in known:
            y, x = np.argwhere(packed == color)[0]
            raise GanvasError(
                f"The mask {path} has colour #{color:06x} at pixel (x={x}, y={y}), which is the colour of no class: "
                "correct the mask (no smoothing, no JPEG), or add the colour to classes.json."
            )
    return np.array([known[c] for c in colors.tolist()], dtype=np.uint8)[inverse].reshape(packed.shape)
