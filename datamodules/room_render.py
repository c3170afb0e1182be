"""Ray-casts a planned room with Embree: its picture, and which piece each pixel shows.

Each pixel is the mean of 2 x 2 samples. A sample gets ambient light as far as nothing near is in its way, and that of a
lamp at the ceiling and of the windows (Lambert), which have an extent: the four samples see other points of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datamodules.room_classes import ROOM_CLASSES
from datamodules.room_parts import SKY, Opening, Room, Surfaces

SAMPLES = 2                 # a side
_GAMMA = 2.2
_NEAR = 0.9                 # metres within which something darkens a corner
_OFF = 2e-3                 # metres that a ray starts off its surface
_WALL, _FLOOR, _CEILING = (ROOM_CLASSES.names.index(name) for name in ("wall", "floor", "ceiling"))
_SHELL = 3                  # objects before the pieces: wall, floor, ceiling


@dataclass(frozen=True)
class RoomObject:
    """A piece that the picture shows; places in widths of the image, from its left and top edge."""

    name: str                               # its class
    model: str                              # its catalogue id, or "" for what is drawn
    box: tuple[float, float, float, float]  # left, top, right, bottom of what is seen of it
    centroid: tuple[float, float]           # x, y
    share: float                            # of the image that it covers


@dataclass(frozen=True, eq=False)
class RenderedRoom:
    """A room's picture and what is where in it."""

    image: np.ndarray                       # uint8 [3, R, R]
    mask: np.ndarray                        # uint8 [R, R], ids of ROOM_CLASSES
    objects: tuple[RoomObject, ...]


class _Scene:
    """The room's triangles, and rays through them.

    Attributes:
        owner: the object of each triangle: wall, floor, ceiling, then the pieces.
    """

    def __init__(self, room: Room) -> None:
        from embreex.mesh_construction import TriangleMesh  # an optional package
        from embreex.rtcore_scene import EmbreeScene

        shell, owners, colors = _shell(room)
        pieces = room.pieces
        self.triangles = np.concatenate([shell, *(piece.triangles for piece in pieces)])
        self.owner = np.concatenate([owners, *(np.full(len(p.triangles), _SHELL + i) for i, p in enumerate(pieces))])
        screen = np.concatenate([colors, *(piece.colors for piece in pieces)])
        sky = screen[:, 0] == SKY
        screen[sky] = room.lights.sky
        self.colors = screen**_GAMMA
        self.glow = np.concatenate([np.zeros(len(shell), np.float32), *(piece.glow for piece in pieces)])
        self.glow[sky] = 0.4 + 1.4 * room.lights.day
        edges = self.triangles[:, 1:] - self.triangles[:, :1]
        normal = np.cross(edges[:, 0], edges[:, 1])
        self.normal = normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
        self._scene = EmbreeScene()
        self._mesh = TriangleMesh(self._scene, self.triangles)

    def first(self, origin: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The triangle that each ray from a point hits first, and the distance in lengths of its direction."""
        origins = np.broadcast_to(origin.astype(np.float32), directions.shape).copy()
        hit = self._scene.run(origins, directions)
        hit = np.where(hit < 0, 0, hit)  # a ray through the seam of two walls: any of them
        normal = self.normal[hit]
        down = np.einsum("nk,nk->n", normal, directions)
        height = np.einsum("nk,nk->n", normal, self.triangles[hit, 0] - origin)
        return hit, height / np.where(np.abs(down) < 1e-9, 1e-9, down)

    def reach(self, points: np.ndarray, directions: np.ndarray, most: float) -> np.ndarray:
        """How far each point sees in a direction, at most so far: float ``[N]``."""
        return self._scene.run(points, directions, np.full(len(points), most, np.float32), query="DISTANCE")

    def seen(self, points: np.ndarray, directions: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Whether nothing is in the way from each point, over a length in a direction: float ``[N]``."""
        hit = self._scene.run(points, directions, lengths.astype(np.float32), query="OCCLUDED")
        return (hit < 0).astype(np.float32)


def render_room(room: Room, resolution: int = 64) -> RenderedRoom:
    """A picture of a room.

    Args:
        room: what to draw.
        resolution: pixels a side.
    """
    scene, side = _Scene(room), SAMPLES * resolution
    origin, directions = np.array(room.camera.at), _rays(room, side)
    triangle, distance = scene.first(origin, directions)
    points = (origin + distance[:, None] * directions).astype(np.float32)
    normals = scene.normal[triangle]
    normals = np.where(np.einsum("nk,nk->n", normals, directions)[:, None] > 0, -normals, normals)
    owner = scene.owner[triangle]
    albedo = _painted(room, scene.colors[triangle], points, normals, owner)
    light = _light(room, scene, (points + _OFF * normals).astype(np.float32), normals, side)
    glow = scene.glow[triangle][:, None]
    radiance = np.where(glow > 0, albedo * np.maximum(glow, light), albedo * light)
    objects, mask = _objects(room, owner.reshape(side, side), distance.reshape(side, side))
    return RenderedRoom(_developed(radiance, side, room.lights.exposure), mask, objects)


def _rays(room: Room, side: int) -> np.ndarray:
    """Directions of the samples ``float32 [side * side, 3]``, by rows from the top."""
    camera = room.camera
    forward = np.subtract(camera.towards, camera.at)
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, (0, 1, 0))
    right /= np.linalg.norm(right)
    up = np.cross(right, forward)
    place = np.tan(camera.angle / 2) * ((np.arange(side) + 0.5) * 2 / side - 1)
    directions = forward + place[None, :, None] * right - place[:, None, None] * up
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    return directions.reshape(-1, 3).astype(np.float32)


