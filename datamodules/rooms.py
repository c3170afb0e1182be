"""Bedrooms rendered from Debian's furniture of Sweet Home 3D: exact object masks and places, from a seed.

A room is planned (``room_plan``), ray-cast (``room_render``) and kept (``room_shards``). The furniture is reduced once,
to a few hundred triangles a model (``furniture_models``).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from tqdm import tqdm

from datamodules.furniture import WANTED
from datamodules.furniture_models import Furniture, load_furniture, require_rooms_extra
from datamodules.masks import LabelledImages
from datamodules.room_classes import LICENCES, ROOM_CLASSES
from datamodules.room_plan import plan_room
from datamodules.room_render import RenderedRoom, RoomObject, render_room
from datamodules.room_shards import ROOMS, RoomShards
from networks.checkpoints.errors import GanvasError

__all__ = ["ROOM_CLASSES", "SPLITS", "RoomObject", "RoomSet", "default_count", "render_rooms", "rooms_licence"]

SPLITS = ("train", "heldout", "labels", "teacher")   # each has its own random numbers, so none shares a room

_MOST, _GROWTH = 10_000, 1.4   # rooms up to 64x64 that 48 MiB hold; a room's bytes grow as its side to this power
_CHUNK = 20         # rooms that a worker takes at a time
_POOL_FROM = 60     # below this, starting processes costs more than it saves


@dataclass(frozen=True)
class RoomSet(LabelledImages):
    """Rooms with where each piece of furniture is seen in them."""

    objects: tuple[tuple[RoomObject, ...], ...] = ()

    def instances(self) -> np.ndarray:
        """Which piece each pixel shows, ``uint8 [N, H, W]``: its place among the picture's objects, from 1.

        Pieces are told by class and box; 0 for wall, floor, ceiling, and for pieces that share a pixel with another of
        their class, which are left out whole.
        """
        return np.stack([_told(mask, objects) for mask, objects in zip(self.masks, self.objects, strict=True)])


def default_count(resolution: int) -> int:
    """How many rooms of a resolution keep their shards below 48 MiB, at most 10 000.

    Example:
        >>> default_count(32), default_count(64), default_count(128), default_count(256)
        (10000, 10000, 3789, 1435)
    """
    return max(int(_MOST * min(1.0, 64 / resolution) ** _GROWTH), 1)


def render_rooms(
    count: int,
    furniture: str | Path | None,
    split: str = "train",
    seed: int = 0,
    resolution: int = 64,
    workers: int | None = None,
    progress: bool = True,
) -> RoomSet:
    """Render rooms, or read them from the cache.

    Room ``i`` depends only on ``(furniture, split, seed, i)``: a larger count extends a smaller one.

    Args:
        count: how many.
        furniture: the Debian package, see :func:`datamodules.furniture_models.load_furniture`.
        split: one of ``SPLITS``.
        seed: the draw within the split, from 0.
        resolution: pixels a side.
        workers: processes; None: one a core. They are spawned, so a script that calls this needs the
            ``if __name__ == "__main__":`` guard.
        progress: show a progress bar.

    Raises:
        GanvasError: for an unknown split, a count or a resolution below one, and unusable or missing furniture.
    """
    if split not in SPLITS:
        raise GanvasError(f"There is no split {split!r} of rooms; choose one of: {', '.join(SPLITS)}.")
    if count < 1 or resolution < 1:
        raise GanvasError(f"Rooms need a count and a resolution of at least 1, got {count} and {resolution}.")
    if furniture is None:
        raise GanvasError(f"data=rooms needs data.furniture=PATH: {WANTED}.")
    models = load_furniture(furniture, progress)
    shards = RoomShards(models.digest, split, seed, resolution)
    rooms = [shards.read(shard)[: count - shard * ROOMS] for shard in range(-(-count // ROOMS))]
    _complete(rooms, count, models, shards, workers, progress)
    every = [room for shard in rooms for room in shard]
    return RoomSet(
        images=np.ascontiguousarray(np.stack([room.image for room in every])),
        masks=np.stack([room.mask for room in every]),
        names=tuple(f"room-{split}-{seed}-{i:05d}" for i in range(count)),
        classes=ROOM_CLASSES,
        objects=tuple(room.objects for room in every),
    )


def _told(mask: np.ndarray, objects: tuple[RoomObject, ...]) -> np.ndarray:
    """One picture's pixels by the objects that alone can be what they show, from 1."""
    claims, side = np.zeros((len(objects), *mask.shape), bool), len(mask)
    for claim, piece in zip(claims, objects, strict=True):
        left, top, right, bottom = side * np.array(piece.box)
        within = slice(int(top), int(np.ceil(bottom))), slice(int(left), int(np.ceil(right)))
        claim[within] = mask[within] == ROOM_CLASSES.names.index(piece.name)
    doubtful = (claims & (claims.sum(axis=0) > 1)).any(axis=(1, 2))
    told = np.zeros(mask.shape, np.uint8)
    for number in np.flatnonzero(~doubtful):
        told[claims[number]] = number + 1
    return told


def rooms_licence() -> str:
    """Under what terms the furniture in the pictures is, and whom to name."""
    return "; ".join(f"{library}: {terms}" for library, terms in LICENCES.items())


def _complete(
    rooms: list[list[RenderedRoom]], count: int, furniture: Furniture, shards: RoomShards, workers: int | None,
    progress: bool,
) -> None:  # fmt: skip
    """Render the rooms that the shards lack, and write each shard as soon as it has all."""
    full = [min(ROOMS, count - shard * ROOMS) for shard in range(len(rooms))]
    missing = [
        shard * ROOMS + i for shard, have in enumerate(rooms) for i in range(len(have), full[shard])
    ]  # fmt: skip
    if not missing:
        return
    require_rooms_extra()
    rendered = _in_order(furniture, missing, shards, workers)
    for number, room in zip(
        missing, tqdm(rendered, "rendering rooms", len(missing), unit="room", disable=not progress), strict=True
    ):  # fmt: skip
        shard = number // ROOMS
        rooms[shard].append(room)
        if len(rooms[shard]) == full[shard]:
            shards.write(shard, rooms[shard])


def _in_order(
    furniture: Furniture, numbers: list[int], shards: RoomShards, workers: int | None
) -> Iterator[RenderedRoom]:
    """Render in order, in spawned processes where that pays."""
    workers = min(workers or os.cpu_count() or 1, len(numbers) // _CHUNK + 1)
    render = partial(_render, shards.split, shards.seed, shards.resolution)
    if workers == 1 or len(numbers) < _POOL_FROM:
        yield from (render(i, furniture) for i in numbers)
        return
    # Spawn, not fork: the parent may hold threads (torch, a CUDA context) that a forked child cannot use.
    with ProcessPoolExecutor(workers, get_context("spawn"), _begin, (furniture.path,)) as pool:
        yield from pool.map(render, numbers, chunksize=_CHUNK)


_furniture: Furniture | None = None   # of a worker process, which reads it once


def _begin(path: Path) -> None:
    global _furniture
    _furniture = load_furniture(path, progress=False)


def _render(split: str, seed: int, resolution: int, index: int, furniture: Furniture | None = None) -> RenderedRoom:
    rng = np.random.default_rng([SPLITS.index(split), seed, index])
    return render_room(plan_room(furniture or _furniture, rng), resolution)
