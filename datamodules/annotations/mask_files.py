"""PNG masks: index or coloured ones named like the images, and CVAT's export "Segmentation mask" with its label map."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from datamodules.annotations.drawn import IGNORED, Drawing, Problem, Shape
from datamodules.annotations.pictures import Pictures, image_size
from networks.checkpoints.classes import IGNORE, ClassList
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.masks import read_mask

CVAT_MASKS, LABEL_MAP = "SegmentationClass", "labelmap.txt"


def read_masks(files: list[Path], known: ClassList, pictures: Pictures) -> Iterator[Drawing]:
    """Each mask as one shape a class that occurs in it; a mask that cannot be read is among the problems.

    Args:
        files: the masks.
        known: the classes that their ids and colours stand for.
        pictures: where the images are.
    """
    for file in files:
        image = pictures.find(file.stem)
        if image is None:
            yield Drawing(None, file, (0, 0), (), (Problem(file, f"no image of that name is in {pictures.folder}"),))
            continue
        size = image_size(image)
        try:
            ids = read_mask(file, known)
        except GanvasError as error:
            yield Drawing(image, file, size, (), (Problem(file, str(error).rstrip(".")),))
            continue
        if ids.shape != size:
            said = f"the mask is {ids.shape[1]}x{ids.shape[0]} pixels, but {image} has {size[1]}x{size[0]}"
            yield Drawing(image, file, size, (), (Problem(file, said),))
            continue
        yield Drawing(image, file, size, tuple(_shapes(ids, known)))


def _shapes(ids: np.ndarray, known: ClassList) -> Iterator[Shape]:
    for k in np.unique(ids).tolist():
        yield Shape.of(IGNORED[0] if k == IGNORE else known.names[k], f"class {k}", ids == k)


def read_label_map(path: Path) -> ClassList:
    """The classes of CVAT's ``labelmap.txt``: ``name:red,green,blue:parts:actions``, one a line.

    Raises:
        GanvasError: if it is missing, or a line is not such.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        entries = [line.split(":") for line in lines if line.strip() and not line.startswith("#")]
        return ClassList(
            tuple(entry[0].strip() for entry in entries),
            tuple(tuple(int(value) for value in entry[1].split(",")) for entry in entries),  # type: ignore[arg-type]
        )
    except OSError as error:
        raise GanvasError(f"{path} cannot be read ({error.strerror}): export the task again.") from error
    except (ValueError, IndexError) as error:
        raise GanvasError(f"{path} is no label map of CVAT's ({error}): export the task again.") from error
