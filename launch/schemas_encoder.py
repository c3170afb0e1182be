"""Options of ``task=encoder``: the network from images to codes, and its training."""

from __future__ import annotations

from dataclasses import dataclass, field

from launch.options import option
from launch.schema_inversion import InversionConfig
from launch.schemas import TaskConfig


@dataclass
class WPlusEncoderConfig:
    """Arguments of ``networks.encoder.WPlusEncoder``."""

    _target_: str = option(
        "networks.encoder.WPlusEncoder", "class", runtime=("img_resolution", "img_channels", "num_ws", "w_dim")
    )
    channels: list[int] = field(
        default_factory=list, metadata={"doc": "channels at half the input's resolution, …, 4; [] for a default"}
    )
    width: int = option(128, "channels of the pyramid", memory=True)
    hidden: int = option(512, "width of each head of codes")
    space: str = option("w+", "w+, or w: one code for all rows; then set task.training.mixing=0, since samples mix")


@dataclass
class EncoderTrainingConfig:
    """Arguments of ``trainers.encoder.EncoderTrainer``."""

    _target_: str = option(
        "trainers.encoder.EncoderTrainer", "class", runtime=("encoder", "generator", "critic", "seed")
    )
    total_images: int = option(200_000, "length of the run, in real images seen; as many samples are seen beside them")
    lr: float = option(2e-3, "AdamW's peak rate", diverged="lower")
    weight_decay: float = option(0.01, "AdamW's weight decay")
    latent: float = option(0.1, "weight of the codes' difference, of samples")
    perceptual: float = option(0.1, "weight of the perceptual distance")
    pixel: float = option(1.0, "weight of the mean squared pixel difference")
    spread: float = option(1e-3, "weight of the codes' mean squared distance from their mean")
    mixing: float = option(0.5, "share of the samples that mix two codes")
    samples_first: float = option(0.0, "share of the run, its beginning, that learns the codes of samples and no more")


@dataclass
class EncoderTaskConfig(TaskConfig):
    """An encoder into the codes of a generator, W+ or a BlobGAN's hidden code: where its inversions then start."""

    name: str = option("encoder", "which training function runs", hidden=True)
    network: WPlusEncoderConfig = option(WPlusEncoderConfig, "the network")
    training: EncoderTrainingConfig = option(EncoderTrainingConfig, "losses and rates")
    inversion: InversionConfig = option(InversionConfig, "the optimisation that is scored; its critic trains too")
    batch_size: int = option(16, "real images in a batch", memory=True)
    heldout: int = option(300, "images that are scored; avatars are held out, a folder's are its own; n= overrides it")
    log_every: int = option(1600, "images between lines of metrics.jsonl")
    checkpoint_every: int = option(8000, "images between checkpoints and contact sheets")


SCHEMAS = {"task/encoder": EncoderTaskConfig}
