"""A folder or a file of labels: which tool it is of, what was drawn on which image, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.annotations.coco import coco_classes, read_coco
from datamodules.annotations.documents import is_coco, is_labelme, read_json
from datamodules.annotations.drawn import (
    BACKGROUND,
    IGNORED,
    Drawing,
    Overlap,
    Problem,
    class_id,
    paint,
    plain,
    unknown,
)
from datamodules.annotations.labelme import read_labelme
from datamodules.annotations.mask_files import CVAT_MASKS, LABEL_MAP, read_label_map, read_masks
from datamodules.annotations.pictures import Pictures
from datamodules.folder import find_classes, is_image
from networks.checkpoints.classes import IGNORE, ClassList
from networks.checkpoints.errors import GanvasError

Documents = list[tuple[Path, Any]]
Read = tuple[list[Drawing], ClassList]
KINDS = "LabelMe files (one .json an image), a COCO file, CVAT's SegmentationClass, or PNG masks in masks"


@dataclass(frozen=True)
class Labelling:
    """What was read, and the classes that the labels are held against."""

    kind: str                        # of which tool
    names: tuple[str, ...]           # of all images there are
    drawings: tuple[Drawing, ...]    # one an image, at most
    classes: ClassList
    overlap: Overlap = "smallest"    # who has a pixel of two shapes; see ``drawn.paint``
    rest: str | None = None          # class of pixels in no shape; None: the background if there is one, else ignored
    empty: bool = False              # whether images without a shape are labelled: as nothing but ``rest``

    def __post_init__(self) -> None:
        if self.rest is not None and class_id(self.rest, self.classes) is None:
            raise GanvasError(f"rest={self.rest} is no class: choose of {', '.join(self.classes.names)} and ignore.")

    @property
    def labelled(self) -> tuple[Drawing, ...]:
        """The images that somebody drew on."""
        return tuple(drawing for drawing in self.drawings if drawing.image and (self.empty or not drawing.empty))

    @property
    def waiting(self) -> tuple[str, ...]:
        """Names of the images that nobody drew on yet."""
        drawn = {drawing.image.stem for drawing in self.labelled}
        return tuple(name for name in self.names if name not in drawn)

    def checked(self) -> list[tuple[Drawing, list[Problem]]]:
        """Each drawing with all that a person has to mend in it."""
        seen: dict[Path, Path] = {}
        return [(drawing, [*drawing.problems, *self._problems(drawing, seen)]) for drawing in self.drawings]

    def _problems(self, drawing: Drawing, seen: dict[Path, Path]) -> Iterator[Problem]:
        if drawing.image is None or (drawing.empty and not self.empty):
            return
        if drawing.image in seen:
            yield Problem(drawing.file, f"{drawing.image} is labelled in {seen[drawing.image]}, too")
        seen.setdefault(drawing.image, drawing.file)
        wrong = [*unknown(drawing, self.classes)]
        yield from wrong or paint(drawing, self.classes, self.overlap, self._rest)[1]

    def mask(self, drawing: Drawing) -> np.ndarray:
        """The mask of an image without problems, ``uint8 [H, W]``."""
        return paint(drawing, self.classes, self.overlap, self._rest)[0]

    @property
    def _rest(self) -> int:
        found = class_id(self.rest or BACKGROUND, self.classes)
        return IGNORE if found is None else found


def read_labels(
    path: Path, images: Path | None = None, classes: ClassList | None = None, overlap: Overlap = "smallest",
    rest: str | None = None, empty: bool = False,
) -> Labelling:  # fmt: skip
    """Read what people drew.

    Args:
        path: a file of LabelMe's or COCO's, or a folder with those, with CVAT's masks, or with PNG masks.
        images: folder of the images; None: beside the labels, where tools put them.
        classes: that labels must be of; None: those that the labels themselves name.
        overlap: see ``drawn.paint``.
        rest: class of pixels in no shape; None: the background if there is one, else they are ignored.
        empty: whether an image without a shape shows nothing but ``rest``, instead of not being labelled yet.

    Raises:
        GanvasError: if there are no labels, or of several kinds, or they cannot be read at all. What can be read and is
            wrong is among the ``problems()`` of what comes back.
    """
    documents = _documents(path)
    found = {
        "LabelMe": [(file, data) for file, data in documents if is_labelme(data)],
        "COCO": [(file, data) for file, data in documents if is_coco(data)],
        "CVAT masks": _masks_in(path / CVAT_MASKS),
        "masks": _masks_in(path / "masks") or ([] if (path / "images").is_dir() else _masks_in(path, images)),
    }
    here = [kind for kind, files in found.items() if files]
    if not here:
        xml = any(file.suffix == ".xml" for file in _files(path))
        hint = "CVAT's own XML is not read: export COCO 1.0 or Segmentation mask 1.1" if xml else f"give {KINDS}"
        raise GanvasError(f"{path} holds no labels: {hint}.")
    if len(here) > 1:
        raise GanvasError(f"{path} holds labels of several kinds ({', '.join(here)}): name the file or folder of one.")
    kind = here[0]
    pictures = Pictures.of(images, _near(path))
    drawings, own = _READERS[kind](path, found[kind], pictures, classes)
    return Labelling(kind, tuple(pictures.files), tuple(drawings), classes or own, overlap, rest, empty)


def _labelme(path: Path, found: Documents, pictures: Pictures, classes: ClassList | None) -> Read:
    drawings = [read_labelme(file, data, pictures) for file, data in found]
    names = {plain(shape.label) for drawing in drawings for shape in drawing.shapes} - {BACKGROUND, IGNORED[0]}
    return drawings, ClassList.of_names([BACKGROUND, *sorted(names)])


def _coco(path: Path, found: Documents, pictures: Pictures, classes: ClassList | None) -> Read:
    drawings = [drawing for file, data in found for drawing in read_coco(file, data, pictures)]
    lists = [coco_classes(data) for _, data in found]
    if classes is None and any(other != lists[0] for other in lists):
        raise GanvasError(f"the COCO files in {path} have different categories: give classes=FILE.")
    return drawings, lists[0]


def _cvat_masks(path: Path, found: list[Path], pictures: Pictures, classes: ClassList | None) -> Read:
    known = read_label_map(path / LABEL_MAP)
    return [*read_masks(found, known, pictures)], known


def _masks(path: Path, found: list[Path], pictures: Pictures, classes: ClassList | None) -> Read:
    known = find_classes(found[0].parent, found, classes)
    return [*read_masks(found, known, pictures)], known


_READERS: dict[str, Callable[..., Read]] = {
    "LabelMe": _labelme, "COCO": _coco, "CVAT masks": _cvat_masks, "masks": _masks,
}  # fmt: skip


def _documents(path: Path) -> Documents:
    """The JSON files where tools put them."""
    if path.is_file() and path.suffix.lower() != ".json":
        hint = "unpack it and give the folder" if path.suffix.lower() == ".zip" else f"give {KINDS}"
        raise GanvasError(f"{path} is no .json file and no folder: {hint}.")
    return [(file, read_json(file)) for file in _files(path) if file.suffix.lower() == ".json"]


def _files(path: Path) -> list[Path]:
    """A file itself; of a folder its files and those of the folders in it that tools write labels into."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise GanvasError(f"import={path} is neither a file nor a folder; check the path.")
    places = [path, *(path / name for name in ("images", "annotations", "labels") if (path / name).is_dir())]
    return [file for place in places for file in sorted(place.iterdir()) if file.is_file() and file.name[0] != "."]


def _masks_in(folder: Path, images: Path | None = None) -> list[Path]:
    """The masks of a folder; those of a folder of any name only if it is not the folder of the images."""
    if not folder.is_dir() or (images is None and folder.name not in (CVAT_MASKS, "masks")):
        return []
    return [file for file in sorted(folder.iterdir()) if is_image(file) and folder != images]


def _near(path: Path) -> list[Path]:
    """Where images may lie, the likeliest place first."""
    place = path if path.is_dir() else path.parent
    return [place / "images", place / "images" / "default", place / "JPEGImages", place, place.parent / "images"]
