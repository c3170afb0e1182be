"""What happens beside training that counts images seen: progress, checkpoints, and whatever else is due."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytorch_lightning as pl
import torch
from torch import Tensor
from tqdm import tqdm

from networks.checkpoints.atomic import atomic_path
from networks.durations import duration
from networks.rendering import render_batches
from trainers.adversarial import AdversarialTrainer
from trainers.diverged import stop_if_broken


class Counted(Protocol):
    """A Lightning module whose clock is images seen."""

    images_seen: int
    total_images: int            # where training ends
    figures: dict[str, float]    # of the last step


Action = Callable[[Any], None]   # takes the module


class Counting(pl.Callback):
    """Knows how many images had been seen before the batch: by all devices, of which a batch here shows a part."""

    before = 0

    def on_train_batch_start(self, _trainer: pl.Trainer, pl_module: Counted, *_: Any) -> None:
        self.before = pl_module.images_seen


class EveryImages(Counting):
    """Calls ``action`` whenever the clock passes a multiple of ``interval``, and at the end of the run.

    Args:
        interval: images between calls.
        action: what to do.
        at_end: whether the end of the run calls it; where it does not, no multiple that falls on the end does.
    """

    def __init__(self, interval: int, action: Action, at_end: bool = True) -> None:
        self.interval, self.action, self.at_end = interval, action, at_end

    def on_train_batch_end(self, _trainer: pl.Trainer, pl_module: Counted, *_: Any) -> None:
        seen = pl_module.images_seen
        crossed = seen // self.interval > self.before // self.interval
        if self.at_end if seen >= pl_module.total_images else crossed:
            self.action(pl_module)


class StopAtTotal(Counting):
    """Ends the run at ``total_images``, with a progress bar in images, and says early how long it will take."""

    def __init__(self) -> None:
        self.bar = tqdm(disable=True)  # until training starts
        self.estimate = Estimate()

    def on_train_start(self, trainer: pl.Trainer, pl_module: Counted) -> None:
        self.bar = tqdm(
            total=pl_module.total_images, initial=pl_module.images_seen, unit="image", smoothing=0.02,
            disable=not trainer.is_global_zero,
        )  # fmt: skip
        self._stop_when_done(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Counted, _outputs: Any, _batch: Any, batch_idx: int
    ) -> None:
        images = pl_module.images_seen - self.before
        self.bar.update(images)
        if (sentence := self.estimate(pl_module, images, time.perf_counter())) and trainer.is_global_zero:
            self.bar.write(sentence)
        if batch_idx % 20 == 0:
            self.bar.set_postfix({name: f"{value:.2f}" for name, value in pl_module.figures.items()})
        self._stop_when_done(trainer, pl_module)

    def on_train_end(self, *_: Any) -> None:
        self.bar.close()

    def on_exception(self, *_: Any) -> None:
        self.bar.close()

    def _stop_when_done(self, trainer: pl.Trainer, module: Counted) -> None:
        if module.images_seen >= module.total_images:
            trainer.should_stop = True


class Estimate:
    """How long a run will take, said once, after its first batches.

    The first of them are left out, since they warm up; then a whole round of lazy regularisation is timed, or, of a
    slow run, a minute.
    """

    WARM_UP, BATCHES, SECONDS = 3, 16, 60.0

    def __init__(self) -> None:
        self._batches, self._images, self._start = 0, 0, 0.0

    def __call__(self, module: Counted, images: int, now: float) -> str | None:
        """After a batch of ``images`` that ended at ``now``: the sentence when it is due, else None."""
        self._batches += 1
        if self._batches <= self.WARM_UP:
            self._start = now
            return None
        self._images += images
        timed, elapsed = self._batches - self.WARM_UP, now - self._start
        due = timed == self.BATCHES or elapsed >= self.SECONDS
        left = module.total_images - module.images_seen
        if self._start < 0 or not due or left <= 0 or elapsed <= 0:
            return None
        self._start = -1.0  # said
        rate = self._images / elapsed
        return f"about {duration(left / rate)} for {left} images at {rate:.3g} images/s"


def draw_samples(module: AdversarialTrainer, n: int, labels: Tensor | None = None) -> Tensor:
    """Images ``[n, C, R, R]`` of the averaged generator on the CPU: always the same latents, for ``[n, c_dim]``."""
    return torch.cat(list(render_batches(module.G_ema, module.G_ema.sample(n, 0, labels))))


def save_last(path: Path) -> Action:
    """An action that writes the whole state to ``path``, whole or not at all.

    The action raises DivergedError, and leaves the file that is there, if a weight is not finite: the losses of a step
    do not see what its own update did.
    """

    def action(module: Any) -> None:
        stop_if_broken(module, f"after {module.images_seen} images")
        if not module.trainer.is_global_zero:  # takes part, and writes nothing
            module.trainer.save_checkpoint(path, weights_only=False)
            return
        with atomic_path(path) as temporary:
            module.trainer.save_checkpoint(temporary, weights_only=False)

    return action
