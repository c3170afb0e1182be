"""Collage: classes and features of several images in one (Suzuki et al. 2018, neural-collage, arXiv 1811.10153)."""

from networks.collage.conditional import Collage, render_collage
from networks.collage.regions import Region, feathered
from networks.collage.transforms import Transform

__all__ = ["Collage", "Region", "Transform", "feathered", "render_collage"]
