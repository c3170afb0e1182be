"""StyleGAN2: generator, discriminators and encoder (Karras et al. 2020, arXiv 1912.04958)."""

from networks.stylegan2.discriminator import Discriminator
from networks.stylegan2.generator import Generator
from networks.stylegan2.lean_discriminator import LeanDiscriminator
from networks.stylegan2.lean_encoder import LeanEncoder

__all__ = ["Discriminator", "Generator", "LeanDiscriminator", "LeanEncoder"]
