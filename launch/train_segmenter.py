"""``task=segmenter``: a U-Net trained on rendered avatars with exact masks, scored on held-out ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from PIL import Image

from datamodules.avatars import render_avatars
from datamodules.masks import LabelledImages
from launch.data import licence
from launch.epochs import fit_epochs
from launch.figures import Figure, Protocol, all_by
from launch.record import RunRecord
from launch.segmentation_scores import heldout_source
from networks.checkpoints.errors import GanvasError
from networks.grids import tile
from networks.unet import UNet, label_images, save_segmenter
from trainers.segmenter import SegmenterTrainer, labelled_batches

SHOWN = 12  # held-out images in the report's picture


def train(cfg: DictConfig, record: RunRecord) -> dict[str, Figure]:
    """Train, resume where the record holds a checkpoint, score on held-out images, export.

    Returns:
        Headline figures on the held-out images: mIoU (absent classes left out), pixel accuracy, calibration error.

    Raises:
        GanvasError: if the images are no avatars, there are fewer than a batch, or the loss is not a number.
    """
    seen, heldout = labelled_images(cfg)
    batches = labelled_batches(torch.as_tensor(seen.images), torch.as_tensor(seen.masks), cfg.task.batch_size, cfg.seed)
    module = build(cfg, seen.classes.names, total_steps=cfg.task.epochs * len(batches))
    scored = labelled_batches(torch.as_tensor(heldout.images), torch.as_tensor(heldout.masks), cfg.task.batch_size)
    fit_epochs(cfg, record, module, batches, scored, lambda: {"heldout_miou": module.score.compute()["miou"]})

    scores = module.score.compute()
    figures = {"mIoU": scores["miou"], "pixel_accuracy": scores["pixel_accuracy"], "ece": scores["ece"]}
    save_segmenter(record.export / "segmenter.safetensors", module.network, manifest(cfg, scores, seen, heldout))
    picture = record.image("heldout", draw(module.network, heldout.take(range(min(SHOWN, len(heldout))))))
    record.write_report(report(cfg, scores, seen, heldout, picture.relative_to(record.path)))
    return all_by(_protocol(cfg, len(heldout)), figures)


def labelled_images(cfg: DictConfig) -> tuple[LabelledImages, LabelledImages]:
    """Rendered avatars with masks: those to train on, and the held-out ones, which are the same for every seed."""
    if cfg.data is None or cfg.data.get("kind") != "avatars":
        raise GanvasError("task=segmenter learns from rendered masks: give data=avatars.")
    if cfg.data.count < cfg.task.batch_size:
        raise GanvasError(f"data.count={cfg.data.count} is less than a batch: lower task.batch_size.")
    size, style = cfg.data.resolution, cfg.data.style
    seen = render_avatars(cfg.data.count, "teacher", cfg.seed, size, masks=True, style=style)
    return seen, render_avatars(cfg.n or cfg.task.heldout, "heldout", 0, size, masks=True, style=style)


def build(cfg: DictConfig, class_names: tuple[str, ...], total_steps: int) -> SegmenterTrainer:
    """The network and its trainer, with weights drawn from the seed."""
    torch.manual_seed(cfg.seed)
    network = instantiate(cfg.task.network, num_classes=len(class_names), _convert_="all")
    if cfg.data.resolution % network.multiple:
        raise GanvasError(f"data.resolution={cfg.data.resolution} must be a multiple of {network.multiple}.")
    return instantiate(
        cfg.task.training, network=network, class_names=class_names, total_steps=total_steps, seed=cfg.seed
    )


def manifest(
    cfg: DictConfig, scores: Mapping[str, Any], seen: LabelledImages, heldout: LabelledImages
) -> dict[str, Any]:
    """What the bundle says of itself."""
    return {
        "classes": seen.classes.to_json(),
        "metrics": {**scores, "protocol": str(_protocol(cfg, len(heldout)))},
        "trained_on": {"data": f"{cfg.data.style}, split teacher", "images": len(seen), "epochs": cfg.task.epochs,
                       "resolution": cfg.data.resolution, "seed": cfg.seed},
        "command": cfg.command,
        "licence": licence(cfg),
    }  # fmt: skip


def _protocol(cfg: DictConfig, heldout: int) -> Protocol:
    source, size = heldout_source(cfg.data.style, 0), f"{cfg.data.resolution}x{cfg.data.resolution}"
    text = (f"{heldout} rendered {cfg.data.style} ({source.split}) at {size}, "
            "IoU over the pixels of all of them")  # fmt: skip
    return Protocol(f"{source.data} at {size}", source.split, heldout, text=text)


def draw(network: UNet, images: LabelledImages) -> Image.Image:
    """Held-out images in columns: the image, its true mask, the prediction, and in red where the two differ."""
    predicted = label_images(network.eval().cpu(), torch.as_tensor(images.images).float() / 127.5 - 1).numpy()
    pictures = images.images.transpose(0, 2, 3, 1)
    wrong = pictures // 3
    wrong[predicted != images.masks] = (255, 0, 0)
    rows = [pictures, images.classes.paint(images.masks), images.classes.paint(predicted), wrong]
    return Image.fromarray(tile(np.concatenate(rows), columns=len(pictures), scale=2, gap=2))


def report(
    cfg: DictConfig, scores: Mapping[str, Any], seen: LabelledImages, heldout: LabelledImages, picture: Path
) -> str:
    """The run's ``report.md``."""
    headline = [f"| {name} | {scores[name]:.4f} |" for name in ("miou", "miou_datasetgan", "pixel_accuracy", "ece")]
    classes = [f"| {name} | {value:.4f} |" for name, value in scores["iou"].items()]
    return "\n".join([
        f"# {cfg.experiment or 'segmenter'}", "", f"`{cfg.command}`", "",
        f"A U-Net trained on {len(seen)} rendered {cfg.data.style} with exact masks, {cfg.task.epochs} passes, "
        f"seed {cfg.seed}. Scores: {_protocol(cfg, len(heldout))}.", "",
        "| figure | value |", "|---|---|", *headline, "",
        "| class | IoU |", "|---|---|", *classes, "",
        "Held-out images, true masks, predictions, and where they differ (red):", "",
        f"![held-out images]({picture})", "",
    ])  # fmt: skip
