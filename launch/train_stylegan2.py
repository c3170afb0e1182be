"""``task=stylegan2``: a generator trained from images; :mod:`launch.gan_training` has all of it."""

from launch.gan_training import train

__all__ = ["train"]
