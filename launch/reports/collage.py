"""Pictures beside their collages, and from none of a collage to all of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from editors.collage import Collaged, CollageEditor
from launch.reports.edits import LARGEST_CHANGE, SHOWN, outline
from launch.reports.pictures import heat, panels
from networks.grids import to_uint8


def collage_sheet(edited: Collaged) -> Image.Image:
    """The first pictures before and after, where something was painted or pasted, and what changed.

    Change is black where nothing did and white at half of full scale; the region's outline is drawn in.
    """
    n = min(len(edited), SHOWN)
    region = edited.region[:n].numpy()
    where = np.repeat((255 * region)[..., None], 3, axis=-1).astype(np.uint8)
    change = heat(edited.change[:n].numpy(), LARGEST_CHANGE)
    change[outline(region >= 0.5)] = (90, 160, 250)
    columns = {
        "before": to_uint8(edited.image_before[:n]), "region": where, "after": to_uint8(edited.image[:n]),
        "change": change,
    }  # fmt: skip
    return panels(columns, across=1 if n < 4 else 2)


def collage_strip(editor: CollageEditor, edited: Collaged, factors: Sequence[float]) -> Image.Image:
    """The first pictures at several strengths of a collage."""
    n = min(len(edited), SHOWN)
    images = editor.morph(edited.before[:n], edited.program.rows(slice(0, n)), factors)
    return panels({f"{factor:g}": to_uint8(each) for factor, each in zip(factors, images, strict=True)}, across=1)
