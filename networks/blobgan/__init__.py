"""BlobGAN: scenes as blobs (Epstein et al. 2022, arXiv 2205.02837)."""

from networks.blobgan.generator import BlobGenerator
from networks.blobgan.layout import Jitter, Layout
from networks.blobgan.layout_network import LayoutNetwork
from networks.blobgan.program import BlobProgram

__all__ = ["BlobGenerator", "BlobProgram", "Jitter", "Layout", "LayoutNetwork"]
