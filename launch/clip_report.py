"""The report of ``task=clip``: figures, and the held-out images that fit some texts best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from omegaconf import DictConfig
from PIL import Image
from torch import Tensor

from launch.figures import Protocol
from launch.reports.pictures import panels, side_by_side
from networks.metrics.attributes import AttributeScore

BEST = 8   # images beside a text


def sheet(images: np.ndarray, vectors: Tensor, texts: Sequence[str], said: Tensor) -> Image.Image:
    """Below each text the images that fit it best.

    Args:
        images: ``uint8 [N, 3, R, R]``.
        vectors: of the images, ``[N, D]``.
        texts: K of them.
        said: their vectors, ``[K, D]``.
    """
    pictures = {}
    for text, vector in zip(texts, said, strict=True):
        best = (vectors @ vector).topk(min(BEST, len(images))).indices.numpy()
        pictures[text] = panels({"": images[best].transpose(0, 2, 3, 1)}, across=BEST // 2, scale=1)
    return side_by_side(pictures)


def report(
    cfg: DictConfig, figures: Mapping[str, float], scores: Mapping[str, AttributeScore], protocol: Protocol
) -> str:
    """The run's ``report.md``."""
    rows = [f"| {name} | {s.accuracy:.4f} | {s.balanced:.4f} | {s.majority:.4f} | {s.images} |"
            for name, s in scores.items()]  # fmt: skip
    found = [f"| {name} | {figures[name]:.4f} |" for name in
             ("text_r1", "text_r5", "image_r1", "image_r5", "unseen_words")]  # fmt: skip
    return "\n".join([
        f"# {cfg.experiment or 'clip'}", "", f"`{cfg.command}`", "", f"Scores: {protocol}.", "",
        "| figure | value |", "|---|---|", *found, "",
        "`text_r1`: images whose own description is the nearest of all; `text_r5`: among the five nearest; `image_r1`, "
        "`image_r5`: descriptions that find their image. `unseen_words`: chance that an image that a text is true of "
        "is nearer to it than one that it is false of, over texts whose words were never trained on.", "",
        "Attributes told by the names of their values alone; `balanced` is the mean over the values of an attribute, "
        "`majority` what its commonest value alone would give.", "",
        "| attribute | accuracy | balanced | majority | images that show it |", "|---|---|---|---|---|", *rows,
        f"| **mean** | {figures['accuracy']:.4f} | {figures['balanced']:.4f} | {figures['majority']:.4f} | |", "",
        "The held-out images nearest to some texts:", "", "![images by texts](images/texts.png)", "",
    ])  # fmt: skip
