"""Where images come from: the ``data`` group."""

from __future__ import annotations

from dataclasses import dataclass

from launch.schemas import DataConfig, option


@dataclass
class AvatarsConfig(DataConfig):
    """Avatars rendered here, with exact part masks."""

    kind: str = option("avatars", "avatars", hidden=True)
    style: str = option("avataaars", "DiceBear style")
    resolution: int = option(64, "pixels a side")
    count: int = option(30000, "training images of a generator")


@dataclass
class FolderConfig(DataConfig):
    """A folder that a person brings: images= and, for labels, masks=."""

    kind: str = option("folder", "folder", hidden=True)
    resolution: int | None = option(None, "pixels a side; null for the size of the images")


SCHEMAS = {"data/avatars": AvatarsConfig, "data/folder": FolderConfig}
