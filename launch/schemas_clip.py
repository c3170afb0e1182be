"""Options of ``task=clip``: an encoder of images and texts into one space."""

from __future__ import annotations

from dataclasses import dataclass

from launch.options import option
from launch.schemas import TaskConfig


@dataclass
class ClipNetworkConfig:
    """Arguments of ``networks.clip.avatar.AvatarClip``."""

    _target_: str = option("networks.clip.avatar.AvatarClip", "class", runtime=("resolution", "text_features"))
    trunk: str = option("dense", "dense or mixer: two architectures")
    width: int = option(32, "channels of the trunk; dense: of its first layer, an even number", memory=True)
    dim: int = option(128, "length of the vectors")
    hidden: int = option(512, "width of the head on the text tower")


@dataclass
class ClipTrainingConfig:
    """Arguments of ``trainers.clip.ClipTrainer``."""

    _target_: str = option(
        "trainers.clip.ClipTrainer", "class", runtime=("network", "captions", "total_steps", "seed")
    )
    lr: float = option(3e-3, "AdamW's peak rate", diverged="lower")
    weight_decay: float = option(0.01, "AdamW's weight decay")
    shorts: int = option(4, "short captions of an image in a step, beside the one that says everything")
    jitter: float = option(0.0, "largest random shift (of half the side), turn (radians) and scaling of images")


@dataclass
class ClipConfig(TaskConfig):
    """Train an encoder of avatars and texts into one space, on rendered avatars with many captions each."""

    name: str = option("clip", "which training function runs", hidden=True)
    network: ClipNetworkConfig = option(ClipNetworkConfig, "the network")
    training: ClipTrainingConfig = option(ClipTrainingConfig, "rates")
    written: int = option(2, "captions written for an image; the text tower takes about 10 ms of a CPU for each")
    borrowed: int = option(14, "captions of others that are true of it, too; they cost nothing")
    epochs: int = option(14, "passes over the images")
    batch_size: int = option(64, "images in a batch; more are harder to tell apart", memory=True)
    heldout: int = option(500, "avatars that are scored and never trained on; n= overrides it")


SCHEMAS = {"task/clip": ClipConfig}
