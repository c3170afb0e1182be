"""The images that a configuration's ``data`` group and ``images=`` stand for."""

from __future__ import annotations

import torch
from omegaconf import DictConfig
from torch import Tensor

from datamodules.avatars import render_avatars
from datamodules.folder import read_folder
from networks.checkpoints.errors import GanvasError


def training_images(cfg: DictConfig) -> Tensor:
    """``uint8 [N, 3, R, R]`` to train a generator on.

    Raises:
        GanvasError: if ``images=`` is missing for a folder, or the folder is unusable.
    """
    if cfg.data.kind == "avatars":
        rendered = render_avatars(cfg.data.count, "train", cfg.seed, cfg.data.resolution, style=cfg.data.style)
        return torch.as_tensor(rendered.images)
    if not cfg.images:
        raise GanvasError("data=folder needs images=DIR, a folder of PNG or JPEG files.")
    return torch.as_tensor(read_folder(cfg.images, resolution=cfg.data.resolution).images)


def heldout_images(cfg: DictConfig, n: int) -> Tensor:
    """``uint8 [N, 3, R, R]`` of the same kind that training never sees; a folder has none and gives its own images."""
    if cfg.data.kind == "avatars":
        rendered = render_avatars(n, "heldout", cfg.seed, cfg.data.resolution, style=cfg.data.style)
        return torch.as_tensor(rendered.images)
    return training_images(cfg)[:n]
