"""One set-up of Lightning for every training whose clock is images seen."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig

from launch.follower import lead
from launch.hardware import trainer_arguments
from launch.limits import several_devices
from launch.record import RunRecord
from trainers.gan_callbacks import EveryImages, StopAtTotal, save_last
from trainers.together import OwnSigterm, Together


def fit(
    cfg: DictConfig, record: RunRecord, module: pl.LightningModule, data: pl.LightningDataModule,
    callbacks: Sequence[pl.Callback],
) -> None:  # fmt: skip
    """Run Lightning until the module's ``total_images``, from ``last.ckpt`` where there is one; keep that file.

    Args:
        cfg: the run's, with ``task.log_every`` and ``task.checkpoint_every``, in images.
        record: takes the figures.
        module: a :class:`trainers.gan_callbacks.Counted`.
        data: starts at the module's ``images_seen``.
        callbacks: what else is due, after the log and the checkpoint.

    Raises:
        DivergedError: if training diverges.
        GanvasError: if processes for several devices cannot be started.
    """
    last = record.checkpoints / "last.ckpt"

    def log(trained: Any) -> None:
        record.log(trained.figures, trained.images_seen)

    trainer = pl.Trainer(
        **_alone_or_together(cfg, record), max_epochs=-1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=record.path,
        callbacks=[
            StopAtTotal(),
            EveryImages(cfg.task.log_every, log),
            EveryImages(cfg.task.checkpoint_every, save_last(last)),
            *([OwnSigterm()] if several_devices(cfg) else []),
            *callbacks,
        ],
    )  # fmt: skip
    # An averaged or frozen network is in eval mode all the time, as it should be.
    warnings.filterwarnings("ignore", "Found .* module.* in eval mode")
    trainer.fit(module, data, ckpt_path=last if last.exists() else None, weights_only=True)


def _alone_or_together(cfg: DictConfig, record: RunRecord) -> dict[str, Any]:
    """Lightning's arguments, with our strategy for several devices."""
    arguments = trainer_arguments(cfg.trainer)
    if not several_devices(cfg):
        return arguments
    lead(cfg, record)
    if cfg.trainer.threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(cfg.trainer.threads)  # or Lightning would choose a number for each process
    return arguments | {"strategy": Together()}
