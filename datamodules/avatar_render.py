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
from typing import Any

import numpy as np
import resvg_py
from dicebear import Avatar, Style
from PIL import Image

from datamodules.avatar_masks import class_definition, majority
from datamodules.avatar_parts import avatar_rng, distribution_of, draw_background, draw_expression, draw_options
from networks.checkpoints.errors import GanvasError

_VIEW_BOX = re.compile(r'viewBox="[^"]*"')
# DiceBear clips every avatar to its canvas. The view box does that already, and the extra layer costs a mask,
# which is rendered large, half of its time.
_CANVAS_CLIP = re.compile(r'<g clip-path="url\(#clip-[^"]*\)">')
_MAX_MASK_SIDE = 512


@dataclass(frozen=True)
class AvatarAddress:
    """What an avatar is made from; everything about it follows.

    ``changed`` are parts drawn otherwise than the address says (``(("mouth", "smile"),)``; None: not drawn): the wish
    of an edit, drawn exactly. ``expression`` 0 is the avatar itself, 1, 2, ... the same person with another expression
    before another background.
    """

    style: str
    split: str
    seed: int
    index: int
    expression: int = 0
    changed: tuple[tuple[str, str | None], ...] = ()


@dataclass(frozen=True)
class AvatarDrawing:
    """An avatar before rendering."""

    style: str
    options: dict[str, Any]                  # given to DiceBear
    svg: str                                 # the whole document, cropped by its view box
    attributes: dict[str, str | None]        # see ``draw_avatar``


@dataclass(frozen=True)
class RenderedAvatar:
    """An avatar as pixels."""

    image: np.ndarray                        # uint8 [3, H, W]
    mask: np.ndarray | None                  # uint8 [H, W]
    attributes: dict[str, str | None]


@cache
def style_definition(style: str) -> dict[str, Any]:
    """The JSON definition of a DiceBear style.

    Raises:
        GanvasError: if no such style ships with ``dicebear-styles``.
    """
    folder = importlib.resources.files("dicebear_styles")
    known = sorted(f.name.removesuffix(".json") for f in folder.iterdir() if f.name.endswith(".json"))
    if style not in known:
        raise GanvasError(f"There is no avatar style {style!r}; choose one of: {', '.join(known)}.")
    return json.loads((folder / f"{style}.json").read_text(encoding="utf-8"))


def draw_avatar(address: AvatarAddress) -> AvatarDrawing:
    """Draw one avatar from its address.

    Its attributes name what can be seen of it: ``{"style": …, "background": "#rrggbb"}``, each component of the style
    (``"top": "bob"``) and each of its colours (``"hairColor": "#2c1b18"``), None where it is not drawn.
    """
    distribution = distribution_of(address.style)
    rng = avatar_rng(address.style, address.split, address.seed, address.index)
    background = draw_background(distribution, rng)
    options = draw_options(distribution, rng)
    if address.expression:
        own = avatar_rng(address.style, f"{address.split}/expression{address.expression}", address.seed, address.index)
        background = draw_background(distribution, own)
        options |= draw_expression(address.style, own)
    for part, variant in address.changed:
        options |= _changed(address.style, part, variant)
    drawn = Avatar(_style(address.style), options).to_json()
    attributes = _attributes(address.style, drawn["options"]) | {"background": background}
    return AvatarDrawing(address.style, options, _cropped(drawn["svg"], address.style), attributes)


def _changed(style: str, part: str, variant: str | None) -> dict[str, Any]:
    """The options that draw one part otherwise.

    Raises:
        GanvasError: if the style has no such part or variant.
    """
    components = style_definition(style)["components"]
    known = components.get(part, {}).get("variants", {})
    if variant is None and known:
        return {f"{part}Probability": 0}
    if variant not in known:
        there = f"{part} {', '.join(known)}" if known else f"the parts {', '.join(components)}"
        raise GanvasError(f"The avatar style {style!r} cannot be drawn with {part}={variant}; it has {there}.")
    return {f"{part}Probability": 100, f"{part}Variant": variant}


def render_avatar(address: AvatarAddress, resolution: int, masks: bool = False) -> RenderedAvatar:
    """Render one avatar, with its mask if asked for."""
    drawing = draw_avatar(address)
    # Directly at the wanted size: resvg covers a pixel in 256 levels, and rendering at twice or four times the size
    # with area averaging looked the same at 64 pixels for three times the time.
    image = _rasterise(drawing.svg, resolution, drawing.attributes["background"]).transpose(2, 0, 1)
    return RenderedAvatar(image, _render_mask(drawing, resolution) if masks else None, drawing.attributes)


def _render_mask(drawing: AvatarDrawing, resolution: int) -> np.ndarray:
    """The class of every pixel, ``uint8 [resolution, resolution]``: the majority of up to 4 x 4 samples."""
    svg = str(Avatar(_class_style(drawing.style), drawing.options))
    factor = min(max(_MAX_MASK_SIDE // resolution, 1), 4)
    svg = _CANVAS_CLIP.sub("<g>", _cropped(svg, drawing.style))
    return majority(_rasterise(svg, resolution * factor)[..., 0], factor)


def _rasterise(svg: str, side: int, background: str | None = None) -> np.ndarray:
    """Render an SVG to ``uint8 [side, side, 3]``; black where nothing is drawn if there is no background."""
    png = resvg_py.svg_to_bytes(
        svg_string=svg, width=side, height=side, background=background, skip_system_fonts=True
    )
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def _attributes(style: str, options: dict[str, Any]) -> dict[str, str | None]:
    definition = style_definition(style)
    parts = {name: options.get(f"{name}Variant") for name in definition["components"]}
    # A colour that no drawn part uses (hair under a hat) is never resolved, so it is absent from the options.
    colors = {f"{name}Color": (options.get(f"{name}Color") or [None])[0] for name in definition.get("colors", {})}
    return {"style": style} | parts | colors


def _cropped(svg: str, style: str) -> str:
    crop = distribution_of(style).crop
    if crop is None:
        return svg
    box = " ".join(f"{value:g}" for value in crop)
    return _VIEW_BOX.sub(f'viewBox="{box}"', svg, count=1)


@cache
def _style(style: str) -> Style:
    return Style(style_definition(style))


@cache
def _class_style(style: str) -> Style:
    return Style(class_definition(style, style_definition(style)))
