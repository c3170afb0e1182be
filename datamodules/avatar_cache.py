"""Rendered avatars on disk: one file for each combination of settings and package versions."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from datamodules.avatar_masks import PART_CLASSES
from datamodules.avatar_parts import EXPRESSIONS, distribution_of
from networks.checkpoints.atomic import atomic_path
from networks.checkpoints.cache_dir import cache_dir
from networks.checkpoints.errors import GanvasError

log = logging.getLogger(__name__)

_FORMAT = 2   # raise when the code draws something else from the same settings


@dataclass(frozen=True)
class AvatarTable:
    """The first ``n`` avatars of a draw, column by column."""

    images: np.ndarray             # uint8 [n, 3, H, W]
    masks: np.ndarray | None       # uint8 [n, H, W]
    attributes: list[dict[str, str | None]]

    def __add__(self, other: AvatarTable) -> AvatarTable:
        masks = None if self.masks is None or other.masks is None else np.concatenate([self.masks, other.masks])
        return AvatarTable(np.concatenate([self.images, other.images]), masks, self.attributes + other.attributes)


class AvatarCache:
    """One file that holds the first avatars of a draw, and grows when more are asked for.

    Its name hashes everything that could change a pixel: settings, tables of parts and classes, package versions.
    """

    def __init__(
        self, style: str, split: str, seed: int, resolution: int, masks: bool, expression: int = 0
    ) -> None:
        packages = {name: version(name) for name in ("dicebear-core", "dicebear-styles", "resvg-py")}
        tables = [repr(distribution_of(style)), repr(PART_CLASSES.get(style)) if masks else None]
        other = [[expression, EXPRESSIONS.get(style)]] if expression else []
        key = json.dumps([_FORMAT, style, split, seed, resolution, masks, tables, packages, *other])
        digest = hashlib.sha256(key.encode()).hexdigest()[:16]
        self.path = cache_dir() / "avatars" / f"{style}-{split}-{resolution}-{digest}.safetensors"

    def read(self, count: int) -> AvatarTable | None:
        """At most the first ``count`` stored avatars; None if there are none or the file is damaged."""
        try:
            with safe_open(self.path, framework="numpy") as file:
                columns = {name: file.get_slice(name)[:count] for name in ("images", "masks") if name in file.keys()}  # noqa: SIM118
                attributes = json.loads(file.get_tensor("attributes").tobytes())
        except (FileNotFoundError, SafetensorError):
            return None
        return AvatarTable(columns["images"], columns.get("masks"), attributes[:count])

    def write(self, table: AvatarTable) -> None:
        """Replace the file in one step, so that a reader sees the old one or the new one, never half.

        A place that cannot be written to costs time, not the run: the log says so.
        """
        columns = {"images": table.images, "attributes": np.frombuffer(json.dumps(table.attributes).encode(), np.uint8)}
        if table.masks is not None:
            columns["masks"] = table.masks
        try:
            with atomic_path(self.path) as partial:
                save_file({name: np.ascontiguousarray(column) for name, column in columns.items()}, partial)
        except (GanvasError, SafetensorError) as error:
            log.warning("rendered avatars are not kept (%s); set GANVAS_CACHE to a folder with room", error)