def _shell(room: Room) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Triangles of wall, floor and ceiling, the object of each, and their colours."""
    width, height, depth = room.size
    low, high, paint = np.array((-width / 2, 0, 0)), np.array((width / 2, height, depth)), room.surfaces
    x, y, z = np.diag(high - low)
    far, left, right = paint.walls
    sides = [
        (low, x, y, _WALL, far), (low, z, y, _WALL, left), (low + x, z, y, _WALL, right), (low + z, x, y, _WALL, far),
        (low, x, z, _FLOOR, paint.floor), (low + y, x, z, _CEILING, paint.ceiling),
    ]  # fmt: skip
    corners = [(a, a + u, a + u + v, a + v) for a, u, v, _, _ in sides]
    triangles = np.array([t for a, b, c, d in corners for t in ((a, b, c), (a, c, d))], np.float32)
    owners = np.repeat([side[3] for side in sides], 2)
    return triangles, owners, np.repeat(np.array([side[4] for side in sides], np.float32), 2, axis=0)


def _painted(
    room: Room, colors: np.ndarray, points: np.ndarray, normals: np.ndarray, owner: np.ndarray
) -> np.ndarray:
    """The samples' colours, with the patterns of wall and floor."""
    colors, paint = colors.copy(), room.surfaces
    wall, floor = np.flatnonzero(owner == _WALL), np.flatnonzero(owner == _FLOOR)
    along = np.where(np.abs(normals[wall, 2]) > 0.5, points[wall, 0], points[wall, 2])
    height = points[wall, 1]
    if paint.pattern != "plain":
        second = height < 0.9 if paint.pattern == "wainscot" else np.floor(along / 0.16) % 2 == 0
        colors[wall[second]] = np.array(paint.second) ** _GAMMA
    colors[wall[height < 0.08]] = 0.75  # the skirting board
    colors[floor] *= _laid(paint, points[floor, 0], points[floor, 2])[:, None]
    return colors


