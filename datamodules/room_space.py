"""The space of a room while it is furnished: pieces against walls, none within another."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from datamodules.furniture_models import Model
from datamodules.room_parts import Box, Camera, Piece

WALLS = {"far": 0, "left": 1, "right": 3}   # quarter turns of what stands with its back to it
_VIEW = 1.1                                 # metres before and beside the camera that stay empty


@dataclass
class Space:
    """A room, empty at first.

    Args:
        size: width, height, depth.
        camera: where nothing may stand right before it.
    """

    size: tuple[float, float, float]
    camera: Camera
    pieces: list[Piece] = field(default_factory=list)

    def put(
        self, model: Model, colors: np.ndarray, quarters: float, at: tuple[float, float, float],
        scale: tuple[float, float, float] = (1, 1, 1), clear: float = 0.0, glow: float = 0.0,
    ) -> Piece | None:  # fmt: skip
        """Add a model if its box is free.

        Args:
            model: which.
            colors: of its triangles.
            quarters: of a circle that it is turned by.
            at: its bottom's middle.
            scale: of its width, height and depth.
            clear: metres before it that stay free too.
            glow: light that it gives where it is bright.
        """
        middle = np.array((0, model.size[1] / 2, clear / (2 * scale[2]))) * scale
        half = np.array(model.size) * scale / 2 + (0, 0, clear / 2)
        corners = middle + half * np.array(np.meshgrid(*3 * [(-1, 1)])).reshape(3, -1).T
        corners = turned(corners, quarters) + np.array(at)
        box = np.stack([corners.min(axis=0), corners.max(axis=0)])
        if not self.free(box):
            return None
        triangles = turned(model.triangles * np.array(scale), quarters) + np.array(at)
        return self.add(model.name, model.key, box, triangles, colors, glow)

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
        if box[1, 2] > z - _VIEW and box[0, 0] < x + _VIEW and box[1, 0] > x - _VIEW:
            return False
        others = (piece.box for piece in self.pieces if piece.name != "rug")
        return not any((box[0] < other[1] - 1e-6).all() and (box[1] > other[0] + 1e-6).all() for other in others)

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


def along_wall(wall: str) -> np.ndarray:
    """The direction of a wall, left to right or away from the far wall."""
    return np.array((1.0, 0, 0)) if wall == "far" else np.array((0, 0, 1.0))


def into_room(wall: str) -> np.ndarray:
    """The direction in which a wall looks."""
    return {"far": np.array((0, 0, 1.0)), "left": np.array((1.0, 0, 0)), "right": np.array((-1.0, 0, 0))}[wall]


def turned(points: np.ndarray, quarters: float) -> np.ndarray:
    """Points turned about the vertical; one quarter takes +z, where a front looks, to +x."""
    angle = quarters * np.pi / 2
    cosine, sine = np.cos(angle), np.sin(angle)
    return points @ np.array([(cosine, 0, -sine), (0, 1, 0), (sine, 0, cosine)])
