"""Options of ``task=segmenter``: the feed-forward labeller and its training."""

from __future__ import annotations

from dataclasses import dataclass, field

from launch.options import option
from launch.schemas import TaskConfig


@dataclass
class UNetConfig:
    """Arguments of ``networks.unet.UNet``."""

    _target_: str = option("networks.unet.UNet", "class", runtime=("num_classes",))
    widths: list[int] = field(
        default_factory=lambda: [40, 64, 96, 128],
        metadata={"doc": "channels of each level, finest first; multiples of 8", "memory": True},
    )
    patch: int = option(2, "side of the pixel blocks that become channels")
    in_channels: int = option(3, "channels of the image")


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
    """Train a U-Net on rendered avatars with exact masks; it then labels generated ones."""

    name: str = option("segmenter", "which training function runs", hidden=True)
    network: UNetConfig = option(UNetConfig, "the network")
    training: LabellingConfig = option(LabellingConfig, "losses and rates")
    epochs: int = option(4, "passes over the images")
    batch_size: int = option(16, "images in a batch", memory=True)
    heldout: int = option(500, "rendered images that are scored and never trained on; n= overrides it")


SCHEMAS = {"task/segmenter": SegmenterConfig}
