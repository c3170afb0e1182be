"""One avatar: drawn as an SVG by DiceBear, rendered by resvg.

No torch here: worker processes import this module, and start-up is most of what a worker of a short job costs.
"""

from __future__ import annotations

import importlib.resources
import io
import json
import re
from dataclasses import dataclass
from functools import cache

import numpy as np
import resvg_py
from dicebear import Avatar, Style
from PIL import Image

from datamodules.avatar_parts import avatar_rng, distribution_of, draw_background, draw_options
from networks.checkpoints.errors import GanvasError

_VIEW_BOX = re.compile(r'viewBox="[^"]*"')


@dataclass(frozen=True)
class AvatarAddress:
    """What an avatar is made from; everything about it follows."""

    style: str
    split: str
    seed: int
    index: int


@dataclass(frozen=True)
class AvatarDrawing:
    """An avatar before rendering."""

    svg: str                       # the whole document, cropped by its view box
    background: str                # "#rrggbb"
    options: dict[str, object]     # every choice that DiceBear resolved


@cache
def style_definition(style: str) -> dict:
    """The JSON definition of a DiceBear style.

    Raises:
        GanvasError: if no such style ships with ``dicebear-styles``.
    """
    folder = importlib.resources.files("dicebear_styles")
    file = folder / f"{style}.json"
    if not file.is_file():
        known = ", ".join(sorted(f.name[:-5] for f in folder.iterdir() if f.name.endswith(".json")))
        raise GanvasError(f"There is no avatar style {style!r}; choose one of: {known}.")
    return json.loads(file.read_text(encoding="utf-8"))


@cache
def _style(style: str) -> Style:
    return Style(style_definition(style))


def draw_avatar(address: AvatarAddress) -> AvatarDrawing:
    """Draw one avatar from its address."""
    distribution = distribution_of(address.style)
    rng = avatar_rng(address.style, address.split, address.seed, address.index)
    background = draw_background(distribution, rng)
    drawn = Avatar(_style(address.style), draw_options(distribution, rng)).to_json()
    svg = drawn["svg"]
    if distribution.crop is not None:
        box = " ".join(f"{v:g}" for v in distribution.crop)
        svg = _VIEW_BOX.sub(f'viewBox="{box}"', svg, count=1)
    return AvatarDrawing(svg, background, drawn["options"])


def rasterise(svg: str, resolution: int, background: str | None = None, crisp: bool = False) -> np.ndarray:
    """Render an SVG to ``uint8 [resolution, resolution, 3]``.

    Args:
        svg: a square document.
        resolution: pixels a side.
        background: colour behind it; black where nothing is drawn if None.
        crisp: without anti-aliasing, so that every pixel has exactly one of the colours in the document.
    """
    png = resvg_py.svg_to_bytes(
        svg_string=svg, width=resolution, height=resolution, background=background, skip_system_fonts=True,
        shape_rendering="crisp_edges" if crisp else "geometric_precision",
    )
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def render_image(drawing: AvatarDrawing, resolution: int) -> np.ndarray:
    """The anti-aliased picture of an avatar, ``uint8 [3, resolution, resolution]``."""
    # Directly at the wanted size: resvg covers a pixel in 256 levels, and rendering at twice or four times the size
    # with area averaging looked the same at 64 pixels for three times the time.
    return rasterise(drawing.svg, resolution, drawing.background).transpose(2, 0, 1)
