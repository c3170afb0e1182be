"""Options of ``task=stylegan2``: the networks and their training."""

from __future__ import annotations

from dataclasses import dataclass

from launch.options import option
from launch.schemas_gan import GANConfig, LeanEncoderConfig


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
    graphs: bool = option(False, "replay the passes as CUDA graphs: faster where images are small")


@dataclass
class StyleGAN2Config(GANConfig):
    """Train StyleGAN2 on a folder of images or on avatars."""

    name: str = option("stylegan2", "which training function runs", hidden=True)
    generator: GeneratorConfig = option(GeneratorConfig, "the network that draws")
    encoder: LeanEncoderConfig | None = option(
        None, "image to code, trained beside; half of each batch is reconstructed"
    )
    training: AdversarialConfig = option(AdversarialConfig, "losses, rates and averages")


SCHEMAS = {"task/stylegan2": StyleGAN2Config}
