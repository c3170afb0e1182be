"""A bedroom drawn at random: its size and colours, furniture that stands against its walls, a camera and lights.

Axes: x to the right, y up, z from the far wall (0) towards the camera; the room spans ``[-W/2, W/2]``, ``[0, H]``,
``[0, D]`` metres.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass, field

import numpy as np

from datamodules.furniture_models import Furniture, Model

Color = tuple[float, float, float]      # 0 ... 1, as on a screen
Box = np.ndarray                        # float [2, 3], its lowest and its highest corner

_TRIES = 14                             # places that are tried for a piece, before the room does without it
_VIEW = 0.9                             # metres before the camera that stay empty
_DYED = {"bed": 0.6, "sofa": 0.5, "chair": 0.4, "curtain": 0.9, "rug": 0.7, "wardrobe": 0.3, "table": 0.2, "door": 0.2}
_WALLS = {"far": 0, "left": 1, "right": 3}   # quarter turns of what stands with its back to it


@dataclass(frozen=True, eq=False)
class Piece:
    """Something in the room."""

    name: str                   # its class
    key: str                    # the model's, or "" for what is drawn
    box: Box                    # that it keeps free of others
    triangles: np.ndarray       # float32 [F, 3, 3]
    colors: np.ndarray          # float32 [F, 3], 0 ... 1
    glow: np.ndarray            # float32 [F], light that it gives, in its colour


@dataclass(frozen=True)
class Opening:
    """A window's pane, which gives light."""

    corner: np.ndarray          # float [3]
    along: np.ndarray           # float [3], its width as a vector
    height: float
    inward: np.ndarray          # float [3], unit


@dataclass(frozen=True)
class Surfaces:
    """How wall, floor and ceiling look."""

    walls: tuple[Color, Color, Color]   # far, left, right
    pattern: str                        # plain, stripes or wainscot
    second: Color                       # of the pattern
    floor: Color
    laying: str                         # planks, tiles or carpet
    ceiling: Color


@dataclass(frozen=True)
class Camera:
    """Where the picture is taken from."""

    at: tuple[float, float, float]
    towards: tuple[float, float, float]
    angle: float                        # of view, from edge to edge, in radians


@dataclass(frozen=True)
class Lights:
    """What lights the room."""

    day: float                          # of the windows
    sky: Color
    lamp: float                         # of the ceiling
    warmth: Color                       # its colour
    ambient: float
    exposure: float                     # mean brightness of the picture


@dataclass(frozen=True)
class Room:
    """All that a picture of a room follows from."""

    size: tuple[float, float, float]    # W, H, D
    surfaces: Surfaces
    camera: Camera
    lights: Lights
    pieces: tuple[Piece, ...]
    openings: tuple[Opening, ...]


def plan_room(furniture: Furniture, rng: np.random.Generator) -> Room:
    """A room at random."""
    size = (rng.uniform(3.2, 5.0), rng.uniform(2.4, 2.8), rng.uniform(3.6, 5.2))
    planner = _Planner(furniture, rng, size, _camera(rng, size))
    planner.furnish()
    return Room(size, _surfaces(rng), planner.camera, _lights(rng), tuple(planner.pieces), tuple(planner.openings))


