"""Colours of a room, and what in it is drawn instead of modelled: pictures and rugs."""

from __future__ import annotations

import colorsys

import numpy as np

from datamodules.furniture_models import Model
from datamodules.room_parts import Color, Lights, Surfaces

WARM = (0.04, 0.16)     # hues from orange to yellow
_DYED = {               # how often a material of a class gets a colour of its own
    "bed": 0.6, "sofa": 0.5, "chair": 0.4, "curtain": 0.9, "rug": 0.7, "wardrobe": 0.3, "table": 0.2, "door": 0.2,
    "lamp": 0.4,
}  # fmt: skip


def hue_color(
    rng: np.random.Generator, saturation: tuple[float, float], value: tuple[float, float],
    hue: tuple[float, float] = (0.0, 1.0),
) -> Color:  # fmt: skip
    """A colour of a range of saturations, values and hues, each 0 ... 1."""
    return colorsys.hsv_to_rgb(rng.uniform(*hue), rng.uniform(*saturation), rng.uniform(*value))


def fabric(rng: np.random.Generator) -> Color:
    """Of covers and cushions."""
    return grey(rng, 0.2, 0.95) if rng.random() < 0.35 else hue_color(rng, (0.15, 0.75), (0.35, 0.95))


def wall_paint(rng: np.random.Generator) -> Color:
    """Of walls: mostly warm and near white, sometimes of a soft or a strong colour."""
    kind = rng.random()
    if kind < 0.6:
        return hue_color(rng, (0.02, 0.2), (0.78, 0.97), WARM)
    hues = (0.25, 0.65) if rng.random() < 0.6 else (0.0, 1.0)
    return hue_color(rng, *((0.06, 0.25), (0.7, 0.95)) if kind < 0.88 else ((0.25, 0.5), (0.45, 0.85)), hues)


def wood(rng: np.random.Generator) -> Color:
    """Of floors and frames."""
    return hue_color(rng, (0.25, 0.6), (0.25, 0.85), (0.05, 0.1))


def grey(rng: np.random.Generator, low: float, high: float) -> Color:
    """Nearly grey, between two brightnesses."""
    value, tint = rng.uniform(low, high), rng.uniform(-0.02, 0.03)
    return min(value + tint, 1.0), value, max(value - tint, 0.0)


def quad(corner: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """A rectangle as two triangles."""
    a, b, c, d = corner, corner + first, corner + first + second, corner + second
    return np.array([(a, b, c), (a, c, d)], np.float32)


def _panel(left: float, bottom: float, width: float, height: float, depth: float) -> np.ndarray:
    """An upright rectangle before the plane z = 0."""
    return quad(np.array((left, bottom, depth)), np.array((width, 0, 0)), np.array((0, height, 0)))


def drawn_picture(rng: np.random.Generator, width: float, height: float) -> tuple[np.ndarray, np.ndarray]:
    """A framed picture before the plane z = 0: triangles ``[F, 3, 3]`` and their colours ``[F, 3]``."""
    edge = rng.uniform(0.02, 0.06)
    inner = (edge - width / 2, edge, width - 2 * edge, height - 2 * edge)
    panels = [_panel(-width / 2, 0, width, height, 0.01), _panel(*inner, 0.015)]
    colors = [wood(rng) if rng.random() < 0.6 else grey(rng, 0.05, 0.95), hue_color(rng, (0.0, 0.5), (0.5, 1.0))]
    for number in range(int(rng.integers(1, 4))):
        wide, high = rng.uniform(0.3, 0.8) * inner[2], rng.uniform(0.25, 0.6) * inner[3]
        at = (inner[0] + rng.uniform(0, inner[2] - wide), inner[1] + rng.uniform(0, inner[3] - high))
        panels.append(_panel(*at, wide, high, 0.018 + 0.002 * number))
        colors.append(hue_color(rng, (0.2, 0.8), (0.2, 0.9)))
    return np.concatenate(panels), np.repeat(np.array(colors, np.float32), 2, axis=0)


def drawn_rug(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A rug of up to three fields on the plane y = 0: triangles ``[F, 3, 3]`` and their colours ``[F, 3]``."""
    width, depth, edge = rng.uniform(1.2, 2.6), rng.uniform(0.9, 1.9), rng.uniform(0.06, 0.2)
    layers = []
    for number, inset in enumerate((0, edge, 2 * edge)[: int(rng.integers(1, 4))]):
        corner = np.array((inset - width / 2, 0.004 * (number + 1), inset - depth / 2))
        layers.append(quad(corner, np.array((width - 2 * inset, 0, 0)), np.array((0, 0, depth - 2 * inset))))
    return np.concatenate(layers), np.repeat(np.array([fabric(rng) for _ in layers], np.float32), 2, axis=0)


def dyed(model: Model, rng: np.random.Generator) -> np.ndarray:
    """The model's colours, its materials dyed anew here and there."""
    colors = 0.85 * model.colors + 0.15 * model.colors.mean(axis=1, keepdims=True)  # no signal red or green
    colors *= rng.uniform(0.8, 1.1)
    for part in np.unique(model.parts):
        of_part = model.parts == part
        light = colors[of_part].mean()
        if light > 0.3 and rng.random() < _DYED.get(model.name, 0):
            grain = colors[of_part].mean(axis=1, keepdims=True) / light
            colors[of_part] = grain * fabric(rng)
    return colors.clip(0, 1)


def lights(rng: np.random.Generator) -> Lights:
    """Of a day, or now and then of a night."""
    night = rng.random() < 0.12
    day = rng.uniform(0.02, 0.1) if night else rng.uniform(0.8, 2.0)
    sky = hue_color(rng, *((0.3, 0.7), (0.05, 0.2)) if night else ((0.0, 0.3), (0.9, 1.0)), (0.52, 0.64))
    warm = rng.uniform(0, 1)
    lamp = rng.uniform(0.8, 1.6) if night else rng.uniform(0.1, 1.0)
    return Lights(day, sky, lamp, (1.0, 0.97 - 0.12 * warm, 0.94 - 0.3 * warm), rng.uniform(0.28, 0.5),
                  rng.uniform(0.26, 0.4))  # fmt: skip


def surfaces(rng: np.random.Generator) -> Surfaces:
    """Of wall, floor and ceiling."""
    plain = wall_paint(rng)
    walls = [plain] * 3
    if rng.random() < 0.2:
        walls[0 if rng.random() < 0.6 else int(rng.integers(1, 3))] = hue_color(rng, (0.25, 0.55), (0.35, 0.8))
    pattern = str(rng.choice(["plain", "stripes", "wainscot"], p=(0.74, 0.1, 0.16)))
    second = grey(rng, 0.8, 0.97) if pattern == "wainscot" else tuple(0.88 * value for value in plain)
    laying = str(rng.choice(["planks", "tiles", "carpet"], p=(0.6, 0.12, 0.28)))
    return Surfaces((walls[0], walls[1], walls[2]), pattern, second, _floor(rng, laying), laying, grey(rng, 0.88, 0.98))


def _floor(rng: np.random.Generator, laying: str) -> Color:
    if laying == "planks":
        return wood(rng)
    if laying == "tiles":
        return hue_color(rng, (0.0, 0.15), (0.5, 0.9), WARM)
    return hue_color(rng, (0.05, 0.35), (0.3, 0.8), WARM if rng.random() < 0.6 else (0, 1))
