"""Options that the training of every generator has: the networks that judge it, what they see, what is measured."""

from __future__ import annotations

from dataclasses import dataclass, field

from launch.options import option
from launch.schemas import TaskConfig


@dataclass
class DiscriminatorConfig:
    """A discriminator; each extends this."""

    _target_: str = option("???", "class", hidden=True)


@dataclass
class OfficialDiscriminatorConfig(DiscriminatorConfig):
    """Arguments of ``networks.stylegan2.Discriminator``."""

    _target_: str = option("networks.stylegan2.Discriminator", "class", runtime=("c_dim", "channels"))
    img_resolution: int = option(64, "a power of two, at least 16")
    img_channels: int = option(3, "channels of the image")
    channel_base: int = option(32768, "channels times resolution, before channel_max", memory=True)
    channel_max: int = option(512, "largest number of channels", memory=True)
    architecture: str = option("resnet", "resnet, skip or orig")
    mapping_layers: int = option(8, "depth of the label embedding")
    mbstd_group_size: int | None = option(4, "group of the mini-batch standard deviation; 0 leaves it out")
    num_fp16_res: int = option(0, "how many of the finest resolutions compute in half precision")
    half_dtype: str = option("float16", "float16 or bfloat16")
    conv_clamp: float | None = option(None, "bound on magnitudes; 256 with float16")


@dataclass
class LeanDiscriminatorConfig(DiscriminatorConfig):
    """Arguments of ``networks.stylegan2.LeanDiscriminator``: for small compute."""

    _target_: str = option("networks.stylegan2.LeanDiscriminator", "class", runtime=("c_dim",))
    img_resolution: int = option(64, "a power of two, at least 16")
    img_channels: int = option(3, "channels of the image")
    channels: list[int] = field(
        default_factory=list, metadata={"doc": "channels at half the resolution, a quarter, … 4; [] for a default"}
    )
    mbstd_group_size: int | None = option(4, "group of the mini-batch standard deviation; 0 leaves it out")


@dataclass
class ProjectedDiscriminatorConfig(DiscriminatorConfig):
    """Arguments of ``networks.projected.ProjectedDiscriminator``."""

    _target_: str = option("networks.projected.ProjectedDiscriminator", "class", runtime=("c_dim",))
    img_resolution: int = option(64, "pixels a side")
    width: int = option(64, "channels at the finest scale", memory=True)
    cmap_dim: int = option(64, "width of the label's embedding")
    feature_resolution: int | None = option(
        None, "what images are resized to, a multiple of 32 from 128; null: 224, or the image's if larger", memory=True
    )  # fmt: skip


@dataclass
class AugmentConfig:
    """What the discriminator sees instead of images; each extends this."""

    _target_: str = option("???", "class", hidden=True)


@dataclass
class DiffAugmentConfig(AugmentConfig):
    """Arguments of ``networks.augment.DiffAugment``."""

    _target_: str = option("networks.augment.DiffAugment", "class")
    changes: list[str] = field(
        default_factory=lambda: ["color", "translation", "cutout"],
        metadata={"doc": "which, of color, translation, cutout"},
    )


@dataclass
class AdaptiveAugmentConfig(AugmentConfig):
    """Arguments of ``networks.augment.AdaptiveAugment``."""

    _target_: str = option("networks.augment.AdaptiveAugment", "class")
    target: float = option(0.6, "mean sign of the logits on training images that the probability is steered to")
    interval: int = option(4, "batches between two moves of the probability")
    full_images: float = option(500_000, "images in which it could go from 0 to 1")
    p: float = option(0.0, "where it begins")


@dataclass
class LeanEncoderConfig:
    """Arguments of ``networks.stylegan2.LeanEncoder``."""

    _target_: str = option("networks.stylegan2.LeanEncoder", "class")
    img_resolution: int = option(64, "a power of two, at least 16")
    w_dim: int = option(512, "width of a code, the generator's")
    img_channels: int = option(3, "channels of the image")
    channels: list[int] = field(
        default_factory=list, metadata={"doc": "channels at half the resolution, a quarter, … 4; [] for a default"}
    )


@dataclass
class GANConfig(TaskConfig):
    """Train a generator against a discriminator; each kind extends this by its generator and its training."""

    discriminator: DiscriminatorConfig = option(DiscriminatorConfig, "the network that judges")
    augment: AugmentConfig | None = option(None, "what the discriminator sees instead of images: for small data")
    start_discriminator: str | None = option(
        None, "with generator=FILE: file of its discriminator; null for the one in that file, or else a new one"
    )
    batch_size: int = option(16, "images in a batch", memory=True)
    log_every: int = option(1600, "images between lines of metrics.jsonl")
    checkpoint_every: int = option(8000, "images between checkpoints and sample grids")
    metrics: list[str] = option(
        lambda: ["kid"], "which figures, of kid (where there are classes also within each), fid, precision, recall"
    )  # fmt: skip
    metrics_every: int = option(40_000, "images between measurements")
    metrics_samples: int = option(2000, "real and generated images compared")
    metrics_features: str = option(
        "efficientnet-lite0", "feature network: efficientnet-lite0, stlpips-alex, inception or inception-torchvision"
    )  # fmt: skip
    metrics_weights: str | None = option(None, "file of the Inception's weights; null for the torch hub folder's")
    allow_download: bool = option(False, "may the Inception's weights be fetched into the torch hub folder", free=True)


SCHEMAS = {
    "task/discriminator/official": OfficialDiscriminatorConfig,
    "task/discriminator/lean": LeanDiscriminatorConfig,
    "task/discriminator/projected": ProjectedDiscriminatorConfig,
    "task/augment/diffaugment": DiffAugmentConfig,
    "task/augment/ada": AdaptiveAugmentConfig,
}