@dataclass
class _Planner:
    """The state of furnishing one room."""

    furniture: Furniture
    rng: np.random.Generator
    size: tuple[float, float, float]
    camera: Camera
    pieces: list[Piece] = field(default_factory=list)
    openings: list[Opening] = field(default_factory=list)

    def furnish(self) -> None:
        """Put in what a bedroom has, the large pieces first."""
        chance = self.rng.random
        bed = self.bed()
        for _ in range(1 + (chance() < 0.4)):
            if chance() < 0.9:
                self.window()
        if chance() < 0.55:
            self.against_wall("door", depth=0.06, clear=0.7)
        if bed is not None:
            self.nightstands(bed)
        for name, likely in (("wardrobe", 0.75), ("table", 0.5), ("shelf", 0.4), ("sofa", 0.25)):
            if chance() < likely:
                piece = self.against_wall(name)
                if piece is not None and name in ("table", "wardrobe") and chance() < 0.6:
                    self.on_top(piece, "lamp" if chance() < 0.5 else "plant")
        for name, count in (("chair", 2), ("plant", 2), ("lamp", 1)):
            for _ in range(count):
                if chance() < 0.55:
                    self.standing(name)
        for _ in range(int(self.rng.integers(0, 4))):
            self.picture()
        if chance() < 0.6:
            self.hanging_lamp()
        if chance() < 0.6:
            self.rug(bed)

    def bed(self) -> Piece | None:
        """A bed with its head to a wall, near the wall's middle."""
        walls = self.rng.permutation(["far", "far", "far", "left", "right"])
        for wall in walls[:3]:
            piece = self.against_wall("bed", wall=str(wall), middle=True)
            if piece is not None:
                return piece
        return None

    def nightstands(self, bed: Piece) -> None:
        """On both sides of the bed's head, of one kind, perhaps with a lamp."""
        model, low, high = self.pick("nightstand"), *bed.box
        deep, wide = model.size[2] / 2 + 0.02, model.size[0] / 2 + self.rng.uniform(0.04, 0.15)
        wall = self.wall_of(bed)
        lamp, lit = self.pick("lamp", _is_table_lamp), self.rng.random() < 0.75
        for side in (-1, 1):
            if self.rng.random() < 0.2:
                continue
            if wall == "far":
                x, z = (low[0] - wide if side < 0 else high[0] + wide), deep
            else:
                x = (-1 if wall == "left" else 1) * (self.size[0] / 2 - deep)
                z = low[2] - wide if side < 0 else high[2] + wide
            stand = self.put(model, _WALLS[wall], (x, 0, z))
            if stand is not None and lamp is not None and lit:
                self.put(lamp, 0, (x, stand.box[1, 1] + 0.001, z), glow=self.rng.choice([0.0, 1.2]))

    def window(self) -> None:
        """A window with the sky behind it, and perhaps curtains."""
        piece = self.against_wall("window", depth=0.07)
        if piece is None:
            return
        wall, (low, high) = self.wall_of(piece), piece.box
        along, inward = _along(wall), _inward(wall)
        inset = 0.04
        corner = np.where(along > 0, low + inset, low + 0.008 * (inward > 0))
        if wall == "right":
            corner[0] = high[0] - 0.008
        corner[1] = low[1] + inset
        width, height = (high - low) @ along - 2 * inset, high[1] - low[1] - 2 * inset
        self.openings.append(Opening(corner, along * width, height, inward))
        pane = _quad(corner, along * width, np.array([0, height, 0.0]))
        index = self.pieces.index(piece)
        self.pieces[index] = Piece(
            piece.name, piece.key, piece.box, np.concatenate([piece.triangles, pane]),
            np.concatenate([piece.colors, np.full((2, 3), -1, np.float32)]),  # the sky, which the lights know
            np.concatenate([piece.glow, np.full(2, 1, np.float32)]),
        )  # fmt: skip
        if self.rng.random() < 0.6:
            self.curtains(low, high, wall)

    def curtains(self, low: np.ndarray, high: np.ndarray, wall: str) -> None:
        """On both sides of a window, of one colour."""
        model, along = self.pick("curtain"), _along(wall)
        bottom = 0.05 if self.rng.random() < 0.6 else low[1] - 0.15
        scale = (self.rng.uniform(0.25, 0.4) / model.size[0], (high[1] + 0.1 - bottom) / model.size[1], 1.6)
        dye, depth = self.dye(model), model.size[2] * scale[2]
        half = scale[0] * model.size[0] / 2
        for middle in ((low @ along) - half - 0.005, (high @ along) + half + 0.005):
            self.put(model, _WALLS[wall], self.at_wall(wall, middle, depth, bottom), scale, dye)

    def against_wall(
        self, name: str, wall: str | None = None, depth: float | None = None, clear: float = 0.0, middle: bool = False
    ) -> Piece | None:
        """A piece with its back to a wall.

        Args:
            name: its class.
            wall: which; None: any.
            depth: how far it reaches into the room, if not as far as the model is deep.
            clear: how far before it nothing else may stand.
            middle: near the middle of the wall.
        """
        for _ in range(_TRIES):
            model = self.pick(name)
            at = wall or str(self.rng.choice(list(_WALLS), p=(0.5, 0.25, 0.25)))
            length = self.size[0] if at == "far" else self.size[2] - 0.5
            room = (length - model.size[0]) / 2 - 0.02
            if room < 0:
                continue
            offset = self.rng.uniform(-room, room) * (0.5 if middle else 1)
            along = offset if at == "far" else length / 2 + offset
            deep = depth or model.size[2]
            scale = (1, 1, deep / model.size[2])
            piece = self.put(model, _WALLS[at], self.at_wall(at, along, deep, model.elevation), scale, clear=clear)
            if piece is not None:
                return piece
        return None

    def standing(self, name: str) -> Piece | None:
        """A piece anywhere on the floor, turned into the room."""
        fits = {"lamp": _is_floor_lamp, "plant": lambda model: model.size[1] > 0.35}.get(name)
        for _ in range(_TRIES):
            model = self.pick(name, fits)
            if model is None:
                return None
            half = max(model.size[0], model.size[2]) / 2 + 0.03
            x = self.rng.uniform(half - self.size[0] / 2, self.size[0] / 2 - half)
            z = self.rng.uniform(half, self.size[2] - half)
            if self.rng.random() < 0.6:  # by a wall
                x, z = ((x, half) if self.rng.random() < 0.4 else (np.sign(x) * (self.size[0] / 2 - half), z))
            turn = -np.sign(x) * self.rng.uniform(0.0, 1.2) / (np.pi / 2) if name == "chair" else self.rng.uniform(0, 4)
            piece = self.put(model, -turn, (x, 0, z), glow=self.rng.choice([0.0, 1.0]) if name == "lamp" else 0.0)
            if piece is not None:
                return piece
        return None

    def on_top(self, below: Piece, name: str) -> None:
        """A small piece on another."""
        model = next(m for m in self.furniture.models if m.key == below.key)
        small = self.pick(name, _is_table_lamp if name == "lamp" else lambda plant: plant.size[1] < 0.5)
        if small is None or abs(model.top - model.size[1]) > 0.02 or model.top > 1.2:
            return
        low, high = below.box
        half = np.array([max(small.size[0], small.size[2]) / 2] * 2)
        place = self.rng.uniform(np.minimum(low[[0, 2]] + half, high[[0, 2]]), np.maximum(high[[0, 2]] - half, low[[0, 2]]))
        glow = self.rng.choice([0.0, 1.2]) if name == "lamp" else 0.0
        self.put(small, self.rng.uniform(0, 4), (place[0], high[1] + 0.001, place[1]), glow=glow)

    def hanging_lamp(self) -> None:
        """A lamp at the ceiling."""
        model = self.pick("lamp", lambda lamp: lamp.elevation > 1)
        if model is not None:
            x, z = self.rng.uniform(-0.25, 0.25) * self.size[0], self.rng.uniform(0.25, 0.55) * self.size[2]
            self.put(model, 0, (x, self.size[1] - model.size[1], z), glow=self.rng.choice([0.0, 1.5]))

    def picture(self) -> None:
        """A framed picture on a wall."""
        width, height = self.rng.uniform(0.35, 0.9), self.rng.uniform(0.35, 0.7)
        for _ in range(_TRIES):
            wall = str(self.rng.choice(list(_WALLS)))
            length = self.size[0] if wall == "far" else self.size[2] - 0.8
            along = self.rng.uniform(-0.5, 0.5) * (length - width) + (0 if wall == "far" else self.size[2] / 2)
            x, y, z = self.at_wall(wall, along, 0.04, self.rng.uniform(1.2, max(1.21, self.size[1] - height - 0.25)))
            triangles, colors = _drawn_picture(self.rng, width, height)
            triangles = _turned(triangles, _WALLS[wall]) + np.array((x, y, z))
            box = np.stack([triangles.min(axis=(0, 1)), triangles.max(axis=(0, 1))])
            if self.free(box):
                self.add("picture", "", box, triangles, colors)
                return

    def rug(self, bed: Piece | None) -> None:
        """A rug on the floor, which others may stand on."""
        center = np.array([0.0, self.size[2] * 0.5])
        if bed is not None:
            low, high = bed.box
            center = (low[[0, 2]] + high[[0, 2]]) / 2 + self.rng.uniform(-0.6, 0.6, 2) + (0, 0.5)
        if self.rng.random() < 0.3:
            model = self.pick("rug")
            triangles, colors, height = model.triangles, self.dye(model), 0.012
            triangles = triangles * np.array((1, height / model.size[1], 1)) * self.rng.uniform(0.9, 1.3)
        else:
            triangles, colors = _drawn_rug(self.rng)
        half = np.abs(triangles).max(axis=(0, 1))[[0, 2]]
        bounds = np.array([self.size[0] / 2, self.size[2]]) - half
        x, z = np.clip(center, (-bounds[0], half[1]), np.maximum(bounds, (-bounds[0], half[1])))
        triangles = triangles + np.array((x, 0.004, z))
        self.add("rug", "", np.stack([triangles.min(axis=(0, 1)), triangles.max(axis=(0, 1))]), triangles, colors)

    def put(
        self, model: Model, quarters: float, at: tuple[float, float, float], scale: tuple[float, float, float] = (1, 1, 1),
        colors: np.ndarray | None = None, clear: float = 0.0, glow: float = 0.0,
    ) -> Piece | None:  # fmt: skip
        """Add a model if its box is free: turned by quarters of a circle, its bottom's middle at a point."""
        middle = np.array((0, model.size[1] / 2, clear / (2 * scale[2]))) * scale
        half = np.array(model.size) * scale / 2 + (0, 0, clear / 2)
        corners = middle + half * np.array(np.meshgrid(*3 * [(-1, 1)])).reshape(3, -1).T
        corners = _turned(corners, quarters) + np.array(at)
        box = np.stack([corners.min(axis=0), corners.max(axis=0)])
        if not self.free(box):
            return None
        triangles = _turned(model.triangles * np.array(scale), quarters) + np.array(at)
        return self.add(model.name, model.key, box, triangles, self.dye(model) if colors is None else colors, glow)

    def add(
        self, name: str, key: str, box: Box, triangles: np.ndarray, colors: np.ndarray, glow: float = 0.0
    ) -> Piece:
        """Add a piece; of a lamp that is on, what is bright gives light."""
        light = np.where(colors.mean(axis=1) > 0.55, glow, 0) if glow else np.zeros(len(colors))
        piece = Piece(name, key, box, triangles.astype(np.float32), colors.astype(np.float32), light.astype(np.float32))
        self.pieces.append(piece)
        return piece

    def free(self, box: Box) -> bool:
        """Whether a box is in the room, off the camera's feet, and touches none that is taken."""
        bounds = np.array([(-self.size[0] / 2, 0, 0), (self.size[0] / 2, *self.size[1:])])
        if (box[0] < bounds[0] - 1e-6).any() or (box[1] > bounds[1] + 1e-6).any():
            return False
        x, _, z = self.camera.at
        if box[1, 2] > z - _VIEW and box[0, 0] < x + 1.4 and box[1, 0] > x - 1.4:
            return False
        others = (piece.box for piece in self.pieces if piece.name != "rug")
        return not any((box[0] < other[1] - 1e-6).all() and (box[1] > other[0] + 1e-6).all() for other in others)

    def pick(self, name: str, fits: object = None) -> Model | None:
        """A model of a class, of those that fit; None if none does."""
        models = [model for model in self.furniture.of(name) if fits is None or fits(model)]
        return models[int(self.rng.integers(len(models)))] if models else None

    def dye(self, model: Model) -> np.ndarray:
        """The model's colours, its materials dyed anew here and there."""
        colors = model.colors * self.rng.uniform(0.8, 1.1)
        for part in np.unique(model.parts):
            of_part = model.parts == part
            light = colors[of_part].mean()
            if light > 0.3 and self.rng.random() < _DYED.get(model.name, 0):
                grain = colors[of_part].mean(axis=1, keepdims=True) / light
                colors[of_part] = grain * _fabric(self.rng)
        return colors.clip(0, 1)

    def at_wall(self, wall: str, along: float, depth: float, bottom: float) -> tuple[float, float, float]:
        """The bottom's middle of what reaches ``depth`` into the room from a wall."""
        if wall == "far":
            return along, bottom, depth / 2 + 0.002
        side = -1 if wall == "left" else 1
        return side * (self.size[0] / 2 - depth / 2 - 0.002), bottom, along

    def wall_of(self, piece: Piece) -> str:
        """The wall that a piece stands against."""
        low, high = piece.box
        gaps = {"far": low[2], "left": low[0] + self.size[0] / 2, "right": self.size[0] / 2 - high[0]}
        return min(gaps, key=gaps.get)


