"""Rendered rooms on disk: a few hundred a file, packed without loss, so that 10 000 at 64x64 fit on a small machine."""

from __future__ import annotations

import hashlib
import io
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from datamodules.room_classes import ROOM_CLASSES
from datamodules.room_render import RenderedRoom, RoomObject
from networks.checkpoints.atomic import atomic_path
from networks.checkpoints.cache_dir import cache_dir
from networks.checkpoints.errors import GanvasError

log = logging.getLogger(__name__)

_FORMAT = 1     # raise when the code draws something else from the same furniture
ROOMS = 500     # in a full shard


@dataclass(frozen=True)
class RoomShards:
    """The shards of one draw; a shard that holds fewer rooms than it could grows when more are asked for.

    Args:
        furniture: the digest of the furniture.
        split: of the draw, as ``seed`` and ``resolution``.
    """

    furniture: str
    split: str
    seed: int
    resolution: int

    def read(self, shard: int) -> list[RenderedRoom]:
        """The rooms of a shard; none if it is missing or damaged."""
        try:
            with safe_open(self.path(shard), framework="numpy") as file:
                models = json.loads(file.metadata()["models"])
                columns = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return list(_unpacked(columns, models))
        except (FileNotFoundError, SafetensorError, OSError, KeyError, ValueError, TypeError, IndexError):
            return []

    def write(self, shard: int, rooms: Sequence[RenderedRoom]) -> None:
        """Replace a shard in one step. A place that cannot be written to costs time, not the run: the log says so."""
        columns, models = _packed(rooms)
        try:
            with atomic_path(self.path(shard)) as partial:
                save_file(columns, partial, {"models": json.dumps(models)})
        except (GanvasError, SafetensorError) as error:
            log.warning("rendered rooms are not kept (%s); set GANVAS_CACHE to a folder with room", error)

    def path(self, shard: int) -> Path:
        """The file of a shard; its folder is named by everything that could change a pixel."""
        key = json.dumps([_FORMAT, self.furniture, ROOM_CLASSES.names])
        digest = hashlib.sha256(key.encode()).hexdigest()[:16]
        return cache_dir() / "rooms" / digest / f"{self.split}-{self.seed}-{self.resolution}-{shard:04d}.safetensors"


def _packed(rooms: Sequence[RenderedRoom]) -> tuple[dict[str, np.ndarray], list[str]]:
    """The rooms by columns, and the names of the models in them."""
    objects = [found for room in rooms for found in room.objects]
    models = sorted({found.model for found in objects})
    columns = {
        "counts": np.array([len(room.objects) for room in rooms], np.int32),
        "classes": np.array([ROOM_CLASSES.names.index(found.name) for found in objects], np.uint8),
        "models": np.array([models.index(found.model) for found in objects], np.int16),
        "places": np.array([(*o.box, *o.centroid, o.share) for o in objects], np.float16).reshape(-1, 7),
    }
    for name, pictures in (
        ("images", [_webp(room.image.transpose(1, 2, 0)) for room in rooms]), ("masks", [_webp(r.mask) for r in rooms])
    ):  # fmt: skip
        columns[name] = np.frombuffer(b"".join(pictures), np.uint8)
        columns[f"{name}_ends"] = np.cumsum([len(data) for data in pictures])
    return columns, models


def _unpacked(columns: dict[str, np.ndarray], models: list[str]) -> Iterator[RenderedRoom]:
    ends = np.cumsum(columns["counts"])
    pictures = [_pictures(columns, name) for name in ("images", "masks")]
    for end, count, image, mask in zip(ends, columns["counts"], *pictures, strict=True):
        rows = range(end - count, end)
        places = columns["places"][end - count : end].tolist()
        objects = tuple(
            RoomObject(ROOM_CLASSES.names[columns["classes"][row]], models[columns["models"][row]],
                       tuple(place[:4]), tuple(place[4:6]), place[6])
            for row, place in zip(rows, places, strict=True)
        )  # fmt: skip
        yield RenderedRoom(np.ascontiguousarray(image.transpose(2, 0, 1)), np.ascontiguousarray(mask[..., 0]), objects)


def _pictures(columns: dict[str, np.ndarray], name: str) -> Iterator[np.ndarray]:
    """The pictures of a column ``uint8 [R, R, 3]``."""
    data, start = columns[name].tobytes(), 0
    for end in columns[f"{name}_ends"]:
        yield np.asarray(Image.open(io.BytesIO(data[start:end])).convert("RGB"))
        start = end


def _webp(picture: np.ndarray) -> bytes:
    """A picture packed without loss; a mask becomes a grey picture of its ids."""
    file = io.BytesIO()
    Image.fromarray(picture).convert("RGB").save(file, "WEBP", lossless=True)
    return file.getvalue()
