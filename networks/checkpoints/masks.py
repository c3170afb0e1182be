"""Mask files in and out: index PNGs whose palette is the class palette."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from networks.checkpoints.atomic import atomic_path
from networks.checkpoints.classes import IGNORE, IGNORE_COLOR, ClassList, Color
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.images import open_image


def read_mask(path: str | Path, classes: ClassList, data: bytes | None = None) -> np.ndarray:
    """Read a mask as class ids, ``uint8 [H, W]``.

    - Index and grey PNGs hold the ids themselves. The one exception: an index PNG whose colours are all class colours,
      moved away from their own ids, was re-indexed by an image tool, and its colours are believed.
    - RGB masks are decoded by colour, exactly.

    Args:
        path: the file.
        classes: what its ids mean.
        data: its contents, where they are not to be read from ``path``: an archive's.

    Raises:
        GanvasError: an unreadable file, an id outside the class list or outside the file's own palette, a colour of
            no class (each with the pixel), or transparency.
    """
    path = Path(path)
    image = open_mask(path, data)
    if image.mode == "P":
        ids, palette = np.asarray(image), stored_palette(image)
        _require_colors(ids, palette, path)
        table = _reindexed(ids, palette, classes)
        return _checked(ids, path, classes) if table is None else table[ids]
    if image.mode in ("1", "L", "I", "I;16", "I;16B", "I;16L"):
        return _checked(np.asarray(image).astype(np.int64), path, classes)
    if image.mode != "RGB":
        raise GanvasError(f"The mask {path} is of kind {image.mode}; save it as an index, grey or RGB PNG.")
    return _by_color(np.asarray(image), path, classes)


def open_mask(path: Path, data: bytes | None = None) -> Image.Image:
    """Open a mask, by ``path`` or out of ``data``; an opaque alpha channel says nothing and is left out.

    Raises:
        GanvasError: an unreadable file, transparency, or 16-bit grey with an alpha channel.
    """
    image = open_image(path, data)
    if image.mode not in ("LA", "PA", "RGBA"):
        return image
    with Image.open(path if data is None else io.BytesIO(data)) as header:
        if any(tile.args == "LA;16B" for tile in header.tile):   # Pillow keeps the upper half of such ids: all 0
            raise GanvasError(f"The mask {path} has 16-bit grey with an alpha channel; save it without that channel.")
    clear = np.argwhere(np.asarray(image.getchannel("A")) < 255)
    if len(clear):
        y, x = clear[0]
        raise GanvasError(f"The mask {path} is partly transparent, first at pixel (x={x}, y={y}), and such pixels have "
                          "no class: save it without an alpha channel.")  # fmt: skip
    return image.getchannel("L") if image.mode == "LA" else image.convert("RGB")


def write_mask(path: str | Path, mask: np.ndarray, classes: ClassList) -> None:
    """Write class ids ``uint8 [H, W]`` as an index PNG with the class palette, in one step.

    Raises:
        ValueError: if an id is neither a class nor 255.
    """
    with atomic_path(path) as partial:
        partial.write_bytes(mask_png(mask, classes))


def mask_png(mask: np.ndarray, classes: ClassList) -> bytes:
    """What :func:`write_mask` writes.

    Raises:
        ValueError: if an id is neither a class nor 255.
    """
    if mask.dtype != np.uint8 or mask.ndim != 2 or np.any((mask >= len(classes)) & (mask != IGNORE)):
        raise ValueError(f"a mask is uint8 [H, W] with ids below {len(classes)} or 255")
    image, written = Image.fromarray(mask), io.BytesIO()
    image.putpalette(classes.paint(np.arange(256, dtype=np.uint8)).tobytes())
    image.save(written, format="PNG")
    return written.getvalue()


def stored_palette(image: Image.Image) -> tuple[Color, ...]:
    """The colours that an index image stores, which may be fewer than 256."""
    colors = np.array(image.getpalette("RGB") or [], dtype=np.uint8).reshape(-1, 3)
    return tuple((int(r), int(g), int(b)) for r, g, b in colors)


def _require_colors(ids: np.ndarray, palette: tuple[Color, ...], path: Path) -> None:
    """Refuse ids beyond the palette: no tool meant them. 255 is "ignore" with or without a colour."""
    wrong = np.argwhere((ids >= len(palette)) & (ids != IGNORE))
    if len(wrong):
        y, x = wrong[0]
        raise GanvasError(f"The mask {path} has class id {ids[y, x]} at pixel (x={x}, y={y}), but its own palette ends "
                          f"at {len(palette) - 1}: correct the mask.")  # fmt: skip


def _reindexed(ids: np.ndarray, palette: tuple[Color, ...], classes: ClassList) -> np.ndarray | None:
    """Class ids by the id in the file, ``uint8 [256]``, if an image tool moved the colours; None if ids are ids.

    Colours have moved if each in use belongs to a class (or to "ignore") and those at other ids than their own have
    left their own. A colour that is in its own place as well has not moved: its other id is a foreign one.
    """
    own = {color: i for i, color in enumerate(classes.palette)} | {IGNORE_COLOR: IGNORE}
    table = np.arange(256, dtype=np.uint8)
    for used in np.unique(ids).tolist():
        if used >= len(palette):   # 255 without a colour
            continue
        color = palette[used]
        if color not in own or (own[color] != used and palette[own[color]:own[color] + 1] == (color,)):
            return None
        table[used] = own[color]
    return table


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


def read_soft_mask(path: str | Path) -> np.ndarray:
    """Read where something is, ``float32 [H, W]`` from 0 to 1: white is inside, black outside, grey in between.

    Of an index PNG every id but 0 is inside.

    Raises:
        GanvasError: an unreadable file, colours, transparency, or no pixel that is at least half inside.
    """
    path = Path(path)
    image = open_mask(path)
    if image.mode == "P":
        mask = (np.asarray(image) > 0).astype(np.float32)
    elif image.mode in ("1", "L"):
        mask = np.asarray(image.convert("L"), dtype=np.float32) / 255
    elif image.mode == "RGB":
        rgb = np.asarray(image)
        if (rgb != rgb[..., :1]).any():
            raise GanvasError(f"The mask {path} has colours, and a mask is white inside and black outside; a map of "
                              "classes goes to classmap=.")  # fmt: skip
        mask = rgb[..., 0].astype(np.float32) / 255
    else:
        raise GanvasError(f"The mask {path} is of kind {image.mode}; save it as an index, grey or RGB PNG.")
    if mask.max() < 0.5:
        raise GanvasError(f"The mask {path} is empty: paint white where something is to change (its brightest pixel is "
                          f"{round(255 * float(mask.max()))} of 255).")  # fmt: skip
    return mask