def _is_table_lamp(model: Model) -> bool:
    return model.elevation < 0.5 and model.size[1] < 0.9


def _is_floor_lamp(model: Model) -> bool:
    return model.elevation < 0.5 and model.size[1] >= 0.9


def _along(wall: str) -> np.ndarray:
    return np.array((1.0, 0, 0)) if wall == "far" else np.array((0, 0, 1.0))


def _inward(wall: str) -> np.ndarray:
    return {"far": np.array((0, 0, 1.0)), "left": np.array((1.0, 0, 0)), "right": np.array((-1.0, 0, 0))}[wall]


def _turned(points: np.ndarray, quarters: float) -> np.ndarray:
    """Points turned about the vertical; one quarter takes +z, where a front looks, to +x."""
    angle = quarters * np.pi / 2
    cosine, sine = np.cos(angle), np.sin(angle)
    return points @ np.array([(cosine, 0, -sine), (0, 1, 0), (sine, 0, cosine)])


def _quad(corner: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """A rectangle as two triangles."""
    a, b, c, d = corner, corner + first, corner + first + second, corner + second
    return np.array([(a, b, c), (a, c, d)], np.float32)


def _panel(left: float, bottom: float, width: float, height: float, depth: float) -> np.ndarray:
    """An upright rectangle before the plane z = 0."""
    return _quad(np.array((left, bottom, depth)), np.array((width, 0, 0)), np.array((0, height, 0)))


def _drawn_picture(rng: np.random.Generator, width: float, height: float) -> tuple[np.ndarray, np.ndarray]:
    edge = rng.uniform(0.02, 0.06)
    inner = (edge - width / 2, edge, width - 2 * edge, height - 2 * edge)
    panels = [_panel(-width / 2, 0, width, height, 0.01), _panel(*inner, 0.015)]
    colors = [_wood(rng) if rng.random() < 0.6 else _grey(rng, 0.05, 0.95), _hue(rng, (0.0, 0.5), (0.5, 1.0))]
    for number in range(int(rng.integers(1, 4))):
        wide, high = rng.uniform(0.3, 0.8) * inner[2], rng.uniform(0.25, 0.6) * inner[3]
        at = (inner[0] + rng.uniform(0, inner[2] - wide), inner[1] + rng.uniform(0, inner[3] - high))
        panels.append(_panel(*at, wide, high, 0.018 + 0.002 * number))
        colors.append(_hue(rng, (0.2, 0.8), (0.2, 0.9)))
    return np.concatenate(panels), np.repeat(np.array(colors, np.float32), 2, axis=0)


def _drawn_rug(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    width, depth, edge = rng.uniform(1.2, 2.6), rng.uniform(0.9, 1.9), rng.uniform(0.06, 0.2)
    layers = []
    for number, inset in enumerate((0, edge, 2 * edge)[: int(rng.integers(1, 4))]):
        corner = np.array((inset - width / 2, 0.004 * (number + 1), inset - depth / 2))
        layers.append(_quad(corner, np.array((width - 2 * inset, 0, 0)), np.array((0, 0, depth - 2 * inset))))
    return np.concatenate(layers), np.repeat(np.array([_fabric(rng) for _ in layers], np.float32), 2, axis=0)


def _camera(rng: np.random.Generator, size: tuple[float, float, float]) -> Camera:
    """Near the wall that is not seen, looking at the far wall or a far corner."""
    width, _, depth = size
    x = rng.uniform(-0.34, 0.34) * width
    at = (x, rng.uniform(1.2, 1.75), depth - rng.uniform(0.05, 0.3))
    towards = (-0.55 * x + rng.uniform(-0.12, 0.12) * width, rng.uniform(0.75, 1.1), 0.25 * depth)
    return Camera(at, towards, np.radians(rng.uniform(62, 80)))


def _lights(rng: np.random.Generator) -> Lights:
    night = rng.random() < 0.12
    day = rng.uniform(0.02, 0.1) if night else rng.uniform(0.6, 1.6)
    sky = _hue(rng, (0.3, 0.7), (0.05, 0.2), (0.58, 0.66)) if night else _hue(rng, (0.0, 0.3), (0.9, 1.0), (0.52, 0.62))
    warm = rng.uniform(0, 1)
    lamp = rng.uniform(0.8, 1.6) if night else rng.uniform(0.1, 1.0)
    return Lights(day, sky, lamp, (1.0, 0.97 - 0.12 * warm, 0.94 - 0.3 * warm), rng.uniform(0.35, 0.6),
                  rng.uniform(0.26, 0.4))  # fmt: skip


def _surfaces(rng: np.random.Generator) -> Surfaces:
    plain = _hue(rng, (0.0, 0.22), (0.75, 0.97)) if rng.random() < 0.75 else _hue(rng, (0.2, 0.5), (0.45, 0.85))
    walls = [plain] * 3
    if rng.random() < 0.25:
        walls[0 if rng.random() < 0.6 else int(rng.integers(1, 3))] = _hue(rng, (0.25, 0.6), (0.35, 0.8))
    pattern = str(rng.choice(["plain", "stripes", "wainscot"], p=(0.74, 0.1, 0.16)))
    second = _grey(rng, 0.8, 0.97) if pattern == "wainscot" else tuple(0.88 * value for value in plain)
    laying = str(rng.choice(["planks", "tiles", "carpet"], p=(0.6, 0.12, 0.28)))
    floor = {"planks": _wood, "tiles": lambda r: _hue(r, (0.0, 0.15), (0.5, 0.9), (0.05, 0.15)),
             "carpet": lambda r: _hue(r, (0.05, 0.4), (0.3, 0.8))}[laying](rng)  # fmt: skip
    return Surfaces((walls[0], walls[1], walls[2]), pattern, second, floor, laying, _grey(rng, 0.88, 0.98))


def _hue(
    rng: np.random.Generator, saturation: tuple[float, float], value: tuple[float, float],
    hue: tuple[float, float] = (0.0, 1.0),
) -> Color:  # fmt: skip
    return colorsys.hsv_to_rgb(rng.uniform(*hue), rng.uniform(*saturation), rng.uniform(*value))


def _fabric(rng: np.random.Generator) -> Color:
    return _grey(rng, 0.2, 0.95) if rng.random() < 0.35 else _hue(rng, (0.15, 0.75), (0.35, 0.95))


def _wood(rng: np.random.Generator) -> Color:
    return _hue(rng, (0.25, 0.6), (0.25, 0.85), (0.05, 0.1))


def _grey(rng: np.random.Generator, low: float, high: float) -> Color:
    value, tint = rng.uniform(low, high), rng.uniform(-0.02, 0.03)
    return min(value + tint, 1.0), value, max(value - tint, 0.0)
