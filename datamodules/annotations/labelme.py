"""LabelMe's JSON: one file an image, shapes in the order in which they were drawn."""

from __future__ import annotations

import base64
import binascii
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from datamodules.annotations.drawn import Drawing, Problem, Shape
from datamodules.annotations.pictures import Pictures, image_size
from datamodules.annotations.shapes import ShapeError, circle, patch, polygon, rectangle


def read_labelme(file: Path, data: dict[str, Any], pictures: Pictures) -> Drawing:
    """One image's shapes; what is wrong with them is among the problems.

    Args:
        file: the JSON.
        data: what it holds.
        pictures: where the image is.
    """
    name = str(data.get("imagePath") or file.name)
    image = pictures.find(name)
    if image is None:
        return Drawing(None, file, (0, 0), (), (Problem(file, f"its image {name!r} is not in {pictures.folder}"),))
    size = image_size(image)
    noted = data.get("imageHeight") or size[0], data.get("imageWidth") or size[1]   # some versions leave them null
    shapes, problems = [], []
    if noted != size:
        said = f"it is of an image of {noted[1]}x{noted[0]} pixels, but {image} has {size[1]}x{size[0]}"
        return Drawing(image, file, size, (), (Problem(file, said),))
    entries = data["shapes"] if isinstance(data["shapes"], list) else []
    if entries is not data["shapes"]:
        problems.append(Problem(file, "its shapes are no list"))
    for number, entry in enumerate(entries, start=1):
        where = f"shape {number}"
        label = entry.get("label") if isinstance(entry, dict) else None
        if not isinstance(label, str) or not label:
            problems.append(Problem(file, f"{where} has no label"))
            continue
        try:
            shapes.append(Shape.of(label, where, _pixels(entry, *size)))
        except ShapeError as error:
            problems.append(Problem(file, f"{where} ({label!r}) {error}"))
    return Drawing(image, file, size, tuple(shapes), tuple(problems))


def _pixels(entry: dict[str, Any], height: int, width: int) -> np.ndarray:
    kind, points = entry.get("shape_type") or "polygon", entry.get("points")
    match kind:
        case "polygon" | "oriented_rectangle":
            return polygon([points], height, width)
        case "rectangle":
            return rectangle(points, height, width)
        case "circle":
            return circle(points, height, width)
        case "mask":
            return patch(_stored(entry.get("mask")), points, height, width)
    raise ShapeError(f"is a {kind}, which encloses no area: draw a polygon")


def _stored(text: Any) -> np.ndarray:
    """The mask that a shape carries as a PNG in base64, ``bool [h, w]``."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(text, validate=True))) as image:
            return np.asarray(image.convert("L")) > 0
    except (TypeError, ValueError, OSError, binascii.Error, Image.DecompressionBombError) as error:
        raise ShapeError("has a damaged mask") from error
