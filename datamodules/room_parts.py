"""What a room to be drawn consists of.

Axes: x to the right, y up, z from the far wall (0) towards the camera; the room spans ``[-W/2, W/2]``, ``[0, H]``,
``[0, D]`` metres.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Color = tuple[float, float, float]      # 0 ... 1, as on a screen
Box = np.ndarray                        # float [2, 3], its lowest and its highest corner
SKY = -1.0                              # of a triangle that shows the sky, whose colour is among the lights


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
