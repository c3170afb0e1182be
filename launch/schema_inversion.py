"""The options of an inversion, wherever images are inverted."""

from __future__ import annotations

from dataclasses import dataclass

from launch.options import option


@dataclass
class InversionConfig:
    """Arguments of ``editors.invert.InversionSettings``."""

    _target_: str = option("editors.invert.InversionSettings", "class")
    steps: int = option(60, "Adam steps for each image; 0 for the codes it starts from")
    rate: float = option(0.2, "largest step, in standard deviations of the codes")
    ramp_up: float = option(0.05, "share of the steps in which the rate rises")
    ramp_down: float = option(0.25, "share of the steps in which it falls")
    perceptual: float = option(0.1, "weight of the perceptual distance")
    pixel: float = option(1.0, "weight of the mean squared pixel difference")
    features: float = option(
        0.0, "of a class-conditional GAN: weight of 1 - cosine of its discriminator's features; neural-collage has 1, "
        "with pixel=0.2 and perceptual=0"
    )  # fmt: skip
    feature_layers: list[str] = option(list, "with features=: blocks of the discriminator; [] for the last, or all")
    delta: float = option(1e-3, "weight of the mean squared distance from the mean of the codes")
    space: str = option(
        "auto", "w+, or w: one code for all layers; of a BlobGAN layout, or w: its hidden code; of a class-conditional "
        "GAN z; auto: the first of each"
    )
    size_rate: float = option(2.0, "in layout: rate of blobs' sizes, as a factor")
    noise: bool = option(False, "optimise noise maps too; they become part of the codes")
    noise_weight: float = option(1.0, "with noise=true: weight of the correlations inside a map, which keeps it noise")
    start: str = option(
        "auto", "encoder, nearest (sample), mean (of the codes); auto: encoder if there is one, else nearest"
    )
    samples: int = option(1000, "how many samples the start is chosen from")
    starts: int | None = option(
        None, "how many of these begin; the best ending is kept; null: 1, of a class-conditional GAN 4"
    )
    label: str | None = option(
        None, "of a class-conditional GAN: class of all images; null: starts are of different ones, the best is kept"
    )
    seed: int = option(0, "of the samples")
    critic: str = option("stlpips-alex", "perceptual distance: stlpips-alex, stlpips-vgg, lpips-alex or lpips-vgg")
    batch: int = option(16, "images, times their starts, optimised at once", memory=True, free=True)
