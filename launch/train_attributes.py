"""``task=attributes``: a classifier of attributes, scored on held-out images beside what guessing would give.

Of images that bring their classes the class is the one attribute.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from datamodules.image_cache import spread
from datamodules.labelled_attributes import AttributeImages, read_attributes, rendered_attributes
from launch.classed import CLASSED, classed_images, classed_name
from launch.data import licence, training_images
from launch.epochs import fit_epochs
from launch.figures import Figure, Protocol, all_by
from launch.options import arguments
from launch.record import RunRecord
from networks.attributes import AttributeClassifier, save_attributes
from networks.checkpoints.attributes import Attribute
from networks.checkpoints.errors import GanvasError
from networks.metrics.attributes import AttributeScore
from trainers.attributes import AttributeTrainer
from trainers.segmenter import labelled_batches

HELDOUT_SEED = 0  # held-out avatars are the same for every seed of training


def train(cfg: DictConfig, record: RunRecord) -> dict[str, Figure]:
    """Train, resume where the record holds a checkpoint, score on held-out images, export.

    Returns:
        The mean accuracy over the attributes, and each attribute's own.

    Raises:
        GanvasError: if the images or their table cannot be used, or the loss is not a number.
    """
    seen, heldout, protocol = _images(cfg)
    if len(seen) < cfg.task.batch_size:
        raise GanvasError(f"{len(seen)} images are less than a batch: lower task.batch_size.")
    size = cfg.task.batch_size
    batches = labelled_batches(torch.as_tensor(seen.images), torch.as_tensor(seen.labels), size, cfg.seed)
    module = build(cfg, seen.attributes, seen.images.shape[-1], total_steps=cfg.task.epochs * len(batches))
    scored = labelled_batches(torch.as_tensor(heldout.images), torch.as_tensor(heldout.labels), size)
    fit_epochs(cfg, record, module, batches, scored, lambda: {"heldout_accuracy": means(module.scores())["accuracy"]})

    scores = module.scores()
    figures = means(scores)
    entries = {
        "metrics": {**figures, "by_attribute": {name: score._asdict() for name, score in scores.items()},
                    "protocol": str(protocol)},
        "trained_on": {"data": _trained_on(cfg), "images": len(seen), "epochs": cfg.task.epochs,
                       "resolution": seen.images.shape[-1], "seed": cfg.seed},
        "command": cfg.command,
        "licence": licence(cfg),
    }  # fmt: skip
    save_attributes(record.export / "attributes.safetensors", module.network, entries)
    record.write_report(report(cfg, scores, protocol))
    return all_by(protocol, {**figures, **{f"accuracy {name}": score.accuracy for name, score in scores.items()}})


def build(cfg: DictConfig, attributes: tuple[Attribute, ...], resolution: int, total_steps: int) -> AttributeTrainer:
    """The network and its trainer, with weights drawn from the seed."""
    torch.manual_seed(cfg.seed)
    # Not by Hydra's `instantiate`, which would hide the sentence of a size that does not fit in a page.
    network = AttributeClassifier(attributes, resolution, **arguments(cfg.task.network))
    return instantiate(cfg.task.training, network=network, total_steps=total_steps, seed=cfg.seed)


def means(scores: Mapping[str, AttributeScore]) -> dict[str, float]:
    """Figures over all attributes, each counting the same."""
    return {
        name: sum(getattr(score, name) for score in scores.values()) / max(len(scores), 1)
        for name in ("accuracy", "balanced", "majority")
    }  # fmt: skip


def _images(cfg: DictConfig) -> tuple[AttributeImages, AttributeImages, Protocol]:
    """Images to train on, held-out ones, and the protocol of figures on these."""
    if cfg.data.get("kind") == "avatars":
        size, style, n = cfg.data.resolution, cfg.data.style, cfg.n or cfg.task.heldout
        seen = rendered_attributes(cfg.data.count, "teacher", cfg.seed, size, style)
        heldout = rendered_attributes(n, "heldout", HELDOUT_SEED, size, style)
        return seen, heldout, Protocol(f"rendered {style} at {size}x{size}", f"split heldout, seed {HELDOUT_SEED}", n)
    if cfg.data.get("kind") in CLASSED:
        return _classed(cfg)
    labelled = cfg.data.get("kind") == "folder" and cfg.data.labels
    if cfg.data.get("kind") != "folder" or not (cfg.images and bool(cfg.task.table) != labelled):
        raise GanvasError("task=attributes learns from data=avatars, from the classes of data=styles or "
                          "data=fashion_mnist, or from data=folder images=DIR with one of task.table=FILE and "
                          "data.labels=true.")  # fmt: skip
    if labelled:
        drawn = training_images(cfg)
        found = AttributeImages.of_classes(drawn.images, drawn.labels, drawn.label_names)
    else:
        found = read_attributes(cfg.images, cfg.task.table, cfg.data.resolution, cfg.data.fit)
    out = spread(len(found), min(cfg.task.heldout, len(found) // 2))
    kept = np.setdiff1d(np.arange(len(found)), out)
    protocol = Protocol(f"images of {cfg.images}", "held out evenly by name", len(out))
    return found.take(kept), found.take(out), protocol


def _classed(cfg: DictConfig) -> tuple[AttributeImages, AttributeImages, Protocol]:
    """Images of classes; those that are learned from a generator of ``data=styles`` has not seen."""
    n, size = cfg.n or cfg.task.heldout, cfg.data.resolution
    seen, heldout = (
        AttributeImages.of_classes(*classed_images(cfg.data, count, split, seed))
        for count, split, seed in ((cfg.data.count, _split(cfg), cfg.seed), (n, "heldout", HELDOUT_SEED))
    )
    what = f"{classed_name(cfg.data)} at {size}x{size}"
    return seen, heldout, Protocol(what, f"split heldout, seed {HELDOUT_SEED}", n)


def _split(cfg: DictConfig) -> str:
    return "train" if cfg.data.kind == "fashion_mnist" else "teacher"


def _trained_on(cfg: DictConfig) -> str:
    match cfg.data.kind:
        case "avatars":
            return f"{cfg.data.style}, split teacher"
        case "folder":
            return f"images of {cfg.images}"
    return f"{classed_name(cfg.data)}, split {_split(cfg)}"


def report(cfg: DictConfig, scores: Mapping[str, AttributeScore], protocol: Protocol) -> str:
    """The run's ``report.md``."""
    rows = [
        f"| {name} | {s.accuracy:.4f} | {s.balanced:.4f} | {s.majority:.4f} | {s.images} |"
        for name, s in [*scores.items()]
    ]
    mean: dict[str, Any] = means(scores)
    return "\n".join([
        f"# {cfg.experiment or 'attributes'}", "", f"`{cfg.command}`", "",
        f"Scores: {protocol}. `balanced` is the mean over the values of an attribute, `majority` what its commonest "
        "value alone would give.", "",
        "| attribute | accuracy | balanced | majority | images that show it |", "|---|---|---|---|---|", *rows,
        f"| **mean** | {mean['accuracy']:.4f} | {mean['balanced']:.4f} | {mean['majority']:.4f} | |", "",
    ])  # fmt: skip
