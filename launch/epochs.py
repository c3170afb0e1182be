"""Training of a small network for some passes over its images: one Lightning set-up for all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig
from pytorch_lightning.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader

from launch.hardware import trainer_arguments
from launch.record import RunRecord
from launch.resume import clock
from trainers.segmentation_loop import Progress
from trainers.supervised import SupervisedTrainer

LOG_EVERY = 20  # batches

Scores = Callable[[], Mapping[str, float]]


def fit_epochs(
    cfg: DictConfig, record: RunRecord, module: SupervisedTrainer, seen: DataLoader, heldout: DataLoader, scores: Scores
) -> None:
    """Train for ``cfg.task.epochs``, go on where the record holds a checkpoint, and validate at the end.

    Args:
        cfg: with ``task.name``, ``task.epochs`` and ``task.batch_size``.
        record: the run's record.
        module: what is trained.
        seen: batches to train on.
        heldout: batches to score on, after each pass.
        scores: what the last validation found, for the log.

    Raises:
        DivergedError: when the loss or a weight is not a number.
    """
    last = record.checkpoints / "last.ckpt"
    resumed_at = clock(last, "global_step")
    record.rewind(resumed_at * cfg.task.batch_size)
    trainer = pl.Trainer(
        **trainer_arguments(cfg.trainer), max_epochs=cfg.task.epochs, logger=False, enable_model_summary=False,
        default_root_dir=record.path, num_sanity_val_steps=0,
        enable_progress_bar=False,
        callbacks=[
            Progress(show=True, name=cfg.task.name),
            Log(record, resumed_at, scores),
            ModelCheckpoint(record.checkpoints, last.stem, save_on_train_epoch_end=True, enable_version_counter=False),
        ],
    )  # fmt: skip
    trainer.fit(module, seen, heldout, ckpt_path=last if resumed_at else None, weights_only=True)
    trainer.validate(module, heldout, verbose=False)


class Log(pl.Callback):
    """Loss and held-out scores into the run's record, by images seen.

    Args:
        record: the run's record.
        resumed_at: step of the checkpoint that the run goes on from; 0 for a fresh run.
        scores: what the last validation found.
    """

    def __init__(self, record: RunRecord, resumed_at: int, scores: Scores) -> None:
        self.record, self.resumed_at, self.scores = record, resumed_at, scores

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: SupervisedTrainer, *_: Any) -> None:
        if trainer.global_step % LOG_EVERY == 0:
            self._log(trainer, {"loss": float(pl_module.loss)})

    def on_validation_end(self, trainer: pl.Trainer, pl_module: SupervisedTrainer) -> None:
        # Where it resumes, Lightning validates once more; the record holds that line already.
        if trainer.state.fn == "fit" and trainer.global_step != self.resumed_at:
            self._log(trainer, self.scores())

    def _log(self, trainer: pl.Trainer, figures: Mapping[str, float]) -> None:
        self.record.log(figures, trainer.global_step * trainer.train_dataloader.batch_size)
