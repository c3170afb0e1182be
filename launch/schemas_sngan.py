"""Options of ``task=sngan``: the class-conditional GAN of neural-collage, and its training."""

from __future__ import annotations

from dataclasses import dataclass, field

from launch.options import option
from launch.schemas_gan import DiscriminatorConfig, GANConfig


@dataclass
class ConditionalGeneratorConfig:
    """Arguments of ``networks.sngan.ConditionalGenerator``."""

    _target_: str = option("networks.sngan.ConditionalGenerator", "class", runtime=("c_dim",))
    img_resolution: int = option(32, "a power of two, at least 8")
    channels: list[int] = field(
        default_factory=list, metadata={"doc": "channels at 4x4, 8x8, ..., img_resolution; [] for a default by width"}
    )
    width: int = option(64, "of that default: channels of the finest map", memory=True)
    z_dim: int = option(128, "width of z")
    img_channels: int = option(3, "channels of the image")
    channels_last: bool = option(False, "memory layout of the activations; faster on CPUs and tensor cores")


@dataclass
class ProjectionDiscriminatorConfig(DiscriminatorConfig):
    """Arguments of ``networks.sngan.ProjectionDiscriminator``."""

    _target_: str = option("networks.sngan.ProjectionDiscriminator", "class", runtime=("c_dim",))
    img_resolution: int = option(32, "pixels a side, a power of two")
    channels: list[int] = field(
        default_factory=lambda: [128, 128], metadata={"doc": "channels of the blocks that halve the resolution"}
    )
    flat: int = option(2, "further blocks of the last width, which do not")
    img_channels: int = option(3, "channels of the image")
    hidden_first: bool = option(False, "blocks widen in their second convolution, as the release's at 128x128")


@dataclass
class SNGANTrainingConfig:
    """Arguments of ``trainers.sngan.SNGANTrainer``."""

    _target_: str = option(
        "trainers.sngan.SNGANTrainer", "class", runtime=("generator", "discriminator", "augment", "average", "seed")
    )
    total_images: int = option(36_000_000, "length of the run, in images seen; each batch counts, for G or not")
    loss: str = option("hinge", "hinge or logistic")
    lr_g: float = option(2e-4, "Adam's rate for G", diverged="lower")
    lr_d: float = option(2e-4, "Adam's rate for D", diverged="lower")
    beta2: float = option(0.9, "Adam's decay of squared gradients")
    n_dis: int = option(5, "batches for D to one for G")
    decay_from: float = option(8 / 9, "share of the run after which the rates fall linearly to nothing")
    r1_gamma: float = option(0.0, "weight of the R1 penalty; none in the paper", diverged="raise")
    r1_interval: int = option(16, "batches between R1 steps")
    ema_halflife: float = option(10_000.0, "half-life of the averaged generator, in images; 0 for no average")
    ema_rampup: float | None = option(0.05, "half-life is at most this share of the images seen")
    standing: int = option(4096, "samples that the averaged generator's statistics are taken from; 0: G's running ones")
    standing_every: int = option(8000, "images between two times that they are taken")
    compile: bool = option(False, "compile the networks")
    graphs: bool = option(False, "replay the passes as CUDA graphs: faster where images are small")


@dataclass
class SNGANConfig(GANConfig):
    """Train the class-conditional GAN of neural-collage on images with labels."""

    name: str = option("sngan", "which training function runs", hidden=True)
    generator: ConditionalGeneratorConfig = option(ConditionalGeneratorConfig, "the network that draws")
    training: SNGANTrainingConfig = option(SNGANTrainingConfig, "losses, rates and averages")


SCHEMAS = {"task/sngan": SNGANConfig, "task/discriminator/projection": ProjectionDiscriminatorConfig}
