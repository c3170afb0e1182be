"""Rooms drawn with a few flat shapes: a light stand-in for photographs of rooms, with exact masks, from a seed alone.

A scene has a wall, a floor and some of: a window, a picture, a rug, a bed, a lamp, a plant. Drawing takes
milliseconds, so nothing is cached.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from datamodules.masks import LabelledImages
from networks.checkpoints.classes import ClassList
from networks.checkpoints.errors import GanvasError

SCENE_CLASSES = ClassList(
    ("wall", "floor", "window", "picture", "rug", "bed", "lamp", "plant"),
    ((204, 193, 168), (150, 111, 77), (120, 190, 235), (214, 93, 177), (235, 150, 70), (66, 92, 188), (250, 225, 90),
     (58, 158, 84)),
)  # fmt: skip
SPLITS = ("train", "heldout", "labels", "teacher")
SAMPLES = 3         # pixels a side that one pixel of an image is the mean of
CHANCE = {"window": 0.7, "picture": 0.5, "rug": 0.5, "bed": 0.9, "lamp": 0.6, "plant": 0.6}  # from back to front

Rectangle = tuple[float, float, float, float]  # left, top, right, bottom, in widths of the image
Color = tuple[int, int, int]


@dataclass(frozen=True)
class Shape:
    """A part of a scene."""

    name: str        # its class
    kind: str        # rectangle or ellipse
    at: Rectangle
    color: Color


@dataclass(frozen=True)
class SceneSet(LabelledImages):
    """Scenes with the shapes that they are made of, from back to front."""

    shapes: tuple[tuple[Shape, ...], ...] = ()


def draw_scenes(count: int, split: str = "train", seed: int = 0, resolution: int = 64) -> SceneSet:
    """Draw scenes; scene ``i`` depends only on ``(split, seed, i)``.

    Args:
        count: how many.
        split: one of ``SPLITS``; they share no scene.
        seed: the draw within the split, from 0.
        resolution: pixels a side.

    Raises:
        GanvasError: for an unknown split, or a count or a resolution below one.
    """
    if split not in SPLITS:
        raise GanvasError(f"There is no split {split!r} of scenes; choose one of: {', '.join(SPLITS)}.")
    if count < 1 or resolution < 1:
        raise GanvasError(f"Scenes need a count and a resolution of at least 1, got {count} and {resolution}.")
    scenes = [
        tuple(_shapes(np.random.default_rng([SPLITS.index(split), seed, i]))) for i in range(count)
    ]  # fmt: skip
    images = np.stack([_image(shapes, resolution) for shapes in scenes])
    masks = np.stack([_mask(shapes, resolution) for shapes in scenes])
    names = tuple(f"scene-{split}-{seed}-{i:05d}" for i in range(count))
    return SceneSet(images, masks, names, SCENE_CLASSES, None, tuple(scenes))


def _shapes(rng: np.random.Generator) -> Iterator[Shape]:
    horizon = rng.uniform(0.5, 0.68)
    yield Shape("wall", "rectangle", (0, 0, 1, 1), _color(rng, (190, 245)))
    yield Shape("floor", "rectangle", (0, horizon, 1, 1), _brown(rng, 0.9))
    for name, chance in CHANCE.items():
        if rng.random() < chance:
            yield from PARTS[name](rng, horizon)


def _window(rng: np.random.Generator, horizon: float) -> Iterator[Shape]:
    width, height, x = rng.uniform(0.18, 0.34), rng.uniform(0.2, 0.3), rng.uniform(0.05, 0.62)
    y = rng.uniform(0.06, max(horizon - height - 0.06, 0.07))
    yield Shape("window", "rectangle", (x, y, x + width, y + height), (250, 250, 250))
    sky = (int(rng.integers(120, 190)), int(rng.integers(180, 225)), 250)
    for left in (0.02, width / 2 + 0.01):
        yield Shape("window", "rectangle", (x + left, y + 0.02, x + left + width / 2 - 0.03, y + height - 0.02), sky)


def _picture(rng: np.random.Generator, horizon: float) -> Iterator[Shape]:
    size, x, y = rng.uniform(0.1, 0.18), rng.uniform(0.05, 0.77), rng.uniform(0.06, 0.25)
    yield Shape("picture", "rectangle", (x, y, x + size, y + size), (60, 45, 40))
    yield Shape("picture", "rectangle", (x + 0.02, y + 0.02, x + size - 0.02, y + size - 0.02), _color(rng, (60, 230)))


def _rug(rng: np.random.Generator, horizon: float) -> Iterator[Shape]:
    width, height, x = rng.uniform(0.35, 0.6), rng.uniform(0.1, 0.18), rng.uniform(0.0, 0.45)
    y = rng.uniform(horizon + 0.1, 0.98 - height)
    yield Shape("rug", "ellipse", (x, y, x + width, y + height), _color(rng, (90, 220)))


def _bed(rng: np.random.Generator, horizon: float) -> Iterator[Shape]:
    width, x, top = rng.uniform(0.34, 0.52), rng.uniform(0.02, 0.46), horizon - rng.uniform(0.02, 0.08)
    cover = _color(rng, (40, 220))
    yield Shape("bed", "rectangle", (x, top - 0.1, x + 0.05, top + 0.22), _brown(rng, 0.55))
    yield Shape("bed", "rectangle", (x + 0.03, top + 0.03, x + width, top + 0.2), cover)
    yield Shape("bed", "ellipse", (x + 0.05, top - 0.03, x + 0.18, top + 0.06), (245, 245, 240))


def _lamp(rng: np.random.Generator, horizon: float) -> Iterator[Shape]:
    x, foot, height = rng.uniform(0.08, 0.88), horizon + rng.uniform(0.02, 0.14), rng.uniform(0.25, 0.4)
    yield Shape("lamp", "rectangle", (x - 0.012, foot - height, x + 0.012, foot), (70, 65, 60))
    shade = (255, int(rng.integers(200, 250)), int(rng.integers(90, 190)))
    yield Shape("lamp", "ellipse", (x - 0.075, foot - height - 0.08, x + 0.075, foot - height + 0.06), shade)


def _plant(rng: np.random.Generator, horizon: float) -> Iterator[Shape]:
    x, foot, size = rng.uniform(0.08, 0.92), horizon + rng.uniform(0.05, 0.25), rng.uniform(0.07, 0.13)
    green = (int(rng.integers(30, 90)), int(rng.integers(120, 180)), int(rng.integers(40, 100)))
    yield Shape("plant", "rectangle", (x - 0.04, foot - 0.09, x + 0.04, foot), _brown(rng, 0.75))
    yield Shape("plant", "ellipse", (x - size, foot - 0.08 - 2 * size, x + size, foot - 0.07), green)


PARTS: dict[str, Callable[[np.random.Generator, float], Iterator[Shape]]] = {
    "window": _window, "picture": _picture, "rug": _rug, "bed": _bed, "lamp": _lamp, "plant": _plant
}  # fmt: skip


def _color(rng: np.random.Generator, bounds: tuple[int, int]) -> Color:
    red, green, blue = rng.integers(*bounds, 3)
    return int(red), int(green), int(blue)


def _brown(rng: np.random.Generator, light: float) -> Color:
    value = light * rng.uniform(130, 215)
    return int(value), int(value * rng.uniform(0.7, 0.85)), int(value * rng.uniform(0.45, 0.65))


def _painted(shapes: tuple[Shape, ...], side: int, mode: str) -> Image.Image:
    """The shapes one over another, ``side`` pixels a side: their colours (RGB) or their classes (L)."""
    canvas = Image.new(mode, (side, side))
    draw = ImageDraw.Draw(canvas)
    for shape in shapes:
        left, top, right, bottom = (round(edge * side) for edge in shape.at)
        fill = shape.color if mode == "RGB" else SCENE_CLASSES.names.index(shape.name)
        paint = draw.rectangle if shape.kind == "rectangle" else draw.ellipse
        paint((left, top, max(right - 1, left), max(bottom - 1, top)), fill=fill)
    return canvas


def _image(shapes: tuple[Shape, ...], resolution: int) -> np.ndarray:
    large = np.asarray(_painted(shapes, SAMPLES * resolution, "RGB"), np.float32)
    mean = large.reshape(resolution, SAMPLES, resolution, SAMPLES, 3).mean(axis=(1, 3))
    return np.ascontiguousarray(mean.round().astype(np.uint8).transpose(2, 0, 1))


def _mask(shapes: tuple[Shape, ...], resolution: int) -> np.ndarray:
    large = np.asarray(_painted(shapes, SAMPLES * resolution, "L"))
    return large[SAMPLES // 2 :: SAMPLES, SAMPLES // 2 :: SAMPLES].copy()
