"""Pictures of edits: before and after with their masks, and one image at several strengths."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image
from torch import Tensor

from editors.changes import Changed
from editors.generator import GeneratorEditor
from editors.mask_edit import Edited
from editors.segmentation import SegmentationEditor
from editors.sequence import EditSequence
from launch.reports.pictures import heat, overlay, panels
from networks.checkpoints.classes import ClassList
from networks.grids import to_uint8
from networks.latent import Latent
from networks.latent_edit import LatentEdit

SHOWN = 16           # images on a sheet
LARGEST_CHANGE = 0.5  # mean absolute difference in [0, 1] that is painted white


def change_sheet(edited: Edited, classes: ClassList, given: Tensor | None = None) -> Image.Image:
    """The first images: before, the branch's mask, the wished one, after, its mask, and what changed.

    ``given`` are the images ``[N, C, R, R]`` in [-1, 1] whose inversions were edited; they stand in front.

    Change is black where nothing did and white at half of full scale; the region's outline is drawn in.
    """
    n = min(len(edited), SHOWN)
    before, after = to_uint8(edited.image_before[:n]), to_uint8(edited.image[:n])
    change = heat(((edited.image[:n] - edited.image_before[:n]).abs().mean(1) / 2).numpy(), LARGEST_CHANGE)
    change[outline(edited.region[:n].numpy())] = (90, 160, 250)
    columns = {} if given is None else {"given": to_uint8(given[:n])}
    columns |= {
        "before": before, "its mask": overlay(before, edited.mask_before[:n].numpy(), classes),
        "wish": overlay(before, edited.target[:n].numpy(), classes), "after": after,
        "its mask ": overlay(after, edited.mask[:n].numpy(), classes), "change": change,
    }  # fmt: skip
    return panels(columns, across=1 if n < 4 else 2, classes=classes)


def code_sheet(changed: Changed) -> Image.Image:
    """The first pictures before and after an edit that may change all of them, and what changed."""
    n = min(len(changed), SHOWN)
    columns = {"before": to_uint8(changed.image_before[:n]), "after": to_uint8(changed.image[:n]),
               "change": heat(changed.change[:n].numpy(), LARGEST_CHANGE)}  # fmt: skip
    return panels(columns, across=1 if n < 4 else 2)


def outline(region: np.ndarray) -> np.ndarray:
    """The pixels of regions ``[N, H, W]`` that have a neighbour outside."""
    padded = np.pad(region, ((0, 0), (1, 1), (1, 1)))
    deep = padded[:, :-2, 1:-1] & padded[:, 2:, 1:-1] & padded[:, 1:-1, :-2] & padded[:, 1:-1, 2:]
    return region & ~deep


def strip(
    editor: SegmentationEditor | GeneratorEditor, latent: Latent, vector: LatentEdit | EditSequence,
    factors: Sequence[float],
) -> Image.Image:  # fmt: skip
    """The first images at several strengths of a vector."""
    moved = {factor: EditSequence.of(vector).apply(editor.generator, latent[:SHOWN], factor) for factor in factors}
    columns = {f"{factor:g}": to_uint8(editor.render(codes)) for factor, codes in moved.items()}
    return panels(columns, across=1)
