"""Options of ``task=segmenter``: the feed-forward labeller and its training."""

from __future__ import annotations

from dataclasses import dataclass, field

from launch.options import MANDATORY, option
from launch.schemas import TaskConfig


@dataclass
class SegmenterNetworkConfig:
    """A feed-forward network; each extends this."""

    _target_: str = option(MANDATORY, "class", hidden=True)
    in_channels: int = option(3, "channels of the image")


@dataclass
class UNetConfig(SegmenterNetworkConfig):
    """Arguments of ``networks.unet.UNet``."""

    _target_: str = option("networks.unet.UNet", "class", runtime=("num_classes",))
    widths: list[int] = field(
        default_factory=lambda: [40, 64, 96, 128],
        metadata={"doc": "channels of each level, finest first; multiples of 8", "memory": True},
    )
    patch: int = option(2, "side of the pixel blocks that become channels")


@dataclass
class LibrarySegmenterConfig(SegmenterNetworkConfig):
    """Arguments of ``networks.segmenter_library.LibrarySegmenter``: a network of segmentation_models_pytorch."""

    _target_: str = option("networks.segmenter_library.LibrarySegmenter", "class", runtime=("num_classes",))
    architecture: str = option("unet", "as the library calls it: unet, fpn, deeplabv3plus, segformer ...")
    encoder: str = option("resnet18", "as the library calls it; tu-NAME for one of timm's", memory=True)


@dataclass
class LabellingConfig:
    """Arguments of ``trainers.segmenter.SegmenterTrainer``."""

    _target_: str = option(
        "trainers.segmenter.SegmenterTrainer", "class", runtime=("network", "class_names", "total_steps", "seed")
    )
    lr: float = option(3e-3, "AdamW's peak rate", diverged="lower")
    weight_decay: float = option(0.01, "AdamW's weight decay")
    dice: float = option(0.5, "weight of the Dice loss; 0 leaves cross-entropy alone")


@dataclass
class SegmenterConfig(TaskConfig):
    """Train a feed-forward network on images with masks: rendered ones, a folder, or what a branch labelled."""

    name: str = option("segmenter", "which training function runs", hidden=True)
    network: SegmenterNetworkConfig = option(SegmenterNetworkConfig, "the network")
    training: LabellingConfig = option(LabellingConfig, "losses and rates")
    epochs: int = option(4, "passes over the images")
    least_steps: int = option(0, "or more, until there are so many steps; few images need as many")
    batch_size: int = option(16, "images in a batch", memory=True)
    heldout: int = option(500, "rendered images that are scored and never trained on; n= overrides it")
    labels: int | None = option(
        None, "learn from so many labelled images: rendered ones of the draw that a branch learns from, or of a folder"
    )  # fmt: skip
    label_seed: int = option(0, "which images are labelled")
    drawn: list[str] = option(list, "classes that the generator draws: mIoU over these too; [] for none")
    against: str | None = option(
        None, "segmentation bundle that labels the same held-out images by inversion, to compare with", bundle=True
    )  # fmt: skip
    timed: int = option(16, "held-out images that the time of both is taken on")


SCHEMAS = {
    "task/segmenter": SegmenterConfig,
    "task/network/unet": UNetConfig,
    "task/network/library": LibrarySegmenterConfig,
}
