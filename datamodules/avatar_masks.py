"""Exact part masks: the same avatar drawn once more, each part in the flat colour of its class.

A style's definition is JSON: components (hair, mouth, ...) of variants of SVG elements. Recolouring the definition,
rather than the finished SVG, keeps every shape, transform and drawing order, so a mask cannot drift from its image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from networks.checkpoints.classes import ClassList
from networks.checkpoints.errors import GanvasError

AVATAR_CLASSES = ClassList(
    names=(
        "background", "skin", "hair", "eyes", "eyebrows", "nose", "mouth", "facial hair", "clothes", "glasses", "hat",
    ),
    palette=(
        (0, 0, 0), (240, 188, 150), (128, 72, 40), (60, 180, 230), (20, 20, 140), (240, 130, 40), (220, 30, 60),
        (150, 140, 30), (60, 160, 90), (250, 220, 60), (160, 80, 200),
    ),
)

# Paint fainter than this is shading (a neck's shadow, a highlight): it belongs to the part it shades.
_VEIL = 0.31
# Elements that shape or shade others and are never seen themselves.
_UNSEEN = frozenset({"defs", "mask", "clipPath", "filter", "linearGradient", "radialGradient"})
_ID = {name: i for i, name in enumerate(AVATAR_CLASSES.names)}


@dataclass(frozen=True)
class PartClasses:
    """Which class each part of a style belongs to; the most particular entry wins."""

    body: str                                                              # what is drawn outside every component
    parts: Mapping[str, str]                                               # component -> class
    colors: Mapping[str, str] = field(default_factory=dict)                # fill by a named colour -> class
    variants: Mapping[tuple[str, str], str] = field(default_factory=dict)  # (component, variant) -> class of it all
    faint: tuple[str, ...] = ()                                            # components that are themselves faint paint


PART_CLASSES: Mapping[str, PartClasses] = MappingProxyType({
    "avataaars": PartClasses(
        body="skin",
        parts={
            "accessories": "glasses", "clothes": "clothes", "clothesGraphic": "clothes", "eyebrows": "eyebrows",
            "eyes": "eyes", "facialHair": "facial hair", "mouth": "mouth", "nose": "nose",
            # A top is hair where it has the colour of hair; all else in it is headwear.
            "top": "hat",
        },
        colors={"hair": "hair", "hat": "hat"},
        variants={("top", "curvy"): "hair", ("top", "dreads"): "hair"},   # white strands
        faint=("nose",),
    ),
    "toon-head": PartClasses(   # its nose is a line within the head
        body="skin",
        parts={
            "beard": "facial hair", "body": "skin", "clothes": "clothes", "eyebrows": "eyebrows", "eyes": "eyes",
            "hair": "hair", "head": "skin", "mouth": "mouth", "rearHair": "hair",
        },
    ),
    "personas": PartClasses(
        body="skin",
        parts={
            "clothes": "clothes", "eyes": "eyes", "facialHair": "facial hair", "mouth": "mouth", "nose": "nose",
            "hair": "hair",
        },
        variants={
            ("eyes", "glasses"): "glasses", ("eyes", "sunglasses"): "glasses",
            ("hair", "beanie"): "hat", ("hair", "cap"): "hat",
        },
    ),
    "micah": PartClasses(
        body="skin",
        parts={
            "clothes": "clothes", "earrings": "skin", "ears": "skin", "eyebrows": "eyebrows", "eyes": "eyes",
            "facialHair": "facial hair", "glasses": "glasses", "hair": "hair", "head": "skin", "mouth": "mouth",
            "nose": "nose",
        },
        variants={("hair", "mrClean"): "skin", ("hair", "turban"): "hat"},   # a shine on a bald head; a turban
    ),
})


def drawn_classes(style: str) -> np.ndarray:
    """Which of ``AVATAR_CLASSES`` a style can draw, ``bool [K]``.

    Raises:
        GanvasError: if nobody has said which class the parts of this style belong to.
    """
    table = _table(style)
    drawn = {"background", table.body, *table.parts.values(), *table.colors.values(), *table.variants.values()}
    return np.array([name in drawn for name in AVATAR_CLASSES.names])


def class_definition(style: str, definition: dict[str, Any]) -> dict[str, Any]:
    """The definition of a style, recoloured: red is the class id, without blending or anti-aliasing.

    Raises:
        GanvasError: if nobody has said which class the parts of this style belong to.
    """
    table = _table(style)
    canvas = {**definition["canvas"], "elements": _recolour(definition["canvas"]["elements"], table.body, table)}
    components = {}
    for part, component in definition["components"].items():
        components[part] = dict(component)
        if "variants" in component:   # an alias has none of its own
            components[part]["variants"] = {
                name: {**variant, "elements": _recolour_variant(part, name, variant["elements"], table)}
                for name, variant in component["variants"].items()
            }
    attributes = {**definition.get("attributes", {}), "shape-rendering": "crispEdges"}
    return {**definition, "canvas": canvas, "components": components, "attributes": attributes}


def _table(style: str) -> PartClasses:
    if style not in PART_CLASSES:
        raise GanvasError(f"The avatar style {style!r} has no table of part classes, so no masks; use one of: "
                          f"{', '.join(PART_CLASSES)}, or add a table to datamodules/avatar_masks.py.")
    return PART_CLASSES[style]


def _recolour_variant(part: str, variant: str, elements: list[dict], table: PartClasses) -> list[dict]:
    whole = table.variants.get((part, variant))
    if whole is not None:
        return _recolour(elements, whole, table, by_color=False, veil=0.0)
    if part not in table.parts:
        raise GanvasError(f"The avatar part {part!r} has no class; add it to PART_CLASSES in avatar_masks.py.")
    return _recolour(elements, table.parts[part], table, veil=0.0 if part in table.faint else _VEIL)


def _recolour(
    elements: list[dict], name: str, table: PartClasses, by_color: bool = True, veil: float = _VEIL
) -> list[dict]:
    """Elements in the flat colour of class ``name``, or of the class that their own colour stands for."""
    recoloured = []
    for element in elements:
        if element["type"] == "component" or element.get("name") in _UNSEEN:   # components: where they are defined
            recoloured.append(element)
            continue
        attributes = dict(element.get("attributes", {}))
        opacity = float(attributes.pop("opacity", 1)) * float(attributes.pop("fill-opacity", 1))
        if opacity < veil:
            continue
        for effect in ("style", "filter", "stroke-opacity"):   # blend modes and blurs would mix classes
            attributes.pop(effect, None)
        for paint in ("fill", "stroke"):
            if attributes.get(paint, "none") != "none":
                color = attributes[paint]["name"] if isinstance(attributes[paint], dict) else None
                attributes[paint] = _flat(table.colors.get(color, name) if by_color and color else name)
        parted = {**element, "attributes": attributes}
        if "children" in element:   # none may be left: a group of nothing but shading
            parted["children"] = _recolour(element["children"], name, table, by_color, veil)
        recoloured.append(parted)
    return recoloured


def _flat(name: str) -> str:
    return f"#{_ID[name]:02x}0000"


def majority(ids: np.ndarray, factor: int) -> np.ndarray:
    """Reduce class ids by the class that fills most of each ``factor x factor`` block.

    That is the class an anti-aliased pixel shows most of. On a tie the later class wins: later classes are the smaller
    parts, drawn on top.

    Args:
        ids: ``uint8 [factor * H, factor * W]``.
        factor: side of a block.

    Returns:
        ``uint8 [H, W]``.
    """
    if factor == 1:
        return ids
    height, width = (side // factor for side in ids.shape)
    blocks = ids.reshape(height, factor, width, factor)
    counts = np.stack([(blocks == k).sum(axis=(1, 3)) for k in reversed(range(len(AVATAR_CLASSES)))])
    return (len(AVATAR_CLASSES) - 1 - counts.argmax(axis=0)).astype(np.uint8)
