"""The codes that a branch learns from."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from datamodules.masks import LabelledImages
from editors.invert import InversionSettings
from launch.segmentation_scores import invert_images
from networks.latent import Latent
from networks.protocol import Generator


@dataclass(frozen=True)
class Codes:
    """Codes of labelled images, and how well the generator makes the images from them."""

    latent: Latent
    target: Tensor            # the images, [N, C, R, R] in [-1, 1]
    rendered: Tensor          # what the generator makes of the codes, [N, C, R, R] in [-1, 1]
    psnr: Tensor              # of each image, [N], dB
    caption: str              # what a picture of ``rendered`` is called


def inverted_codes(generator: Generator, labelled: LabelledImages, settings: InversionSettings) -> Codes:
    """The codes that inversion finds."""
    found = invert_images(generator, labelled, settings, "labelled")
    return Codes(found.latent, found.target.cpu(), found.reconstruction.cpu(), found.psnr.cpu(), "inverted")
