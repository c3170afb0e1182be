"""Training of segmentation heads on a frozen generator, by our recipe or the original one, and k-fold."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytorch_lightning as pl
import torch
from tqdm import tqdm

from networks.checkpoints.errors import GanvasError
from networks.metrics.segmentation import SegmentationScore
from networks.protocol import Generator
from networks.segmentation import Assessment, Head, ReferenceHead, assess
from trainers.diverged import stop_if_broken
from trainers.segmentation_data import FeatureStore, Labels, stream, without_small_classes
from trainers.segmentation_default import HeadTrainer
from trainers.segmentation_loop import KeepLast, Progress, SegmentationSettings, StepListener
from trainers.segmentation_original import OriginalTrainer

__all__ = [
    "HeadTrainer", "OriginalTrainer", "SegmentationSettings", "TrainedHead",
    "k_fold", "require_fit", "score_head", "train_head",
]  # fmt: skip


@dataclass(frozen=True)
class TrainedHead:
    """What training gives."""

    head: Head                   # in evaluation mode, on the CPU
    steps: int                   # optimiser steps of the whole run
    seconds: float               # of this call, rendering included
    absent: tuple[str, ...]      # classes without a labelled pixel


def train_head(
    head: Head,                                      # fresh; trained in place
    generator: Generator,                            # frozen
    labels: Labels,                                  # the labelled images
    settings: SegmentationSettings,                  # how
    checkpoint: Path | None = None,                  # where to keep the state; resumed from if it exists
    save_every: float = 15.0,                        # seconds between two writings of it
    progress: bool = True,                           # show a bar
    listen: StepListener | None = None,              # called with (step, figures) about every 50 steps
    trainer: Mapping[str, Any] = MappingProxyType({}),  # further arguments of Lightning's Trainer: devices, precision
) -> TrainedHead:  # fmt: skip
    """Train a head.

    With the same arguments the result is the same, bit for bit on a CPU, whether or not the run was interrupted.

    Raises:
        DivergedError: if the loss or a weight is not a number.
        GanvasError: if the recipe does not fit the head, or the precision needs scaled gradients.
        KeyboardInterrupt: on Ctrl-C; the last checkpoint is kept.
    """
    start = time.monotonic()
    labels = replace(labels, masks=without_small_classes(labels.masks, settings.min_class_pixels))
    accelerator = {"accelerator": "cpu", "devices": 1, **trainer}
    require_fit(head, settings, accelerator.get("precision"))
    pl_trainer = pl.Trainer(
        **accelerator, max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, use_distributed_sampler=False,
        callbacks=[Progress(progress, listen)] + ([KeepLast(checkpoint, save_every)] if checkpoint else []),
    )  # fmt: skip
    module = _module(head, generator, labels, settings, pl_trainer.strategy.root_device)
    pl_trainer.limit_train_batches = module.most_steps
    resume = str(checkpoint) if checkpoint is not None and checkpoint.exists() else None
    try:
        pl_trainer.fit(module, ckpt_path=resume, weights_only=True)
    except SystemExit as stop:  # Lightning turns Ctrl-C into an exit
        raise KeyboardInterrupt from stop
    if isinstance(module, OriginalTrainer):
        module.finish()
    steps = module.steps_taken
    stop_if_broken(head, f"after {steps} steps")
    return TrainedHead(head.cpu().eval(), steps, time.monotonic() - start, labels.absent())


def _module(
    head: Head, generator: Generator, labels: Labels, settings: SegmentationSettings, device: torch.device
) -> HeadTrainer | OriginalTrainer:
    store = FeatureStore.of(head, generator, labels, settings, device)
    return (OriginalTrainer if settings.recipe == "original" else HeadTrainer)(head, store, settings)


def require_fit(head: Head, settings: SegmentationSettings, precision: str | None = None) -> None:
    """Refuse settings, or a precision of Lightning's, that cannot train this head.

    Raises:
        GanvasError: naming the head, or the precision, to choose.
    """
    if precision == "16-mixed":
        raise GanvasError("trainer.precision=16-mixed is not for a head, whose gradients are not scaled: use "
                          "bf16-mixed.")  # fmt: skip
    if settings.recipe == "original" and not isinstance(head, ReferenceHead):
        raise GanvasError(
            f"The original recipe trains the reference head, not {head.kind!r}: choose head=reference."
        )


def score_head(head: Head, generator: Generator, labels: Labels, batch: int = 8) -> SegmentationScore:
    """Score a head on labelled images: render them from their latents, segment, compare."""
    return assess(head, generator, labels.latents, labels.masks, labels.class_names, batch).score


def k_fold(
    fresh: Callable[[], Head],                          # makes the untrained head, a new one at each call
    generator: Generator,                               # frozen
    labels: Labels,                                     # all labelled images
    settings: SegmentationSettings,                     # how heads are trained
    folds: int = 4,                                     # parts of the images, at most as many as there are images
    seed: int = 0,                                      # of the split
    trainer: Mapping[str, Any] = MappingProxyType({}),  # as in train_head
    progress: bool = True,                              # show a bar
) -> Assessment:  # fmt: skip
    """Judge a recipe by the labelled images alone: each is segmented by a head that was trained without it.

    Variants are compared by one call each: with the same ``seed`` they meet the same split.

    Returns:
        The held-out predictions in the order of ``labels``, and the score of all of them together.

    Raises:
        GanvasError: if there are fewer than two labelled images.
        ValueError: if ``folds`` is below two.
    """
    if folds < 2:
        raise ValueError(f"k-fold needs at least 2 folds, got {folds}")
    if len(labels) < 2:
        raise GanvasError(f"Judging by k-fold needs at least 2 labelled images, got {len(labels)}: label more.")
    order = torch.randperm(len(labels), generator=stream(seed, 5)).tolist()
    folds = min(folds, len(labels))
    parts = [order[i::folds] for i in range(folds)]
    found = []
    for part in tqdm(parts, desc="k-fold", unit="run", disable=not progress):
        rest, unseen = labels[[i for i in order if i not in part]], labels[part]
        head = train_head(fresh(), generator, rest, settings, trainer=trainer, progress=False).head
        found.append(assess(head, generator, unseen.latents, unseen.masks, unseen.class_names))
    return Assessment.join(found, [i for part in parts for i in part])
