"""What was drawn on one image, and the mask that it makes."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self, get_args

import numpy as np

from datamodules.annotations.shapes import Runs, area, decode, encode, shared
from networks.checkpoints.classes import IGNORE, ClassList

BACKGROUND = "background"
ALIASES = ("_background_", "__background__")          # how LabelMe and others spell it
IGNORED = ("ignore", "_ignore_", "__ignore__")        # of these, 255 is made
Overlap = Literal["smallest", "order", "ignore", "refuse"]
OVERLAPS: tuple[Overlap, ...] = get_args(Overlap)


@dataclass(frozen=True)
class Problem:
    """Something that a person has to mend: which file, which shape, and what is wrong with it."""

    file: Path
    what: str          # the rest of the sentence

    def __str__(self) -> str:
        return f"{self.file}: {self.what}"


@dataclass(frozen=True)
class Shape:
    """One labelled region."""

    label: str
    where: str    # which of its file: "shape 3"
    runs: Runs = field(repr=False)

    @classmethod
    def of(cls, label: str, where: str, mask: np.ndarray) -> Self:
        """From its pixels, ``bool [H, W]``."""
        return cls(label, where, encode(mask))

    @property
    def mask(self) -> np.ndarray:
        """Its pixels, ``bool [H, W]``."""
        return decode(self.runs)

    def __str__(self) -> str:
        return f"{self.where} ({self.label!r})"


@dataclass(frozen=True)
class Drawing:
    """What one file says of one image."""

    image: Path | None                  # None if it is nowhere: then there is a problem, too
    file: Path                          # that holds the shapes
    size: tuple[int, int]               # height and width of the image
    shapes: tuple[Shape, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nothing was drawn: tools also write files of images that nobody has looked at."""
        return not self.problems and all(plain(shape.label) == BACKGROUND for shape in self.shapes)


def plain(label: str) -> str:
    """A label as class lists have it: the background's and the ignored region's other spellings are left behind."""
    return BACKGROUND if label in ALIASES else IGNORED[0] if label in IGNORED else label


def class_id(label: str, classes: ClassList) -> int | None:
    """The id of a label, 255 for what is ignored; None if it names no class."""
    name = plain(label)
    if name in classes.names:
        return classes.names.index(name)
    return IGNORE if name == IGNORED[0] else None


def unknown(drawing: Drawing, classes: ClassList) -> Iterator[Problem]:
    """The shapes whose label is no class, each with the class that it may have meant."""
    for shape in drawing.shapes:
        if class_id(shape.label, classes) is None and plain(shape.label) != BACKGROUND:
            near = difflib.get_close_matches(shape.label, classes.names, 1)
            meant = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(classes.names)}"
            yield Problem(drawing.file, f"{shape} has a label that is no class ({meant})")


def paint(drawing: Drawing, classes: ClassList, overlap: Overlap, rest: int) -> tuple[np.ndarray, list[Problem]]:
    """The mask that the shapes make, ``uint8 [H, W]``, and what is wrong with how they lie.

    Args:
        drawing: shapes whose labels are classes.
        classes: their ids.
        overlap: who has a pixel of two shapes: ``smallest``, the smaller shape, such as an eye on a face; ``order``,
            the later one; ``ignore``, nobody; ``refuse``, it is a problem.
        rest: the id of pixels in no shape.
    """
    ids = [class_id(shape.label, classes) for shape in drawing.shapes]
    ids = [rest if found is None else found for found in ids]   # "background" where no class is called so
    order = range(len(ids))
    if overlap == "smallest":
        order = sorted(order, key=lambda i: -area(drawing.shapes[i].runs))
    mask = np.full(drawing.size, rest, np.uint8)
    for i in order:
        mask[drawing.shapes[i].mask] = ids[i]
    if overlap == "refuse":
        return mask, list(_overlaps(drawing, ids))
    if overlap == "ignore":
        mask[_disputed(drawing.shapes, ids)] = IGNORE
    return mask, list(_hidden(drawing, ids, mask))


def _overlaps(drawing: Drawing, ids: Sequence[int]) -> Iterator[Problem]:
    for i, first in enumerate(drawing.shapes):
        for j, second in enumerate(drawing.shapes[:i]):
            if ids[i] != ids[j] and (pixels := shared(first.runs, second.runs)):
                yield Problem(drawing.file, f"{second} and {first} share {pixels} pixels")


def _disputed(shapes: Sequence[Shape], ids: Sequence[int]) -> np.ndarray:
    """Pixels in shapes of more than one class."""
    covers = np.stack([
        np.any([shape.mask for shape, own in zip(shapes, ids, strict=True) if own == k], axis=0) for k in {*ids}
    ])  # fmt: skip
    return covers.sum(axis=0) > 1


def _hidden(drawing: Drawing, ids: Sequence[int], mask: np.ndarray) -> Iterator[Problem]:
    for shape, own in zip(drawing.shapes, ids, strict=True):
        if not (mask[shape.mask] == own).any():
            yield Problem(drawing.file, f"{shape} is covered by other shapes, so that nothing of it is left")
