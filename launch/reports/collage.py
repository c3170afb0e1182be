"""Pictures beside their collages, from none of a collage to all of it, and what they are as each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from editors.changes import Changed
from editors.collage import Collaged, CollageEditor
from launch.reports.edits import LARGEST_CHANGE, SHOWN, outline
from launch.reports.pictures import heat, panels
from networks.grids import to_uint8

if TYPE_CHECKING:
    from launch.collage_trial import Trial

PARTS = (1 / 3, 2 / 3)   # of a collage, that a trial's sheet shows on the way to all of it
INSIDE = 200             # grey of a region: white would be lost on the page
FRAME = (220, 40, 40)    # around a reconstruction as the class that the image shows


def collage_sheet(edited: Collaged) -> Image.Image:
    """The first pictures before and after, where something was painted or pasted, and what changed.

    Change is black where nothing did and white at half of full scale; the region's outline is drawn in.
    """
    n = min(len(edited), SHOWN)
    region = edited.region[:n].numpy()
    change = heat(edited.change[:n].numpy(), LARGEST_CHANGE)
    change[outline(region >= 0.5)] = (90, 160, 250)
    columns = {
        "before": to_uint8(edited.image_before[:n]), "region": _shown(region), "after": to_uint8(edited.image[:n]),
        "change": change,
    }  # fmt: skip
    return panels(columns, across=1 if n < 4 else 2)


def collage_strip(editor: CollageEditor, edited: Collaged, factors: Sequence[float]) -> Image.Image:
    """The first pictures at several strengths of a collage."""
    n = min(len(edited), SHOWN)
    images = editor.morph(edited.before[:n], edited.program.rows(slice(0, n)), factors)
    return panels({f"{factor:g}": to_uint8(each) for factor, each in zip(factors, images, strict=True)}, across=1)


def trial_sheet(trial: Trial, changed: Changed, shown: Tensor) -> Image.Image:
    """The first pictures of a trial, the most telling columns first: reports show the beginning of each row."""
    n = min(len(trial.given), SHOWN)
    columns = {"given": to_uint8(trial.given.images[:n])}
    if trial.others is not None:
        columns["other"] = to_uint8(trial.others.images[:n])
    columns["region"] = _shown(changed.region[:n].numpy())
    columns["collage"] = to_uint8(shown[:n])
    if trial.near:
        columns["projected"] = to_uint8(changed.image_before[:n])
    if shown is not changed.image:
        columns["as drawn"] = to_uint8(changed.image[:n])
    if isinstance(changed, Collaged):
        way = trial.editor.morph(changed.before[:n], changed.program.rows(slice(0, n)), PARTS)
        columns |= {f"{part:.0%}": to_uint8(images) for part, images in zip(PARTS, way, strict=True)}
    change = (shown[:n] - trial.given.images[:n]).abs().mean(1) / 2
    columns["change"] = heat(change.numpy(), LARGEST_CHANGE)
    return panels(columns, across=1)


def class_sheet(images: Tensor, labels: Tensor, drawn: Mapping[str, Tensor]) -> Image.Image:
    """Images beside what they are reconstructed as: their own class, then class by class; a frame is around their own.

    Args:
        images: ``[N, 3, R, R]`` in [-1, 1].
        labels: the class of each, int64 ``[N]``.
        drawn: of each class the reconstructions, as ``images``.
    """
    n = min(len(images), SHOWN)
    every = torch.stack([pictures[:n] for pictures in drawn.values()])  # [classes, n, 3, R, R]
    columns = {"given": to_uint8(images[:n]), "as its own": to_uint8(every[labels[:n], torch.arange(n)])}
    for number, (name, pictures) in enumerate(drawn.items()):
        column = to_uint8(pictures[:n]).copy()
        own = (labels[:n] == number).numpy()
        for edge in (np.s_[own, 0], np.s_[own, -1], np.s_[own, :, 0], np.s_[own, :, -1]):
            column[edge] = FRAME
        columns[name] = column
    return panels(columns, across=1)


def _shown(region: np.ndarray) -> np.ndarray:
    """Regions ``[N, R, R]`` from 0 to 1 as pictures."""
    return np.repeat((INSIDE * region)[..., None], 3, axis=-1).astype(np.uint8)