def _laid(paint: Surfaces, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """How bright the floor is at places, about 1."""
    if paint.laying == "planks":
        row = np.floor(z / 0.18)
        plank = np.floor((x + 0.37 * row) / 1.3)
        return 1 + 0.22 * (np.sin(12.9898 * row + 78.233 * plank) * 43758.5453 % 1 - 0.5)
    if paint.laying == "tiles":
        return np.where((np.floor(x / 0.4) + np.floor(z / 0.4)) % 2 == 0, 1.06, 0.86)
    return np.ones_like(x)


def _light(room: Room, scene: _Scene, points: np.ndarray, normals: np.ndarray, side: int) -> np.ndarray:
    """What light the samples get, ``[N, 3]``."""
    lights, index = room.lights, np.arange(side)
    which = ((index[:, None] % SAMPLES) * SAMPLES + index[None, :] % SAMPLES).ravel()  # of a pixel's samples, 0 ... 3
    corner = np.stack([which % SAMPLES, which // SAMPLES], axis=1) / SAMPLES + 0.5 / SAMPLES  # in a unit square
    ambient = lights.ambient * _openness(scene, points, normals, which) * (0.85 + 0.15 * normals[:, 1])
    across = 0.6 * (corner - 0.5)
    lamp = np.stack([across[:, 0], np.full(len(which), room.size[1] - 0.3), 0.45 * room.size[2] + across[:, 1]], axis=1)
    from_lamp = 1.6 * lights.lamp * _from(scene, points, normals, lamp)
    total = ambient[:, None] + from_lamp[:, None] * np.array(lights.warmth)
    for opening in room.openings:
        total += lights.day * _from_window(scene, points, normals, opening, corner)[:, None] * np.array(lights.sky)
    return total


def _openness(scene: _Scene, points: np.ndarray, normals: np.ndarray, which: np.ndarray) -> np.ndarray:
    """How far one sees about the normal, 0.35 ... 1; each of the four samples of a pixel looks two ways of its own."""
    helper = np.where(np.abs(normals[:, :1]) < 0.7, np.array((1.0, 0, 0)), np.array((0, 1.0, 0)))
    first = np.cross(normals, helper)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second = np.cross(normals, first)
    total = np.zeros(len(points), np.float32)
    for turn in range(2):
        angle = np.pi / 4 * (2 * np.array((0, 1, 2, 3)) + turn)[which]
        tilt = 0.8 if turn else 0.55
        around = np.cos(angle)[:, None] * first + np.sin(angle)[:, None] * second
        directions = (np.sqrt(1 - tilt**2) * normals + tilt * around).astype(np.float32)
        total += scene.reach(points, directions, _NEAR) / _NEAR
    return 0.35 + 0.325 * total


def _from(scene: _Scene, points: np.ndarray, normals: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Light that the points ``[N, 3]`` get of points of a lamp ``[N, 3]``."""
    way = source - points
    length = np.linalg.norm(way, axis=1)
    directions = (way / length[:, None]).astype(np.float32)
    slope = np.einsum("nk,nk->n", normals, directions).clip(0)
    light = np.zeros(len(points), np.float32)
    lit = np.flatnonzero(slope > 0)
    light[lit] = scene.seen(points[lit], directions[lit], length[lit]) * slope[lit] / (length[lit] ** 2 + 0.6)
    return light


def _from_window(
    scene: _Scene, points: np.ndarray, normals: np.ndarray, opening: Opening, corner: np.ndarray
) -> np.ndarray:
    """Light that the points get of points of a window, each by its place in a unit square."""
    source = opening.corner + corner[:, :1] * opening.along + corner[:, 1:] * np.array((0, opening.height, 0))
    source = source + 0.12 * opening.inward  # before the frame
    way = points - source
    slope = (way @ opening.inward).clip(0) / np.maximum(np.linalg.norm(way, axis=1), 1e-6)
    area = np.linalg.norm(opening.along) * opening.height
    return 2.2 * area * slope * _from(scene, points, normals, source)


def _developed(radiance: np.ndarray, side: int, exposure: float) -> np.ndarray:
    """The picture ``uint8 [3, R, R]``: exposed for its mean, bright parts pressed below white."""
    scaled = radiance * (exposure / np.maximum(np.median(radiance.mean(axis=1)), 1e-4))
    pressed = scaled * (1 + scaled / 4) / (1 + scaled)  # Reinhard's curve; 2 becomes white
    pixels = pressed.reshape(side // SAMPLES, SAMPLES, side // SAMPLES, SAMPLES, 3).mean(axis=(1, 3))
    picture = (255 * pixels.clip(0, 1) ** (1 / _GAMMA)).round().astype(np.uint8)
    return np.ascontiguousarray(picture.transpose(2, 0, 1))


def _objects(room: Room, owner: np.ndarray, distance: np.ndarray) -> tuple[tuple[RoomObject, ...], np.ndarray]:
    """Where the pieces are seen, and the mask: of a pixel's samples the most frequent object, then the nearest."""
    side = len(owner)
    rows, columns = np.divmod(np.arange(side * side), side)
    flat, count = owner.ravel(), np.bincount(owner.ravel(), minlength=_SHELL + len(room.pieces))
    objects = []
    for index, piece in enumerate(room.pieces, _SHELL):
        if not count[index]:
            continue
        of_it = flat == index
        x, y = columns[of_it], rows[of_it]
        box = (x.min() / side, y.min() / side, (x.max() + 1) / side, (y.max() + 1) / side)
        centroid = ((x.mean() + 0.5) / side, (y.mean() + 0.5) / side)
        *places, share = np.array((*box, *centroid, count[index] / side**2), np.float16).tolist()  # as they are kept
        objects.append(RoomObject(piece.name, piece.key, tuple(places[:4]), tuple(places[4:]), share))
    of_object = np.array([_WALL, _FLOOR, _CEILING, *(ROOM_CLASSES.names.index(p.name) for p in room.pieces)], np.uint8)
    tiled = [a.reshape(side // 2, 2, side // 2, 2).transpose(0, 2, 1, 3).reshape(side // 2, side // 2, 4)
             for a in (owner, distance)]  # fmt: skip
    votes = (tiled[0][..., :, None] == tiled[0][..., None, :]).sum(axis=-1) - tiled[1] / 1e3
    chosen = np.take_along_axis(tiled[0], votes.argmax(axis=-1)[..., None], axis=-1)[..., 0]
    return tuple(objects), of_object[chosen]
