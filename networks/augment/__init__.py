"""Augmentations that a discriminator sees instead of images: they let a GAN learn from few of them."""

from networks.augment.ada import AdaptiveAugment
from networks.augment.base import Augment
from networks.augment.diffaugment import DiffAugment

__all__ = ["AdaptiveAugment", "Augment", "DiffAugment"]
