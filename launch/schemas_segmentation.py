"""Options of ``task=segmentation``: the labelled images, the head, its training, and what it is scored on."""

from __future__ import annotations

from dataclasses import dataclass

from launch.options import option
from launch.schemas import InversionConfig, TaskConfig


@dataclass
class HeadConfig:
    """A segmentation head; each extends this."""

    kind: str = option("???", "name in networks.segmentation.HEADS", hidden=True)
    members: int = option(10, "size of the ensemble", memory=True)
    constants: bool = option(False, "also read the maps that are the same for every image, as the original does")


@dataclass
class DefaultHeadConfig(HeadConfig):
    """Arguments of ``networks.segmentation.PyramidHead``: ours."""

    kind: str = option("default", "name in the registry", hidden=True)
    width: int = option(64, "channels of the shared trunk")
    hidden: int = option(8, "channels of each member's hidden layer")
    dropout: float = option(0.1, "share of trunk channels hidden from each member in training")


@dataclass
class LinearHeadConfig(HeadConfig):
    """Arguments of ``networks.segmentation.LinearHead`` (LinearGAN)."""

    kind: str = option("linear", "name in the registry", hidden=True)
    members: int = option(1, "size of the ensemble", memory=True)


@dataclass
class ReferenceHeadConfig(HeadConfig):
    """Arguments of ``networks.segmentation.ReferenceHead`` (EditGAN, DatasetGAN)."""

    kind: str = option("reference", "name in the registry", hidden=True)
    upsampling: str = option("bilinear", "how maps are enlarged: bilinear, or nearest as in DatasetGAN's paper")
    constants: bool = option(True, "also read the maps that are the same for every image, as the original does")


@dataclass
class HeadTrainingConfig:
    """Arguments of ``trainers.segmentation.SegmentationSettings``."""

    _target_: str = option("trainers.segmentation.SegmentationSettings", "class", runtime=("seed",))
    recipe: str = option("default", "default, or original: 64 pixels a step and the original's stop rule")
    passes: int = option(20, "times every labelled pixel is seen (default recipe)")
    least_steps: int = option(1280, "at least so many steps, however few the labels (default recipe)")
    windows: int = option(2, "a side: a step sees one of windows x windows parts of its images (default recipe)")
    images_per_step: int = option(1, "images in a batch (default recipe)", memory=True)
    learning_rate: float = option(2e-2, "Adam's peak rate (default recipe)", diverged="lower")
    weight_decay: float = option(0.05, "decoupled weight decay (default recipe)")
    balance: float = option(0.0, "class weight is frequency to minus this (default recipe)")
    dice: float = option(1.0, "weight of the Dice loss (default recipe)")
    jitter: float = option(0.0, "noise on the latents, in standard deviations (default recipe)")
    noise: bool = option(False, "fresh synthesis noise in each rendering (default recipe)")
    refresh: int = option(2, "passes between two renderings (default recipe)")
    tile: int = option(256, "pixels a side of what is computed at once", memory=True, free=True)
    half: bool = option(False, "cached features as float16: half the memory")
    min_class_pixels: int = option(0, "a class with fewer pixels in an image becomes background; 30 in the original")


@dataclass
class SegmentationConfig(TaskConfig):
    """A segmentation branch from a few labelled images."""

    name: str = option("segmentation", "which training function runs", hidden=True)
    labels: int = option(16, "labelled images to learn from; a folder without data.heldout gives all")
    label_seed: int = option(0, "which rendered images are labelled")
    draw: str = option(
        "auto", "how labels are drawn: auto (rendered ones by the classes that they show, a folder at random), random, "
        "coreset (far apart in the generator's features), or active (in rounds, where a branch is unsure)"
    )  # fmt: skip
    pool: int = option(256, "rendered images that draws are from; avatars of draw=auto are from 256")
    heldout: int = option(300, "held-out avatars that are inverted and scored; n= overrides it")
    generated: int = option(300, "generated images that are scored against the teacher's labels; 0 for none")
    teacher: str | None = option(None, "segmenter bundle that labels generated images; null for none", bundle=True)
    folds: int = option(0, "parts of the k-fold score on the labels; 0 for none")
    curve: list[int] = option(list, "also train on so many of the labels, e.g. [1,2,4,8]: mIoU by number of labels")
    save_every: float = option(15.0, "seconds between two checkpoints", free=True)
    head: HeadConfig = option(HeadConfig, "the head")
    training: HeadTrainingConfig = option(HeadTrainingConfig, "how the head is trained")
    inversion: InversionConfig = option(InversionConfig, "how images are brought into the generator's latent space")


SCHEMAS = {
    "task/segmentation": SegmentationConfig,
    "task/head/default": DefaultHeadConfig,
    "task/head/linear": LinearHeadConfig,
    "task/head/reference": ReferenceHeadConfig,
}
