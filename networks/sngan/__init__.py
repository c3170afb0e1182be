"""The class-conditional GAN of neural-collage (Suzuki et al. 2018, arXiv 1811.10153): SNGAN with projection."""

from networks.sngan.discriminator import ProjectionDiscriminator
from networks.sngan.encoder import ConditionalEncoder
from networks.sngan.generator import ConditionalGenerator

__all__ = ["ConditionalEncoder", "ConditionalGenerator", "ProjectionDiscriminator"]
