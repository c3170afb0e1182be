"""A bedroom drawn at random: its size and colours, furniture that stands against its walls, a camera and lights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from datamodules.furniture_models import Furniture, Model
from datamodules.room_colors import drawn_picture, drawn_rug, dyed, lights, quad, surfaces
from datamodules.room_parts import SKY, Camera, Opening, Piece, Room
from datamodules.room_space import WALLS, Space, along_wall, into_room, turned

_TRIES = 20     # places that are tried for a piece, before the room does without it


def plan_room(furniture: Furniture, rng: np.random.Generator) -> Room:
    """A room at random."""
    size = (rng.uniform(3.3, 5.0), rng.uniform(2.4, 2.8), rng.uniform(3.4, 4.9))
    planner = _Planner(furniture, rng, Space(size, _camera(rng, size)))
    planner.furnish()
    space = planner.space
    return Room(size, surfaces(rng), space.camera, lights(rng), tuple(space.pieces), tuple(planner.openings))


@dataclass
class _Planner:
    """The state of furnishing one room."""

    furniture: Furniture
    rng: np.random.Generator
    space: Space
    openings: list[Opening] = field(default_factory=list)

    def furnish(self) -> None:
        """Put in what a bedroom has, the large pieces first."""
        bed = self.bed()
        for _ in range(int(self.rng.choice([0, 1, 2], p=(0.1, 0.55, 0.35)))):
            self.window()
        if self.likely(0.55):
            self.against_wall("door", depth=0.06, clear=0.7)
        for name, chance in (("wardrobe", 0.75), ("sofa", 0.3), ("table", 0.6), ("shelf", 0.45)):
            piece = self.against_wall(name) if self.likely(chance) else None
            if piece is not None and self.likely(0.6):
                self.on_top(piece, "lamp" if self.likely(0.5) else "plant")
        for name, chance in (("chair", 0.5), ("chair", 0.5), ("plant", 0.5), ("plant", 0.5), ("lamp", 0.3)):
            if self.likely(chance):
                self.standing(name)
        for _ in range(int(self.rng.integers(0, 4))):
            self.picture()
        if self.likely(0.6):
            self.hanging_lamp()
        if self.likely(0.6):
            self.rug(bed)

    def likely(self, chance: float) -> bool:
        """True as often as ``chance`` says."""
        return self.rng.random() < chance

    def bed(self) -> Piece | None:
        """A bed with its head to a wall, near the wall's middle, and what belongs beside it."""
        walls = self.rng.permutation(["far", "far", "far", "left", "right"])
        for wall in walls[:3]:
            piece = self.against_wall("bed", wall=str(wall), middle=True)
            if piece is not None:
                self.nightstands(piece)
                return piece
        return None

    def nightstands(self, bed: Piece) -> None:
        """On both sides of the bed's head, of one kind, perhaps with a lamp."""
        model, low, high = self.pick("nightstand"), *bed.box
        deep, wide = model.size[2] / 2 + 0.02, model.size[0] / 2 + self.rng.uniform(0.04, 0.15)
        wall = self.space.wall_of(bed)
        lamp, lit = self.pick("lamp", _is_table_lamp), self.rng.random() < 0.75
        for side in (-1, 1):
            if self.rng.random() < 0.2:
                continue
            if wall == "far":
                x, z = (low[0] - wide if side < 0 else high[0] + wide), deep
            else:
                x = (-1 if wall == "left" else 1) * (self.space.size[0] / 2 - deep)
                z = low[2] - wide if side < 0 else high[2] + wide
            stand = self.put(model, WALLS[wall], (x, 0, z))
            if stand is not None and lamp is not None and lit:
                self.put(lamp, 0, (x, stand.box[1, 1] + 0.001, z), glow=self.rng.choice([0.0, 1.2]))

    def window(self) -> None:
        """A window with the sky behind it, and perhaps curtains."""
        piece = self.against_wall("window", depth=0.07)
        if piece is None:
            return
        wall, (low, high) = self.space.wall_of(piece), piece.box
        along, inward = along_wall(wall), into_room(wall)
        inset = 0.04
        corner = np.where(along > 0, low + inset, low + 0.008 * (inward > 0))
        if wall == "right":
            corner[0] = high[0] - 0.008
        corner[1] = low[1] + inset
        width, height = (high - low) @ along - 2 * inset, high[1] - low[1] - 2 * inset
        self.openings.append(Opening(corner, along * width, height, inward))
        pane = quad(corner, along * width, np.array([0, height, 0.0]))
        self.space.pieces[-1] = replace(
            piece, triangles=np.concatenate([piece.triangles, pane]),
            colors=np.concatenate([piece.colors, np.full((2, 3), SKY, np.float32)]),
            glow=np.concatenate([piece.glow, np.ones(2, np.float32)]),
        )  # fmt: skip
        if self.rng.random() < 0.6:
            self.curtains(low, high, wall)

    def curtains(self, low: np.ndarray, high: np.ndarray, wall: str) -> None:
        """On both sides of a window, of one colour."""
        model, along = self.pick("curtain"), along_wall(wall)
        bottom = 0.05 if self.rng.random() < 0.6 else low[1] - 0.15
        scale = (self.rng.uniform(0.25, 0.4) / model.size[0], (high[1] + 0.1 - bottom) / model.size[1], 1.6)
        dye, depth = dyed(model, self.rng), model.size[2] * scale[2]
        half = scale[0] * model.size[0] / 2
        for middle in ((low @ along) - half - 0.005, (high @ along) + half + 0.005):
            self.space.put(model, dye, WALLS[wall], self.space.at_wall(wall, middle, depth, bottom), scale)

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
            at = wall or str(self.rng.choice(list(WALLS), p=(0.5, 0.25, 0.25)))
            length = self.space.size[0] if at == "far" else self.space.size[2] - 0.5
            room = (length - model.size[0]) / 2 - 0.02
            if room < 0:
                continue
            offset = self.rng.uniform(-room, room) * (0.5 if middle else 1)
            along = offset if at == "far" else length / 2 + offset
            deep = depth or model.size[2]
            scale = (1, 1, deep / model.size[2])
            piece = self.put(model, WALLS[at], self.space.at_wall(at, along, deep, model.elevation), scale, clear=clear)
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
            x = self.rng.uniform(half - self.space.size[0] / 2, self.space.size[0] / 2 - half)
            z = self.rng.uniform(half, self.space.size[2] - half)
            if self.rng.random() < 0.6:  # by a wall
                x, z = ((x, half) if self.rng.random() < 0.4 else (np.sign(x) * (self.space.size[0] / 2 - half), z))
            turn = -np.sign(x) * self.rng.uniform(0.0, 1.2) / (np.pi / 2) if name == "chair" else self.rng.uniform(0, 4)
            piece = self.put(model, -turn, (x, 0, z), glow=self.rng.choice([0.0, 1.0]) if name == "lamp" else 0.0)
            if piece is not None:
                return piece
        return None

    def on_top(self, below: Piece, name: str) -> None:
        """A small piece on another."""
        model = next(m for m in self.furniture.models if m.key == below.key)
        small = self.pick(name, _is_table_lamp if name == "lamp" else lambda plant: plant.size[1] < 0.5)
        if small is None or below.name == "sofa" or abs(model.top - model.size[1]) > 0.02 or model.top > 1.2:
            return
        low, high = below.box
        half = np.array([max(small.size[0], small.size[2]) / 2] * 2)
        first, last = low[[0, 2]] + half, high[[0, 2]] - half
        if (first > last).any():
            return
        place = self.rng.uniform(first, last)
        glow = self.rng.choice([0.0, 1.2]) if name == "lamp" else 0.0
        self.put(small, self.rng.uniform(0, 4), (place[0], high[1] + 0.001, place[1]), glow=glow)

    def hanging_lamp(self) -> None:
        """A lamp at the ceiling."""
        model = self.pick("lamp", lambda lamp: lamp.elevation > 1)
        if model is not None:
            x, z = self.rng.uniform(-0.25, 0.25) * self.space.size[0], self.rng.uniform(0.25, 0.55) * self.space.size[2]
            self.put(model, 0, (x, self.space.size[1] - model.size[1], z), glow=self.rng.choice([0.0, 1.5]))

    def picture(self) -> None:
        """A framed picture on a wall."""
        width, height = self.rng.uniform(0.35, 0.9), self.rng.uniform(0.35, 0.7)
        for _ in range(_TRIES):
            wall = str(self.rng.choice(list(WALLS)))
            length = self.space.size[0] if wall == "far" else self.space.size[2] - 0.8
            along = self.rng.uniform(-0.5, 0.5) * (length - width) + (0 if wall == "far" else self.space.size[2] / 2)
            bottom = self.rng.uniform(1.2, max(1.21, self.space.size[1] - height - 0.25))
            triangles, colors = drawn_picture(self.rng, width, height)
            triangles = turned(triangles, WALLS[wall]) + np.array(self.space.at_wall(wall, along, 0.04, bottom))
            box = np.stack([triangles.min(axis=(0, 1)), triangles.max(axis=(0, 1))])
            if self.space.free(box):
                self.space.add("picture", "", box, triangles, colors)
                return

    def rug(self, bed: Piece | None) -> None:
        """A rug on the floor, which others may stand on."""
        center = np.array([0.0, self.space.size[2] * 0.5])
        if bed is not None:
            low, high = bed.box
            center = (low[[0, 2]] + high[[0, 2]]) / 2 + self.rng.uniform(-0.6, 0.6, 2) + (0, 0.5)
        if self.rng.random() < 0.3:
            model = self.pick("rug")
            triangles, colors, height = model.triangles, dyed(model, self.rng), 0.012
            triangles = triangles * np.array((1, height / model.size[1], 1)) * self.rng.uniform(0.9, 1.3)
        else:
            triangles, colors = drawn_rug(self.rng)
        half = np.abs(triangles).max(axis=(0, 1))[[0, 2]]
        bounds = np.array([self.space.size[0] / 2, self.space.size[2]]) - half
        x, z = np.clip(center, (-bounds[0], half[1]), np.maximum(bounds, (-bounds[0], half[1])))
        triangles = triangles + np.array((x, 0.004, z))
        self.space.add("rug", "", np.stack([triangles.min(axis=(0, 1)), triangles.max(axis=(0, 1))]), triangles, colors)

    def put(
        self, model: Model, quarters: float, at: tuple[float, float, float],
        scale: tuple[float, float, float] = (1, 1, 1), clear: float = 0.0, glow: float = 0.0,
    ) -> Piece | None:  # fmt: skip
        """Add a model, dyed at random, if there is room; see :meth:`Space.put`."""
        return self.space.put(model, dyed(model, self.rng), quarters, at, scale, clear, glow)

    def pick(self, name: str, fits: Callable[[Model], bool] | None = None) -> Model | None:
        """A model of a class, of those that fit; None if none does."""
        models = [model for model in self.furniture.of(name) if fits is None or fits(model)]
        return models[int(self.rng.integers(len(models)))] if models else None


def _is_table_lamp(model: Model) -> bool:
    return model.elevation < 0.5 and model.size[1] < 0.9


def _is_floor_lamp(model: Model) -> bool:
    return model.elevation < 0.5 and model.size[1] >= 0.9


def _camera(rng: np.random.Generator, size: tuple[float, float, float]) -> Camera:
    """Near the wall that is not seen, looking at the far wall or a far corner."""
    width, _, depth = size
    x = rng.uniform(-0.34, 0.34) * width
    at = (x, rng.uniform(1.2, 1.75), depth - rng.uniform(0.05, 0.3))
    towards = (-0.55 * x + rng.uniform(-0.12, 0.12) * width, rng.uniform(0.5, 0.95), 0.25 * depth)
    return Camera(at, towards, np.radians(rng.uniform(58, 76)))
