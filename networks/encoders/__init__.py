"""Encoders into W+ of other code bases. Modules and weights have their names, so that their files load as they are."""

from networks.encoders.fpn import FPNEncoder
from networks.encoders.irse import IRSEEncoder

__all__ = ["FPNEncoder", "IRSEEncoder"]
