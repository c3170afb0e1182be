"""Scenes beside their blobs."""

from __future__ import annotations

import colorsys

import numpy as np
import torch
from PIL import Image

from networks.blobgan import BlobGenerator
from networks.grids import tile, to_uint8
from networks.latent import Latent
from networks.rendering import render_batches

BACKGROUND = (235, 235, 235)
STEP = 0.618034  # of the circle of hues from one blob to the next: the golden section never comes back to a hue


def blob_colors(k: int) -> np.ndarray:
    """A colour for the background and for each of ``k`` blobs, ``uint8 [k + 1, 3]``; the blobs' differ in hue.

    Example:
        >>> blob_colors(2).tolist()
        [[235, 235, 235], [230, 57, 57], [57, 108, 230]]
    """
    blobs = [[round(255 * v) for v in colorsys.hsv_to_rgb(i * STEP % 1, 0.75, 0.9)] for i in range(k)]
    return np.array([BACKGROUND, *blobs], np.uint8)


@torch.no_grad()
def blob_grid(generator: BlobGenerator, latent: Latent, columns: int = 4) -> Image.Image:
    """Each scene beside its blobs, each in its own colour, as one picture."""
    images = to_uint8(torch.cat(list(render_batches(generator, latent))))
    weights = generator.synthesis.weights(generator.layout_of(latent))[generator.img_resolution]
    colors = torch.from_numpy(blob_colors(weights.shape[1] - 1)).to(weights)
    blobs = torch.einsum("nkhw,kc->nhwc", weights, colors).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
    pairs = np.concatenate([images, blobs], axis=2)
    return Image.fromarray(tile(pairs, columns=columns, scale=max(128 // images.shape[1], 1)))
