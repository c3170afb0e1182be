"""What happens beside GAN training, by images seen: progress, sample grids, checkpoints."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from tqdm import tqdm

from networks.grids import save_grid
from trainers.stylegan2 import StyleGAN2Trainer


class EveryImages(pl.Callback):
    """Calls ``action`` whenever the clock passes a multiple of ``interval``, and at the end of the run."""

    def __init__(self, interval: int, action: Callable[[pl.Trainer, StyleGAN2Trainer], None]) -> None:
        self.interval, self.action = interval, action

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Tensor, batch_idx: int) -> None:
        seen = pl_module.images_seen
        crossed = seen // self.interval > (seen - len(batch)) // self.interval
        if crossed or seen >= pl_module.total_images:
            self.action(trainer, pl_module)


class StopAtTotal(pl.Callback):
    """Ends the run at ``total_images``, with a progress bar in images."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self.bar = tqdm(total=pl_module.total_images, initial=pl_module.images_seen, unit="image", smoothing=0.02)
        if pl_module.images_seen >= pl_module.total_images:
            trainer.should_stop = True

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Tensor, batch_idx: int) -> None:
        self.bar.update(len(batch))
        if batch_idx % 20 == 0:
            self.bar.set_postfix({k: f"{v:.2f}" for k, v in pl_module.figures.items()})
        if pl_module.images_seen >= pl_module.total_images:
            trainer.should_stop = True

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self.bar.close()


@torch.no_grad()
def draw_samples(module: StyleGAN2Trainer, n: int, batch: int = 64, truncation: float = 1.0) -> Tensor:
    """Images ``[n, C, R, R]`` of the averaged generator: always the same latents."""
    latents = module.G_ema.sample(n, seed=0, truncation=truncation)
    return torch.cat([module.G_ema.render(part) for part in latents.split(batch)])


def sample_grid(folder: Path, n: int = 64) -> Callable[[pl.Trainer, StyleGAN2Trainer], None]:
    """An action that writes ``samples-<images seen>.png``."""

    def action(trainer: pl.Trainer, module: StyleGAN2Trainer) -> None:
        save_grid(draw_samples(module, n), folder / f"samples-{module.images_seen:08d}.png")

    return action


def save_last(path: Path) -> Callable[[pl.Trainer, StyleGAN2Trainer], None]:
    """An action that writes the whole state to ``path``, atomically."""

    def action(trainer: pl.Trainer, module: StyleGAN2Trainer) -> None:
        temporary = path.with_suffix(".tmp")
        trainer.save_checkpoint(temporary)
        os.replace(temporary, path)

    return action
