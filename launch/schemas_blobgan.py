"""Options of ``task=blobgan``: the network that draws scenes of blobs, and its training."""

from __future__ import annotations

from dataclasses import dataclass

from launch.options import option
from launch.schemas_gan import GANConfig, LeanEncoderConfig


@dataclass
class BlobGeneratorConfig:
    """Arguments of ``networks.blobgan.BlobGenerator``; the defaults are the release's network for bedrooms."""

    _target_: str = option("networks.blobgan.BlobGenerator", "class")
    img_resolution: int = option(256, "a power of two")
    k: int = option(10, "blobs of a scene")
    channels: list[int] | None = option(None, "at smallest, ..., img_resolution; null for the release's, by c_model")
    c_model: int = option(96, "width of the release's rule for channels", memory=True)
    img_channels: int = option(3, "channels of the image")
    z_dim: int = option(512, "width of z")
    hidden_dim: int = option(1024, "width of the layout network")
    layers: int = option(8, "depth of the layout network")
    lr_mult: float = option(0.01, "learning-rate multiplier of the layout network")
    structure_dim: int = option(768, "width of what is in a blob", memory=True)
    style_dim: int = option(512, "width of how a blob looks")
    smallest: int = option(16, "resolution at which blobs enter, a power of two")
    area: float = option(0.02, "geometric mean of a blob's variances, in squares of the image's width")
    offset: float = option(0.0, "where in a pixel a blob is sampled: 0 at its corner as the release, 0.5 in its middle")
    covariance: str = option("learned", "learned, or frozen: aspect and angle get no gradient")
    own_opacity: bool = option(False, "a bound of a blob's opacity beside its size, which else means both")
    depth: str = option("index", "which blob is in front: index (the later one) or learned")
    aspect_bound: float | None = option(None, "bound on the logarithm of a blob's length over its width")
    num_fp16_res: int = option(0, "how many of the finest resolutions compute in half precision")
    half_dtype: str = option("bfloat16", "float16 or bfloat16")
    channels_last: bool = option(False, "memory layout of the activations; faster on CPUs and tensor cores")


@dataclass
class BlobTrainingConfig:
    """Arguments of ``trainers.blobgan.BlobGANTrainer``."""

    _target_: str = option(
        "trainers.blobgan.BlobGANTrainer", "class",
        runtime=("generator", "discriminator", "encoder", "augment", "average", "seed"),
    )  # fmt: skip
    total_images: int = option(25_000_000, "length of the run, in images seen")
    loss: str = option("logistic", "logistic (non-saturating) or hinge")
    lr_g: float = option(2e-3, "Adam's rate for the decoder and, times lr_mult, the layout network", diverged="lower")
    lr_d: float = option(2e-3, "Adam's rate for D", diverged="lower")
    adam_eps: float = option(1e-5, "Adam's epsilon; the release's AdamW decays weights by 0, which is Adam")
    final_lr: float = option(1.0, "share of the rates left at the end; cosine over the last half of the run")
    r1_gamma: float | None = option(
        100.0, "weight of the R1 penalty, 0 for none; null for 0.0002 resolution^2 / batch_size", diverged="raise"
    )
    r1_interval: int = option(16, "batches between R1 steps")
    jitter_centre: float = option(0.04, "blobs are moved at random by at most so much, in widths of the image")
    jitter_size: float = option(0.5, "and the logit of their size by at most so much")
    jitter_angle: float = option(0.1, "and turned by at most so many radians")
    jitter_end: float | None = option(None, "share of the run at which jitter has faded to nothing; null: it stays")
    noise: str = option("random", "random, or none for images without random texture")
    ema_halflife: float = option(10_000.0, "half-life of the averaged generator, in images")
    ema_rampup: float | None = option(0.05, "half-life is at most this share of the images seen")
    reconstruction: float = option(20.0, "weight of the reconstruction loss, with an encoder")
    lr_codes: float = option(1e-3, "Adam's rate for the hidden codes' layers and their critic, with an encoder")
    code_steps: int = option(8, "steps of those layers against their critic for each batch, with an encoder")
    compile: bool = option(False, "compile the networks, but for the penalty's pass")
    graphs: bool = option(False, "replay the passes as CUDA graphs: faster where images are small")


@dataclass
class BlobGANConfig(GANConfig):
    """Train BlobGAN on scenes or on a folder of images."""

    name: str = option("blobgan", "which training function runs", hidden=True)
    generator: BlobGeneratorConfig = option(BlobGeneratorConfig, "the network that draws")
    encoder: LeanEncoderConfig | None = option(
        None, "image to hidden code, trained beside; half of each batch is reconstructed"
    )
    training: BlobTrainingConfig = option(BlobTrainingConfig, "losses, rates and averages")


SCHEMAS = {"task/blobgan": BlobGANConfig}
