"""Segmentation heads on frozen generator features: a closed registry, and the way back from a manifest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from networks.checkpoints.errors import GanvasError
from networks.protocol import Generator
from networks.segmentation.assess import Assessment, assess
from networks.segmentation.base import Head
from networks.segmentation.geometry import Window
from networks.segmentation.maps import map_shapes, render_maps
from networks.segmentation.mlp import LinearHead, ReferenceHead
from networks.segmentation.predict import Prediction, Segmented, predict, predict_mask, segment_latents
from networks.segmentation.pyramid import PyramidHead

HEADS: dict[str, type[Head]] = {head.kind: head for head in (ReferenceHead, LinearHead, PyramidHead)}

__all__ = [
    "HEADS", "Assessment", "Head", "LinearHead", "Prediction", "PyramidHead", "ReferenceHead", "Segmented", "Window",
    "assess", "build_head", "head_for", "predict", "predict_mask", "render_maps", "segment_latents",
]  # fmt: skip


def head_for(
    generator: Generator, kind: str, num_classes: int, seed: int = 0, constants: bool = False,
    left_out: Iterable[str] = (), **arguments: Any,
) -> Head:  # fmt: skip
    """A fresh head for a generator's features.

    Args:
        generator: whose features it will read.
        kind: a name in ``HEADS``.
        num_classes: K.
        seed: of the initial weights.
        constants: also read the maps that are the same for every image; the original recipe does.
        left_out: names of other maps that it will not read.
        arguments: further constructor arguments of that head.

    Raises:
        GanvasError: if there is no such head, or it refuses an argument.
    """
    reads_image = kind in HEADS and HEADS[kind].reads_image
    return _construct(kind, seed, {
        "feature_shapes": map_shapes(generator, reads_image), "num_classes": num_classes,
        "out_resolution": generator.img_resolution,
        "left_out": {*left_out, *(() if constants else generator.constant_features)},
        **arguments,
    })  # fmt: skip


def build_head(manifest: Mapping[str, Any]) -> Head:
    """The head that a manifest describes (``Head.manifest``), its weights still to be loaded.

    Raises:
        GanvasError: if the manifest names a head or an argument that this version does not have, or one out of range.
    """
    return _construct(manifest["head"], 0, {**manifest["arguments"]})


def _construct(kind: str, seed: int, arguments: dict[str, Any]) -> Head:
    if kind not in HEADS:
        raise GanvasError(f"There is no segmentation head {kind!r}; choose one of: {', '.join(HEADS)}.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            return HEADS[kind](**arguments)
        except (TypeError, ValueError) as error:
            raise GanvasError(f"The segmentation head {kind!r} cannot be built: {error}.") from error
