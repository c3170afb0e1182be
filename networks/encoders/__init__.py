"""Encoders into W+ that other code bases train. Names of modules and weights are theirs: their files load as they are."""

from networks.encoders.fpn import FPNEncoder
from networks.encoders.irse import IRSEEncoder

__all__ = ["FPNEncoder", "IRSEEncoder"]
