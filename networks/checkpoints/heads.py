"""Segmentation heads in and out of bundles."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from networks.checkpoints.bundle import Bundle, save_bundle
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.generators import describe_generator, embed_generator, load_strictly, stored_tensors
from networks.segmentation import Head, build_head

KIND = "segmentation"


def save_head(
    path: str | Path,
    head: Head,
    generator: nn.Module,                  # the generator whose features it reads
    classes: Mapping[str, Any],            # {"names": [...], "palette": [[r, g, b], ...]}
    inversion: Mapping[str, Any],          # settings with which real images are brought into its latent space
    extra: Mapping[str, Any],              # metrics, command, licence, ...
    include_generator: bool = False,       # store the generator too, so that one file is enough
) -> Path:  # fmt: skip
    """Write a segmentation bundle.

    Raises:
        GanvasError: if the file cannot be written, or a weight is not finite.
        ValueError: if the class list and the head disagree, or the generator was never saved.
    """
    if len(classes["names"]) != head.num_classes:
        raise ValueError(f"the head has {head.num_classes} classes and the list {len(classes['names'])}")
    if not generator.hash:
        raise ValueError("the generator has no hash: save it and load it again")
    manifest = {
        **extra,
        "kind": KIND,
        "config": head.manifest(),
        "generator": describe_generator(generator, include_generator),
        "classes": dict(classes),
        "feature_layers": head.feature_names,
        "inversion": dict(inversion),
    }
    tensors = stored_tensors(head)
    return save_bundle(path, embed_generator(tensors, generator) if include_generator else tensors, manifest)


def head_from_bundle(bundle: Bundle) -> Head:
    """The head in eval mode, frozen.

    Raises:
        GanvasError: if the manifest does not describe a head, or the weights are not its own.
    """
    config = bundle.manifest.get("config")
    if bundle.kind != KIND or not isinstance(config, dict) or not {"head", "arguments"} <= config.keys():
        raise GanvasError(f"the manifest in {bundle.path} does not describe a segmentation head; export it again")
    head = build_head(config)
    load_strictly(head, bundle.without_generator(), f"the head in {bundle.path}")
    return head.eval().requires_grad_(False)
