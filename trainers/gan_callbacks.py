"""What happens beside training that counts images seen: progress, checkpoints, and whatever else is due."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytorch_lightning as pl
import torch
from torch import Tensor
from tqdm import tqdm

from networks.checkpoints.atomic import atomic_path
from networks.rendering import render_batches
from trainers.diverged import stop_if_broken
from trainers.stylegan2 import StyleGAN2Trainer


class Counted(Protocol):
    """A Lightning module whose clock is images seen."""

    images_seen: int
    total_images: int            # where training ends
    figures: dict[str, float]    # of the last step


Action = Callable[[Any], None]   # takes the module


class EveryImages(pl.Callback):
    """Calls ``action`` whenever the clock passes a multiple of ``interval``, and at the end of the run.

    Args:
        interval: images between calls.
        action: what to do.
        at_end: whether the end of the run calls it; where it does not, no multiple that falls on the end does.
    """

    def __init__(self, interval: int, action: Action, at_end: bool = True) -> None:
        self.interval, self.action, self.at_end = interval, action, at_end

    def on_train_batch_end(
        self, _trainer: pl.Trainer, pl_module: Counted, _outputs: Any, batch: Any, *_: Any
    ) -> None:
        seen = pl_module.images_seen
        crossed = seen // self.interval > (seen - len(batch.images)) // self.interval
        if self.at_end if seen >= pl_module.total_images else crossed:
            self.action(pl_module)


class StopAtTotal(pl.Callback):
    """Ends the run at ``total_images``, with a progress bar in images."""

    def __init__(self) -> None:
        self.bar = tqdm(disable=True)  # until training starts

    def on_train_start(self, trainer: pl.Trainer, pl_module: Counted) -> None:
        self.bar = tqdm(total=pl_module.total_images, initial=pl_module.images_seen, unit="image", smoothing=0.02)
        self._stop_when_done(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Counted, _outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.bar.update(len(batch.images))
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


def draw_samples(module: StyleGAN2Trainer, n: int) -> Tensor:
    """Images ``[n, C, R, R]`` of the averaged generator on the CPU: always the same latents."""
    return torch.cat(list(render_batches(module.G_ema, module.G_ema.sample(n, seed=0))))


def save_last(path: Path) -> Action:
    """An action that writes the whole state to ``path``, whole or not at all.

    The action raises DivergedError, and leaves the file that is there, if a weight is not finite: the losses of a step
    do not see what its own update did.
    """

    def action(module: Any) -> None:
        stop_if_broken(module, f"after {module.images_seen} images")
        with atomic_path(path) as temporary:
            module.trainer.save_checkpoint(temporary, weights_only=False)

    return action
