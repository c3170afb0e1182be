"""The classes of a mask: their names, and the colours that they are painted with.

A mask is ``uint8`` class ids; 255 means "ignore": never trained on, never scored.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from networks.checkpoints.errors import GanvasError

IGNORE = 255
IGNORE_COLOR = (224, 224, 192)   # what Pascal VOC paints "void" with; its colour map never gives it to a class

Color = tuple[int, int, int]


def voc_palette(count: int) -> tuple[Color, ...]:
    """The first ``count`` colours of the Pascal VOC colour map: all different, 0 is black, 255 means "ignore".

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
        if IGNORE_COLOR in self.palette:
            raise ValueError(f"the class colour {_hex(IGNORE_COLOR)} belongs to 'ignore'")
        for what, values in (("name", [repr(n) for n in self.names]), ("colour", [_hex(c) for c in self.palette])):
            twice = [v for i, v in enumerate(values) if v in values[:i]]
            if twice:
                raise ValueError(f"the class {what} {twice[0]} is used twice")

    def __len__(self) -> int:
        return len(self.names)

    def begins(self, other: ClassList) -> bool:
        """Whether these are the first of another's classes, so that the ids of masks mean the same in both.

        Example:
            >>> ClassList(("sky", "sea"), voc_palette(2)).begins(ClassList(("sky", "sea", "gull"), voc_palette(3)))
            True
        """
        return self.names == other.names[: len(self)]

    def id_of(self, name: str) -> int:
        """The id of a class; a hyphen may stand for a space.

        Raises:
            GanvasError: if there is none of this name.
        """
        plain = [known.replace(" ", "-") for known in self.names]
        if name.replace(" ", "-") not in plain:
            raise GanvasError(f"there is no class {name!r}; there are {', '.join(self.names)}")
        return plain.index(name.replace(" ", "-"))

    @classmethod
    def of_names(cls, names: Sequence[str]) -> Self:
        """Classes with the Pascal VOC colours."""
        return cls(tuple(names), voc_palette(len(names)))

    @classmethod
    def from_lines(cls, text: str) -> Self:
        """From one class a line, ``name`` or ``name #rrggbb``; empty lines are left out.

        A class without a colour has the Pascal VOC colour of its place, or a spare one if another class has that.

        Raises:
            ValueError: a colour that is none, a line without a name, or what the constructor refuses.
        """
        lines = [_name_and_color(line, i) for i, line in enumerate(text.splitlines(), start=1) if line.strip()]
        taken = {IGNORE_COLOR, *(color for _, color in lines)}
        places = voc_palette(2 * len(lines) + 1)   # the second half is enough, whatever the lines take
        spare = (color for color in places[len(lines):] if color not in taken)
        palette = (
            color or (place if place not in taken else next(spare))
            for (_, color), place in zip(lines, places, strict=False)
        )
        return cls(tuple(name for name, _ in lines), tuple(palette))

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


def _name_and_color(line: str, number: int) -> tuple[str, Color | None]:
    """A line of a class file; a last word that begins with # is a colour."""
    words = line.split()
    if not words[-1].startswith("#"):
        return line.strip(), None
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", words[-1]):
        raise ValueError(f"line {number} ends in {words[-1]!r}, which is no colour of the form #rrggbb")
    if len(words) == 1:
        raise ValueError(f"line {number} has a colour, but no class name before it")
    red, green, blue = bytes.fromhex(words[-1][1:])
    return line.strip()[: -len(words[-1])].rstrip(), (red, green, blue)


def _hex(color: Color) -> str:
    return f"#{bytes(color).hex()}"
