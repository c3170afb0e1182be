"""``task=segmenter``: a U-Net trained on rendered avatars with exact masks, scored on held-out ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from PIL import Image
from pytorch_lightning.callbacks import ModelCheckpoint

from datamodules.avatars import render_avatars
from datamodules.masks import LabelledImages
from launch.data import licence
from launch.figures import Figure, Protocol, all_by
from launch.hardware import trainer_arguments
from launch.record import RunRecord
from launch.resume import clock
from launch.segmentation_scores import heldout_source
from networks.checkpoints.errors import GanvasError
from networks.grids import tile
from networks.unet import UNet, label_images, save_segmenter
from trainers.segmentation_loop import Progress
from trainers.segmenter import SegmenterTrainer, mask_batches

LOG_EVERY = 20  # batches
SHOWN = 12      # held-out images in the report's picture


def train(cfg: DictConfig, record: RunRecord) -> dict[str, Figure]:
    """Train, resume where the record holds a checkpoint, score on held-out images, export.

    Returns:
        Headline figures on the held-out images: mIoU (absent classes left out), pixel accuracy, calibration error.

    Raises:
        GanvasError: if the images are no avatars, there are fewer than a batch, or the loss is not a number.
    """
    seen, heldout = labelled_images(cfg)
    batches = mask_batches(torch.as_tensor(seen.images), torch.as_tensor(seen.masks), cfg.task.batch_size, cfg.seed)
    module = build(cfg, seen.classes.names, total_steps=cfg.task.epochs * len(batches))
    last = record.checkpoints / "last.ckpt"
    resumed_at = clock(last, "global_step")
    record.rewind(resumed_at * cfg.task.batch_size)
    trainer = pl.Trainer(
        **trainer_arguments(cfg.trainer), max_epochs=cfg.task.epochs, logger=False, enable_model_summary=False,
        default_root_dir=record.path, num_sanity_val_steps=0,
        enable_progress_bar=False,
        callbacks=[
            Progress(show=True, name="segmenter"),
            Log(record, resumed_at),
            ModelCheckpoint(record.checkpoints, last.stem, save_on_train_epoch_end=True, enable_version_counter=False),
        ],
    )  # fmt: skip
    scored = mask_batches(torch.as_tensor(heldout.images), torch.as_tensor(heldout.masks), cfg.task.batch_size)
    trainer.fit(module, batches, scored, ckpt_path=last if resumed_at else None, weights_only=True)
    trainer.validate(module, scored, verbose=False)

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


class Log(pl.Callback):
    """Loss and held-out mIoU into the run's record, by images seen.

    Args:
        record: the run's record.
        resumed_at: step of the checkpoint that the run goes on from; 0 for a fresh run.
    """

    def __init__(self, record: RunRecord, resumed_at: int) -> None:
        self.record, self.resumed_at = record, resumed_at

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: SegmenterTrainer, *_: Any) -> None:
        if trainer.global_step % LOG_EVERY == 0:
            self._log(trainer, {"loss": float(pl_module.loss)})

    def on_validation_end(self, trainer: pl.Trainer, pl_module: SegmenterTrainer) -> None:
        # Where it resumes, Lightning validates once more; the record holds that line already.
        if trainer.state.fn == "fit" and trainer.global_step != self.resumed_at:
            self._log(trainer, {"heldout_miou": pl_module.score.compute()["miou"]})

    def _log(self, trainer: pl.Trainer, figures: Mapping[str, float]) -> None:
        self.record.log(figures, trainer.global_step * trainer.train_dataloader.batch_size)


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
