"""Class lists, labelled images, and masks as index PNGs whose palette is the class palette.

A mask is ``uint8`` class ids; 255 means "ignore": never trained on, never scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image

from networks.checkpoints.atomic import atomic_path
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.images import open_image

IGNORE = 255
IGNORE_COLOR = (224, 224, 192)   # what Pascal VOC paints "void" with; its colour map never gives it to a class

Color = tuple[int, int, int]


def voc_palette(count: int) -> tuple[Color, ...]:
    """The first ``count`` (at most 255) colours of the Pascal VOC colour map: all different, 0 is black.

    Example:
        >>> voc_palette(3)
        ((0, 0, 0), (128, 0, 0), (0, 128, 0))
    """
    def color(index: int) -> Color:
        # Three bits of the index at a time become the next highest bit of red, green and blue.
        rgb = [0, 0, 0]
        for bit in range(8):
            for channel in range(3):
                rgb[channel] |= (index >> (3 * bit + channel) & 1) << (7 - bit)
        return rgb[0], rgb[1], rgb[2]

    return tuple(color(i) for i in range(count))


@dataclass(frozen=True)
class ClassList:
    """The classes of a mask: class ``i`` is called ``names[i]`` and painted ``palette[i]``.

    Raises:
        ValueError: no class or more than 255, a name or colour used twice, a colour out of range.
    """

    names: tuple[str, ...]
    palette: tuple[Color, ...]   # RGB, 0..255

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(self.names))
        object.__setattr__(self, "palette", tuple(tuple(c) for c in self.palette))
        if not 1 <= len(self.names) <= IGNORE:
            raise ValueError(f"a class list has 1 to 255 classes, got {len(self.names)}")
        if len(self.palette) != len(self.names):
            raise ValueError(f"{len(self.names)} class names but {len(self.palette)} colours")
        for color in self.palette:
            if len(color) != 3 or not all(isinstance(v, int) and 0 <= v <= 255 for v in color):
                raise ValueError(f"a colour is three whole numbers from 0 to 255, got {list(color)}")
        for what, values in (("name", self.names), ("colour", (*self.palette, IGNORE_COLOR))):
            twice = [v for i, v in enumerate(values) if v in values[:i]]
            if twice:
                raise ValueError(f"the class {what} {twice[0]!r} is used twice (or belongs to 'ignore')")

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def of_names(cls, names: Sequence[str]) -> Self:
        """Classes with the Pascal VOC colours."""
        return cls(tuple(names), voc_palette(len(names)))

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """From a list of names, or ``{"names": [...], "palette": [[r, g, b], ...]}`` (the palette may be left out).

        Raises:
            ValueError: if it is neither.
        """
        names = data.get("names") if isinstance(data, dict) else data
        if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
            raise ValueError('expected a list of class names, or {"names": [...], "palette": [[r, g, b], ...]}')
        palette = data.get("palette") if isinstance(data, dict) else None
        if palette is None:
            return cls.of_names(names)
        if not isinstance(palette, list) or not all(isinstance(c, list) for c in palette):
            raise ValueError("the palette must be a list of [r, g, b]")
        return cls(tuple(names), tuple(tuple(c) for c in palette))

    def to_json(self) -> dict[str, list]:
        """What ``from_json`` reads; manifests and ``classes.json`` hold it."""
        return {"names": list(self.names), "palette": [list(c) for c in self.palette]}

    def paint(self, mask: np.ndarray) -> np.ndarray:
        """Class ids ``uint8 [..., H, W]`` to colours ``uint8 [..., H, W, 3]``."""
        return self._table()[mask]

    def _table(self) -> np.ndarray:
        table = np.full((256, 3), IGNORE_COLOR, dtype=np.uint8)
        table[: len(self)] = self.palette
        return table


@dataclass(frozen=True)
class LabelledImages:
    """Images, and their masks where there are any.

    Raises:
        ValueError: if shapes or counts do not agree.
    """

    images: np.ndarray                  # uint8 [N, 3, H, W]
    masks: np.ndarray | None            # uint8 [N, H, W], class ids, 255 = ignore
    names: tuple[str, ...]              # one an image: its file stem
    classes: ClassList | None           # None only without masks
    valid: np.ndarray | None = None     # int64 [N, 4], top, left, height, width of the picture within a padded canvas

    def __post_init__(self) -> None:
        n, channels, height, width = self.images.shape
        if channels != 3 or self.images.dtype != np.uint8:
            raise ValueError(f"images must be uint8 [N, 3, H, W], got {self.images.dtype} {list(self.images.shape)}")
        if self.masks is not None and (self.masks.shape != (n, height, width) or self.masks.dtype != np.uint8):
            raise ValueError(f"masks must be uint8 [{n}, {height}, {width}], "
                             f"got {self.masks.dtype} {list(self.masks.shape)}")
        if (self.masks is None) != (self.classes is None):
            raise ValueError("masks and classes come together or not at all")
        if len(self.names) != n:
            raise ValueError(f"{n} images but {len(self.names)} names")
        if self.valid is not None and self.valid.shape != (n, 4):
            raise ValueError(f"valid must be [{n}, 4], got {list(self.valid.shape)}")

    def __len__(self) -> int:
        return len(self.images)

    def take(self, indices: Sequence[int]) -> Self:
        """The chosen images, in the order given."""
        chosen = list(indices)
        picked: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                picked[field.name] = value[chosen]
            elif isinstance(value, (tuple, list)):
                picked[field.name] = type(value)(value[i] for i in chosen)
        return replace(self, **picked)

    def class_pixels(self) -> np.ndarray:
        """Pixels of each class in each image, ``int64 [N, K]``.

        Raises:
            ValueError: without masks.
        """
        if self.masks is None or self.classes is None:
            raise ValueError("these images have no masks")
        return np.stack([np.bincount(m.ravel(), minlength=256)[: len(self.classes)] for m in self.masks])


def write_image(path: str | Path, image: np.ndarray) -> None:
    """Write ``uint8 [3, H, W]`` as an RGB PNG, in one step."""
    with atomic_path(path) as partial:
        Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))).save(partial, format="PNG")


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
