"""COCO files, as CVAT, Label Studio, Roboflow and others export them: polygons and run lengths."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.annotations.drawn import BACKGROUND, Drawing, Problem, Shape, plain
from datamodules.annotations.pictures import Pictures, image_size
from datamodules.annotations.shapes import ShapeError, polygon, run_lengths
from networks.checkpoints.classes import ClassList
from networks.checkpoints.errors import GanvasError


def read_coco(file: Path, data: dict[str, Any], pictures: Pictures) -> list[Drawing]:
    """The shapes of every image that the file lists, in its order; what is wrong with them is among the problems.

    Raises:
        GanvasError: if the lists of the file are not such as COCO has.
    """
    try:
        names = {entry["id"]: str(entry["name"]) for entry in data["categories"]}
        by_image = defaultdict(list)
        for entry in data["annotations"]:
            by_image[entry["image_id"]].append(entry)
        images = {entry["id"]: entry for entry in data["images"]}
        stray = [entry.get("id") for key in by_image.keys() - images.keys() for entry in by_image[key]]
        found = [_drawing(file, entry, by_image[key], names, pictures) for key, entry in images.items()]
    except (KeyError, TypeError, AttributeError) as error:
        raise GanvasError(f"{file} is no COCO file that can be understood ({error!r}): export it again.") from error
    if stray:
        problem = Problem(file, f"annotation {stray[0]} is of an image that the file does not list")
        found.append(Drawing(None, file, (0, 0), (), (problem,)))
    return found


def coco_classes(data: dict[str, Any]) -> ClassList:
    """The categories as classes, the background before them.

    Raises:
        GanvasError: if two have the same name.
    """
    names = [plain(str(entry["name"])) for entry in data["categories"]]
    try:
        return ClassList.of_names([BACKGROUND, *(name for name in names if name != BACKGROUND)])
    except ValueError as error:
        raise GanvasError(f"the categories make no class list ({error}): give classes=FILE.") from error


def _drawing(
    file: Path, entry: dict[str, Any], annotations: list[dict[str, Any]], names: dict[Any, str], pictures: Pictures
) -> Drawing:
    name = str(entry["file_name"])
    image = pictures.find(name)
    if image is None:
        # An export lists the whole task; what has no annotation may be left behind with its image.
        said = (Problem(file, f"its image {name!r} is not in {pictures.folder}"),) if annotations else ()
        return Drawing(None, file, (0, 0), (), said)
    size = image_size(image)
    noted = entry.get("height") or size[0], entry.get("width") or size[1]
    if noted != size:
        said = f"{name!r} was {noted[1]}x{noted[0]} pixels when it was labelled, but {image} has {size[1]}x{size[0]}"
        return Drawing(image, file, size, (), (Problem(file, said),))
    shapes, problems = [], []
    for annotation in annotations:
        where = f"annotation {annotation.get('id')} of {name!r}"
        label = names.get(annotation["category_id"])
        if label is None:
            problems.append(Problem(file, f"{where} has category {annotation['category_id']}, which is not listed"))
            continue
        try:
            shapes.append(Shape.of(label, where, _pixels(annotation.get("segmentation"), *size)))
        except ShapeError as error:
            problems.append(Problem(file, f"{where} ({label!r}) {error}"))
    return Drawing(image, file, size, tuple(shapes), tuple(problems))


def _pixels(segmentation: Any, height: int, width: int) -> np.ndarray:
    if isinstance(segmentation, dict):
        return run_lengths(segmentation, height, width)
    if not segmentation:
        raise ShapeError("has a box but no outline: draw a polygon or a mask")
    rings = []
    for ring in segmentation:
        if not isinstance(ring, list) or len(ring) % 2:
            raise ShapeError("has a polygon with an x and no y")
        rings.append([ring[i : i + 2] for i in range(0, len(ring), 2)])
    return polygon(rings, height, width)
