"""Where images come from: the ``data`` group."""

from __future__ import annotations

from dataclasses import dataclass, field

from launch.options import option
from launch.schemas import DataConfig

STYLES = (  # unlike one another in drawing, frame and palette
    "avataaars", "personas", "micah", "open-peeps", "adventurer", "big-smile", "toon-head", "lorelei"
)  # fmt: skip


@dataclass
class AvatarsConfig(DataConfig):
    """Avatars rendered here, with exact part masks."""

    kind: str = option("avatars", "avatars", hidden=True)
    style: str = option("avataaars", "DiceBear style")
    resolution: int = option(64, "pixels a side")
    count: int = option(30000, "training images of a generator")


@dataclass
class StylesConfig(DataConfig):
    """Avatars of several styles rendered here; a style is a class."""

    kind: str = option("styles", "styles", hidden=True)
    styles: list[str] = field(
        default_factory=lambda: list(STYLES), metadata={"doc": "DiceBear styles, at least two"}
    )
    resolution: int = option(32, "pixels a side")
    count: int = option(40_000, "training images of a generator, of all styles together")


@dataclass
class FashionMnistConfig(DataConfig):
    """Fashion-MNIST from the Debian package dataset-fashion-mnist: grey pictures of clothes in ten classes."""

    kind: str = option("fashion_mnist", "fashion_mnist", hidden=True)
    fashion_mnist: str | None = option(None, "the .deb, or the folder that `dpkg-deb -x` unpacked it into")
    resolution: int = option(32, "pixels a side")
    count: int | None = option(None, "training images of a generator; null for all 60,000")


@dataclass
class ScenesConfig(DataConfig):
    """Rooms drawn here with flat shapes, with exact masks."""

    kind: str = option("scenes", "scenes", hidden=True)
    resolution: int = option(64, "pixels a side")
    count: int = option(10_000, "training images of a generator")


@dataclass
class RoomsConfig(DataConfig):
    """Bedrooms rendered here from the Debian package sweethome3d-furniture, with exact masks."""

    kind: str = option("rooms", "rooms", hidden=True)
    furniture: str | None = option(
        None, "the .deb, the folder that `dpkg-deb -x` unpacked it into, or furniture-*.safetensors made of it before"
    )
    resolution: int = option(64, "pixels a side")
    count: int | None = option(
        None, "training images of a generator; null for as many as 48 MiB of cache hold: 10,000 up to 64x64, 3789 at "
        "128x128, 1435 at 256x256"
    )  # fmt: skip


@dataclass
class FolderConfig(DataConfig):
    """Images that a person brings: images=, a folder or a zip, and for a segmentation masks=."""

    kind: str = option("folder", "folder", hidden=True)
    resolution: int | None = option(None, "pixels a side; null for the size of the images")
    fit: str = option("pad", "how a picture becomes square: pad (black), crop (its middle) or stretch")
    heldout: int = option(0, "labelled images that a branch is scored on; it learns from task.labels others")
    mirror: bool = option(False, "train on each image from right to left too")
    labels: bool = option(
        False, "use the labels in dataset.json, as NVIDIA's dataset tool writes it; without it sub-folders are classes"
    )


@dataclass
class SynthesizedConfig(DataConfig):
    """What `ganvas synthesize` wrote; scored on images= with masks=, on rendered avatars, or on a part of itself."""

    kind: str = option("synthesized", "synthesized", hidden=True)
    folder: str | None = option(None, "the folder")
    test: str | None = option(None, "avatars: score on held-out avatars; null: on images= with masks=, else on samples")
    style: str = option("avataaars", "DiceBear style of the held-out avatars")
    heldout: int = option(0, "score on so many of images= only, those that a branch with this held out; 0 for all")


SCHEMAS = {
    "data/synthesized": SynthesizedConfig, "data/avatars": AvatarsConfig, "data/folder": FolderConfig,
    "data/scenes": ScenesConfig, "data/rooms": RoomsConfig, "data/styles": StylesConfig,
    "data/fashion_mnist": FashionMnistConfig,
}  # fmt: skip
