"""Options of ``task=stylegan2``: the networks and their training."""

from __future__ import annotations

from dataclasses import dataclass, field

from launch.options import option
from launch.schemas import TaskConfig


@dataclass
class GeneratorConfig:
    """Arguments of ``networks.stylegan2.Generator``; the defaults are the official network's."""

    _target_: str = option("networks.stylegan2.Generator", "class", runtime=("c_dim", "channels"))
    img_resolution: int = option(64, "a power of two, at least 16")
    img_channels: int = option(3, "channels of the image")
    z_dim: int = option(512, "width of z")
    w_dim: int = option(512, "width of w")
    mapping_layers: int = option(8, "depth of the mapping network")
    mapping_lr_mult: float = option(0.01, "learning-rate multiplier of the mapping network")
    w_avg_beta: float = option(0.998, "decay of the running mean of w")
    channel_base: int = option(
        32768, "channels times resolution, before channel_max; 0 for small compute, by the resolution", memory=True
    )
    channel_max: int = option(512, "largest number of channels", memory=True)
    architecture: str = option("skip", "skip, resnet or orig")
    num_fp16_res: int = option(0, "how many of the finest resolutions compute in half precision")
    half_dtype: str = option("float16", "float16 or bfloat16")
    conv_clamp: float | None = option(None, "bound on magnitudes; 256 with float16")
    channels_last: bool = option(False, "memory layout of the activations; faster on CPUs and tensor cores")


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
class EncoderConfig:
    """Arguments of ``networks.stylegan2.LeanEncoder``."""

    _target_: str = option("networks.stylegan2.LeanEncoder", "class")
    img_resolution: int = option(64, "a power of two, at least 16")
    w_dim: int = option(512, "width of w, the generator's")
    img_channels: int = option(3, "channels of the image")
    channels: list[int] = field(
        default_factory=list, metadata={"doc": "channels at half the resolution, a quarter, … 4; [] for a default"}
    )


@dataclass
class AdversarialConfig:
    """Arguments of ``trainers.stylegan2.StyleGAN2Trainer``."""

    _target_: str = option(
        "trainers.stylegan2.StyleGAN2Trainer", "class",
        runtime=("generator", "discriminator", "encoder", "augment", "average", "seed"),
    )  # fmt: skip
    total_images: int = option(25_000_000, "length of the run, in images seen")
    loss: str = option("logistic", "logistic (non-saturating) or hinge")
    lr_g: float = option(2.5e-3, "Adam's rate for G", diverged="lower")
    lr_d: float = option(2.5e-3, "Adam's rate for D", diverged="lower")
    final_lr: float = option(0.1, "share of the rates left at the end; cosine over the last half of the run")
    r1_gamma: float | None = option(
        None, "weight of the R1 penalty, 0 for none; null for 0.0002 resolution^2 / batch_size", diverged="raise"
    )
    r1_interval: int = option(16, "batches between R1 steps")
    path_weight: float = option(0.0, "weight of the path length penalty: 2 in the paper, 0 for none")
    path_interval: int = option(4, "batches between path length steps")
    path_decay: float = option(0.01, "decay of the running mean of path lengths")
    style_mixing: float = option(0.0, "probability of a second latent from a random layer on")
    noise: str = option("random", "random, or none for images without random texture")
    ema_halflife: float = option(5000.0, "half-life of the averaged generator, in images")
    ema_rampup: float | None = option(0.08, "half-life is at most this share of the images seen")
    reconstruction: float = option(20.0, "weight of the reconstruction loss, with an encoder")
    lr_codes: float = option(1e-3, "Adam's rate for the mapping network and its critic, with an encoder")
    code_steps: int = option(8, "steps of the mapping network against its critic for each batch, with an encoder")
    compile: bool = option(False, "compile the networks, but for the penalties' passes")


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
class StyleGAN2Config(TaskConfig):
    """Train StyleGAN2 on a folder of images or on avatars."""

    name: str = option("stylegan2", "which training function runs", hidden=True)
    generator: GeneratorConfig = option(GeneratorConfig, "the network that draws")
    discriminator: DiscriminatorConfig = option(DiscriminatorConfig, "the network that judges")
    encoder: EncoderConfig | None = option(None, "image to code, trained beside; half of each batch is reconstructed")
    training: AdversarialConfig = option(AdversarialConfig, "losses, rates and averages")
    augment: AugmentConfig | None = option(None, "what the discriminator sees instead of images: for small data")
    start_discriminator: str | None = option(
        None, "with generator=FILE: file of its discriminator; null for the one in that file, or else a new one"
    )
    batch_size: int = option(16, "images in a batch", memory=True)
    log_every: int = option(1600, "images between lines of metrics.jsonl")
    checkpoint_every: int = option(8000, "images between checkpoints and sample grids")
    metrics: list[str] = option(lambda: ["kid"], "which figures, of kid, fid, precision, recall")
    metrics_every: int = option(40_000, "images between measurements")
    metrics_samples: int = option(2000, "real and generated images compared")
    metrics_features: str = option(
        "efficientnet-lite0", "feature network: efficientnet-lite0, stlpips-alex, inception or inception-torchvision"
    )  # fmt: skip
    metrics_weights: str | None = option(None, "file of the Inception's weights; null for the torch hub folder's")
    allow_download: bool = option(False, "may the Inception's weights be fetched into the torch hub folder", free=True)


SCHEMAS = {
    "task/stylegan2": StyleGAN2Config,
    "task/discriminator/official": OfficialDiscriminatorConfig,
    "task/discriminator/lean": LeanDiscriminatorConfig,
    "task/discriminator/projected": ProjectedDiscriminatorConfig,
    "task/augment/diffaugment": DiffAugmentConfig,
    "task/augment/ada": AdaptiveAugmentConfig,
}
