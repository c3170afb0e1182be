"""Scenes beside their blobs."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from editors.blobs import BlobEdited, BlobEditor
from launch.reports.edits import LARGEST_CHANGE, SHOWN
from launch.reports.pictures import GAP, SIDE, heat, panels
from networks.blobgan import BlobGenerator
from networks.grids import tile, to_uint8
from networks.latent import Latent
from networks.latent_edit import LatentEdit
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
def blob_pictures(generator: BlobGenerator, latent: Latent) -> np.ndarray:
    """The blobs of each scene, each in its own colour, ``uint8 [N, R, R, 3]``."""
    weights = generator.synthesis.weights(generator.layout_of(latent))[generator.img_resolution]
    colors = torch.from_numpy(blob_colors(weights.shape[1] - 1)).to(weights)
    return torch.einsum("nkhw,kc->nhwc", weights, colors).round().clamp(0, 255).to(torch.uint8).cpu().numpy()


def blob_grid(generator: BlobGenerator, latent: Latent, columns: int = 4) -> Image.Image:
    """Each scene beside its blobs, as one picture."""
    images = to_uint8(torch.cat(list(render_batches(generator, latent))))
    pairs = np.concatenate([images, blob_pictures(generator, latent)], axis=2)
    return Image.fromarray(tile(pairs, columns=columns, scale=max(SIDE // images.shape[1], 1)))


def blob_change_sheet(editor: BlobEditor, edited: BlobEdited) -> Image.Image:
    """The first scenes and their blobs before and after, and what changed: black where nothing did, as for masks."""
    n = min(len(edited), SHOWN)
    columns = {
        "before": to_uint8(edited.image_before[:n]), "its blobs": _blobs(editor, edited.before[:n]),
        "after": to_uint8(edited.image[:n]), "its blobs ": _blobs(editor, edited.after[:n]),
        "change": heat(edited.change[:n].numpy(), LARGEST_CHANGE),
    }  # fmt: skip
    return panels(columns, across=1 if n < 4 else 2)


def blob_strip(editor: BlobEditor, latent: Latent, edit: LatentEdit, factors: Sequence[float]) -> Image.Image:
    """The first scenes at several strengths of an edit, their blobs below them."""
    columns = {f"{factor:g}": _both(editor, edit.apply(latent, factor)[:SHOWN]) for factor in factors}
    return panels(columns, across=1)


def blob_video(editor: BlobEditor, latent: Latent, edit: LatentEdit, frames: int) -> list[Image.Image]:
    """Pictures of the first scenes and their blobs from no edit to all of it, ``frames`` of them, 2 or more."""
    scale = max(SIDE // editor.generator.img_resolution, 1)
    steps = (edit.apply(latent, i / (frames - 1))[:SHOWN] for i in range(frames))
    return [Image.fromarray(tile(_both(editor, step), scale=scale, gap=GAP)) for step in steps]


def _both(editor: BlobEditor, latent: Latent) -> np.ndarray:
    return np.concatenate([to_uint8(editor.render(latent)), _blobs(editor, latent)], axis=1)


def _blobs(editor: BlobEditor, latent: Latent) -> np.ndarray:
    return blob_pictures(editor.generator, latent.to(editor.generator.device))
