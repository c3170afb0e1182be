"""``task=sngan``: a class-conditional generator trained from images with labels."""

from __future__ import annotations

from omegaconf import DictConfig

from launch import gan_training
from launch.classed import CLASSED
from launch.figures import Figure
from launch.record import RunRecord
from networks.checkpoints.errors import GanvasError


def train(cfg: DictConfig, record: RunRecord) -> dict[str, Figure]:
    """Train as every generator is.

    Raises:
        GanvasError: as :func:`launch.gan_training.train`, and for images without labels.
    """
    if cfg.data.get("kind") not in CLASSED and not cfg.data.get("labels"):
        raise GanvasError("task=sngan needs images with labels: data=styles, data=fashion_mnist, or data=folder with "
                          "data.labels=true.")  # fmt: skip
    return gan_training.train(cfg, record)
