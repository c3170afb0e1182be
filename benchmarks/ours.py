"""The cost of training our default head, by the loop that ``ganvas train`` runs."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

import pytorch_lightning as pl

from benchmarks.clock import now
from networks.latent import Latent
from networks.protocol import Features, Generator
from networks.segmentation import Head, head_for
from trainers.segmentation import HeadTrainer, SegmentationSettings
from trainers.segmentation_data import FeatureStore, Labels


@dataclass(frozen=True)
class Limits:
    """How much of a training is run; the rest is multiplied up."""

    seconds: float = float("inf")   # stop once they are over ...
    least_steps: int = 1            # ... and so many steps are done
    one_rendering: bool = False     # render one batch of images for all


@dataclass(frozen=True)
class TrainingCost:
    """What a training takes, measured whole or by its parts."""

    seconds: float          # the whole training
    whole: bool             # whether it ran to its end, or was multiplied up from what ran
    steps: int              # of the whole training
    steps_run: int          # of them, how many ran
    step_seconds: float     # median of the steps that ran, rendering left out
    renderings: int         # of the whole training, all labelled images each
    render_seconds: float   # median
    store_gb: float         # cached features


class _TimedStore(FeatureStore):
    """Notes what each rendering takes."""

    seconds: list[float]
    one_for_all: bool
    shortcut = 1.0

    def fill(self, number: int) -> None:
        if number != self._round:
            start = now(self.device)
            super().fill(number)
            self.seconds.append((now(self.device) - start) * self.shortcut)

    def _render(self, latents: Latent) -> Iterator[tuple[int, Features]]:
        batches = super()._render(latents)
        if not self.one_for_all:
            yield from batches
            return
        # One batch of images stands for all: the same memory, and the time of one is multiplied.
        _, features = next(batches)
        size = len(next(iter(features.values())))
        self.shortcut = len(latents) / size
        for start in range(0, len(latents), size):
            yield start, {name: x[: len(latents) - start] for name, x in features.items()}


class _Stopwatch(pl.Callback):
    """Notes what each step takes, and ends the training when its time is spent."""

    def __init__(self, store: _TimedStore, limits: Limits) -> None:
        self.store, self.limits, self.seconds = store, limits, list[float]()
        self.begun = time.perf_counter()

    def on_train_batch_start(self, *_: Any) -> None:
        self.start, self.rendered = now(self.store.device), len(self.store.seconds)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        end = now(self.store.device)
        self.seconds.append(end - self.start - sum(self.store.seconds[self.rendered :]))
        spent = end - self.begun > self.limits.seconds and len(self.seconds) >= self.limits.least_steps
        trainer.should_stop = spent


def train_default(
    generator: Generator,
    labels: Labels,
    settings: SegmentationSettings,
    members: int = 10,
    limits: Limits = Limits(),
    device: str = "cpu",
) -> tuple[Head, TrainingCost]:
    """Train the default head until it is done, or until its limits are reached.

    A training that was cut short is multiplied up from the medians of its steps and of its renderings.
    """
    start = time.perf_counter()
    head = head_for(generator, "default", len(labels.class_names), settings.seed, members=members)
    store = _TimedStore.of(head, generator, labels, settings, device)
    store.seconds, store.one_for_all = [], limits.one_rendering
    module = HeadTrainer(head, store, settings)
    watch = _Stopwatch(store, limits)
    begun = now(store.device)
    _trainer(device, watch, module.total_steps).fit(module)
    elapsed = now(store.device) - start
    whole = len(watch.seconds) == module.total_steps
    renderings = -(-settings.passes // settings.refresh) if store.augmentation.active else 1
    step, render = median(watch.seconds), median(store.seconds[1:] or store.seconds)
    if not whole:
        first = store.seconds[0] * (1 - 1 / store.shortcut)  # what the shortcut left out of the first rendering
        elapsed = (begun - start) + first + module.total_steps * step + (renderings - 1) * render
    gigabytes = sum(x.numel() * x.element_size() for x in store.maps.values()) / 1e9
    return head, TrainingCost(
        elapsed, whole, module.total_steps, len(watch.seconds), step, renderings, render, gigabytes
    )  # fmt: skip


def _trainer(device: str, watch: _Stopwatch, steps: int) -> pl.Trainer:
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    return pl.Trainer(
        accelerator="gpu" if device == "cuda" else "cpu", devices=1, max_epochs=1, limit_train_batches=steps,
        logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        callbacks=[watch],
    )  # fmt: skip

