"""Images with labels of their attributes, rendered or from a folder with a table beside it (CelebA's own, or a CSV)."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from datamodules.avatar_attributes import avatar_attributes, avatar_labels
from datamodules.avatars import render_avatars
from datamodules.image_cache import prepared_images
from datamodules.image_files import ImageFiles
from networks.checkpoints.attributes import UNKNOWN, Attribute, column_of
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.squares import Fit

CLASS = "class"                     # the attribute of images that have nothing but a class
CELEBA = {"-1": "no", "1": "yes"}   # values of CelebA's list_attr_celeba.txt


@dataclass(frozen=True)
class AttributeImages:
    """Images and what is known of each."""

    images: np.ndarray                  # uint8 [N, 3, R, R]
    labels: np.ndarray                  # uint8 [N, attributes]: numbers of values, UNKNOWN where nothing is known
    attributes: tuple[Attribute, ...]
    names: tuple[str, ...]

    @classmethod
    def of_classes(cls, images: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> AttributeImages:
        """Images ``uint8 [N, 3, R, R]`` with a class each, one-hot ``[N, classes]``: one attribute, ``class``.

        Raises:
            ValueError: if there are fewer than two classes, or one is named twice.
        """
        numbers, names = labels.argmax(1).astype(np.uint8), tuple(f"{i:06d}" for i in range(len(images)))
        return cls(images, numbers[:, None], (Attribute(CLASS, tuple(classes)),), names)

    def __len__(self) -> int:
        return len(self.images)

    def take(self, indices: Sequence[int]) -> AttributeImages:
        """These images, in this order."""
        rows = np.asarray(indices, int)
        return replace(
            self, images=self.images[rows], labels=self.labels[rows], names=tuple(self.names[i] for i in rows)
        )

    def where(self, attribute: str, value: str) -> np.ndarray:
        """Numbers of the images whose ``attribute`` has this ``value``.

        Raises:
            GanvasError: if there is no such attribute or value.
        """
        column = column_of(self.attributes, attribute)
        return np.flatnonzero(self.labels[:, column] == self.attributes[column].index(value))

    def labels_as(self, attributes: Sequence[Attribute]) -> np.ndarray:
        """The labels as another list of attributes counts them, ``uint8 [N, attributes]``; ``UNKNOWN`` of others.

        Args:
            attributes: those of a judge, which may know more than is known of the images.

        Raises:
            GanvasError: if it lacks one of these images' attributes or values.
        """
        theirs = {attribute.name: attribute.values for attribute in attributes}
        if odd := [a.name for a in self.attributes if not set(a.values) <= set(theirs.get(a.name, ()))]:
            raise GanvasError(f"the judge does not know what the images show of {', '.join(odd)}: give a judge that "
                              "was trained on the same table, or leave those columns out.")  # fmt: skip
        found = np.full((len(self), len(attributes)), UNKNOWN, np.uint8)
        for own, labels in zip(self.attributes, self.labels.T, strict=True):
            numbers = np.full(UNKNOWN + 1, UNKNOWN, np.uint8)
            numbers[: len(own.values)] = [theirs[own.name].index(value) for value in own.values]
            found[:, column_of(attributes, own.name)] = numbers[labels]
        return found


def rendered_attributes(count: int, split: str, seed: int, resolution: int, style: str) -> AttributeImages:
    """Avatars with the labels that their parts give; the arguments are those of ``render_avatars``.

    Raises:
        GanvasError: if the style has no table of attributes, or what ``render_avatars`` refuses.
    """
    attributes = avatar_attributes(style)   # first: a style without a table is said before rendering
    avatars = render_avatars(count, split, seed, resolution, style=style)
    return AttributeImages(avatars.images, avatar_labels(style, avatars.attributes), attributes, avatars.names)


def read_attributes(
    images: str | Path, table: str | Path, resolution: int | None = None, fit: Fit = "crop"
) -> AttributeImages:
    """A folder of images with a table of their attributes; images that the table does not name are left out.

    Args:
        images: the folder, nested or not, or a zip.
        table: a CSV whose first column names the files and whose others are attributes, a value or nothing in each
            cell; or CelebA's ``list_attr_celeba.txt``.
        resolution: pixels a side; None: as they are.
        fit: how images become square.

    Raises:
        GanvasError: if a file cannot be read, or the table names none of the images or an attribute of one value.
    """
    files = ImageFiles(images)
    header, rows = _table(Path(table))
    known = [(i, rows[name]) for i, name in enumerate(files.names) if name in rows]
    if not known:
        raise GanvasError(f"{table} names none of the images in {images} (the first of these is {files.names[0]}): "
                          "give their paths inside that folder in its first column.")  # fmt: skip
    cells = [list(column) for column in zip(*(row for _, row in known), strict=True)]
    attributes = []
    for name, column in zip(header, cells, strict=True):
        values = tuple(sorted({cell for cell in column if cell}))
        if len(values) < 2 or len(values) >= UNKNOWN:
            raise GanvasError(f"{table} has {len(values)} values of {name}: an attribute needs from 2 to "
                              f"{UNKNOWN - 1}; leave that column out.")  # fmt: skip
        attributes.append(Attribute(name, values))
    labels = [
        [a.values.index(cell) if cell else UNKNOWN for cell in column]
        for a, column in zip(attributes, cells, strict=True)
    ]
    rows_kept = [i for i, _ in known]
    squares = prepared_images(files, resolution, fit)[rows_kept]
    names = tuple(files.names[i] for i in rows_kept)
    return AttributeImages(squares, np.array(labels, np.uint8).T.copy(), tuple(attributes), names)


def _table(path: Path) -> tuple[list[str], dict[str, list[str]]]:
    """Names of the attributes, and the cells of each image."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise GanvasError(f"{path} cannot be read as a table of attributes; give a CSV or CelebA's list.") from error
    lines = text.splitlines()
    if lines and lines[0].strip().isdigit():   # CelebA: the number of images, the names, then a line for each
        header = lines[1].split() if len(lines) > 1 else []
        rows = [line.split() for line in lines[2:] if line.strip()]
        rows = [[name, *(CELEBA.get(cell, cell) for cell in cells)] for name, *cells in rows]
    else:
        found = [[cell.strip() for cell in row] for row in csv.reader(lines) if row]
        header, rows = (found[0][1:], found[1:]) if found else ([], [])
    wrong = next((row for row in rows if len(row) != len(header) + 1), None)
    if not header or not rows or wrong:
        about = f"the line of {wrong[0]} has {len(wrong) - 1} values for {len(header)} attributes" if wrong else \
            "it needs a line of names and a line for each image"
        raise GanvasError(f"{path} is no table of attributes: {about}.")
    return header, {name: cells for name, *cells in rows}
