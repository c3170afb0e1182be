"""Pictures of segmentations: masks in their palette, errors, uncertainty, and rows of panels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from networks.checkpoints.classes import IGNORE, ClassList
from networks.grids import tile

GAP = 4             # pixels between panels
CAPTION = 26        # height of the line above a column
TEXT = 16           # size of letters
INK = (40, 40, 40)
BEGINNING, PAGE = (790, 300), 1640   # pixels: what is shown of a picture beside others; width of all of them
SIDE = 128          # pixels a side that small panels are enlarged to; larger ones are thinned to at most twice that


def overlay(images: np.ndarray, masks: np.ndarray, classes: ClassList, strength: float = 0.7) -> np.ndarray:
    """Masks in colour over their images, ``uint8 [N, H, W, 3]``; ignored pixels show the image as it is.

    The images are made grey, so that a hue is a class and nothing else.
    """
    grey = images @ np.array([0.299, 0.587, 0.114])  # luma of Rec. 601
    mixed = classes.paint(masks) * strength + grey[..., None] * (1 - strength)
    return np.where((masks == IGNORE)[..., None], images, mixed.round()).astype(np.uint8)


def errors(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Wrong pixels red, right ones dark, ignored ones grey: ``uint8 [N, H, W, 3]``."""
    picture = np.full((*truth.shape, 3), 32, np.uint8)
    picture[predicted != truth] = (235, 60, 50)
    picture[truth == IGNORE] = 200
    return picture


def heat(values: np.ndarray, top: float) -> np.ndarray:
    """Values ``[N, H, W]`` from 0 to ``top`` as black, red, yellow, white: ``uint8 [N, H, W, 3]``."""
    t = np.clip(values / max(top, 1e-12), 0, 1)[..., None] * 3
    return (np.clip(t - np.arange(3), 0, 1) * 255).round().astype(np.uint8)


def panels(
    columns: dict[str, np.ndarray], across: int = 2, scale: int | None = None, classes: ClassList | None = None
) -> Image.Image:
    """A sheet of rows: each item shows its panels side by side, ``across`` items beside one another.

    Args:
        columns: caption -> ``uint8 [N, H, W, 3]``, the panels of each item in order.
        across: items in a row of the sheet.
        scale: enlargement; None: small panels are enlarged, and large ones thinned, to a size that a page can show.
        classes: whose colours the panels show; their legend goes below.
    """
    stacked = np.stack(list(columns.values()), axis=1)  # [N, columns, H, W, 3]
    if scale is None:
        height = stacked.shape[2]
        scale, every = max(1, SIDE // height), max(1, height // (2 * SIDE))
        stacked = stacked[:, :, ::every, ::every]
    per_item, width = stacked.shape[1], stacked.shape[3]
    across = min(across, len(stacked))
    items = np.stack([tile(item, per_item, scale, GAP) for item in stacked])
    sheet = tile(items, across, 1, 3 * GAP)
    picture = Image.new("RGB", (sheet.shape[1], sheet.shape[0] + CAPTION), "white")
    picture.paste(Image.fromarray(sheet), (0, CAPTION))
    _captions(picture, list(columns), across, width * scale + GAP, items.shape[2] + 3 * GAP)
    return picture if classes is None else _above(picture, legend(classes, picture.width))


def side_by_side(pictures: Mapping[str, Image.Image], size: tuple[int, int] = BEGINNING) -> Image.Image:
    """The beginnings of pictures that show the same of different things, each under its name.

    Args:
        pictures: name -> picture; sheets of rows and columns begin with the same items.
        size: of what is shown of each, at most.
    """
    shown = {name: _beginning(picture.convert("RGB"), size) for name, picture in pictures.items()}
    width, height = (max(picture.size[i] for picture in shown.values()) for i in (0, 1))
    across = max(1, min(PAGE // (width + 4 * GAP), len(shown)))
    step = width + 4 * GAP, height + CAPTION + 4 * GAP
    sheet = Image.new("RGB", (across * step[0] - 4 * GAP, -(-len(shown) // across) * step[1] - 4 * GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(TEXT)
    for i, (name, picture) in enumerate(shown.items()):
        x, y = i % across * step[0], i // across * step[1]
        draw.text((x + 1, y + 2), name, fill=INK, font=font)
        sheet.paste(picture, (x, y + CAPTION))
    return sheet


def _beginning(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The upper left part of a sheet, without the row and the column of panels that its edges would cut."""
    part = picture.crop((0, 0, *map(min, picture.size, size)))
    ink = (np.asarray(part) != 255).any(axis=2)  # [H, W]
    ends = [
        _end(ink.any(axis=axis), cut=picture.size[i] > size[i]) for i, axis in enumerate((0, 1))
    ]  # fmt: skip
    return part.crop((0, 0, *ends))


def _end(ink: np.ndarray, cut: bool) -> int:
    """Where to stop along a line, ``bool [N]``: after its last panel, or the one before if that may be cut."""
    if not cut or ink.all():
        return len(ink)
    blank = int(np.flatnonzero(~ink)[-1])
    before = np.flatnonzero(ink[:blank])
    return int(before[-1]) + 1 if len(before) else len(ink)


def _above(top: Image.Image, bottom: Image.Image) -> Image.Image:
    both = Image.new("RGB", (max(top.width, bottom.width), top.height + 2 * GAP + bottom.height), "white")
    both.paste(top, (0, 0))
    both.paste(bottom, (0, top.height + 2 * GAP))
    return both


def _captions(picture: Image.Image, names: Sequence[str], across: int, step: int, item: int) -> None:
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(TEXT)
    for group in range(across):
        for i, name in enumerate(names):
            draw.text((group * item + i * step + 1, 2), name, fill=INK, font=font)


def legend(classes: ClassList, width: int) -> Image.Image:
    """The class palette with names, in as many rows as ``width`` pixels ask for."""
    font, swatch, line = ImageFont.load_default(TEXT), 18, 28
    cell = swatch + 30 + round(max(font.getlength(name) for name in classes.names))
    columns = max(1, min(width // cell, len(classes)))
    picture = Image.new("RGB", (columns * cell, -(-len(classes) // columns) * line), "white")
    draw = ImageDraw.Draw(picture)
    for i, (name, color) in enumerate(zip(classes.names, classes.palette, strict=True)):
        row, column = divmod(i, columns)
        x, y = column * cell + 4, row * line + 5
        draw.rounded_rectangle((x, y, x + swatch, y + swatch), radius=4, fill=color, outline=INK)
        draw.text((x + swatch + 8, y - 1), name, fill=INK, font=font)
    return picture
