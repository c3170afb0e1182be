"""Collage: classes, styles and features of several images in one (neural-collage, Suzuki et al. 2018)."""

from networks.collage.program import CollageProgram, Paint, Paste
from networks.collage.regions import Region, feathered
from networks.collage.render import Collage, Pasted, Repainted, render_collage
from networks.collage.transforms import Transform

__all__ = [
    "Collage", "CollageProgram", "Paint", "Paste", "Pasted", "Region", "Repainted", "Transform", "feathered",
    "render_collage",
]  # fmt: skip
