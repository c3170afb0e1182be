"""Latent mappers (StyleCLIP; Patashnik et al. 2021, arXiv 2103.17249)."""

from networks.mapper.edit import MapperEdit, Part
from networks.mapper.fitted import in_space, mapper_for, space_of
from networks.mapper.mixture import MixtureMapper, build_mapper
from networks.mapper.network import Group, Mapper, Spread, codes_of
from networks.mapper.residual import STYLECLIP, Recipe

__all__ = [
    "STYLECLIP", "Group", "Mapper", "MapperEdit", "MixtureMapper", "Part", "Recipe", "Spread", "build_mapper",
    "codes_of", "in_space", "mapper_for", "space_of",
]  # fmt: skip
