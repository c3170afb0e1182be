"""Which of many images a branch learns from, where all could be labelled: spread out, or where its members disagree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from omegaconf import DictConfig

from datamodules.masks import LabelledImages
from editors.invert import InversionSettings
from launch.labelled_codes import inverted_codes, known_codes
from launch.segmentation_scores import invert_images
from networks.checkpoints.errors import GanvasError
from networks.latent import Latent
from networks.protocol import Generator
from networks.segmentation import Head
from networks.selection import disagreement, generator_features, k_center
from trainers.segmentation_data import Labels

DRAWS = ("auto", "random", "coreset", "active")
FIRST = 4  # labels of the first round, which no branch has a say in; each later round doubles them


def require_draw(cfg: DictConfig) -> None:
    """Refuse a draw that is none, or that a folder without held-out images would be scored by itself on.

    Raises:
        GanvasError: naming what to change.
    """
    if cfg.task.draw not in DRAWS:
        raise GanvasError(f"task.draw={cfg.task.draw} is not known: choose of {', '.join(DRAWS)}.")
    if cfg.task.draw != "auto" and cfg.data.kind == "folder" and not cfg.data.heldout:
        raise GanvasError(f"task.draw={cfg.task.draw} chooses task.labels of a folder's images, and needs others to be "
                          "scored on: add data.heldout=N.")  # fmt: skip


def chooses(cfg: DictConfig) -> bool:
    """Whether labels are chosen by what the generator or a branch says of the images, and not by their names."""
    return cfg.task.draw in ("coreset", "active")


def choose_labels(
    cfg: DictConfig, generator: Generator, pool: LabelledImages, settings: InversionSettings,
    train: Callable[[Labels], Head],
) -> LabelledImages:  # fmt: skip
    """The first ``task.labels`` images that a person would be asked to label, in that order.

    Masks are looked at only where a person would have drawn them: those of images that are chosen already. A smaller
    number is the beginning of a larger one.

    Args:
        cfg: of the run.
        generator: the branch's.
        pool: what is chosen from.
        settings: how images are inverted.
        train: gives the branch of some labels, for ``task.draw=active``.
    """
    codes = _candidates(cfg, generator, pool, settings)
    features = generator_features(generator, codes)
    chosen = k_center(features, min(FIRST, cfg.task.labels))
    while len(chosen) < cfg.task.labels:
        doubt = None
        if cfg.task.draw == "active":
            print(f"asking a branch of {len(chosen)} labels what to label next")
            labels = _labels(cfg, generator, pool.take(chosen), settings)
            doubt = disagreement(train(labels), generator, codes)
        chosen += k_center(features, min(len(chosen), cfg.task.labels - len(chosen)), chosen, doubt)
    return pool.take(chosen)


def _candidates(
    cfg: DictConfig, generator: Generator, pool: LabelledImages, settings: InversionSettings
) -> Latent:
    """Codes that are near enough to tell images apart: known ones, or where an inversion would start."""
    if cfg.latents:
        return known_codes(cfg.latents, generator, pool).latent
    return invert_images(generator, pool, replace(settings, steps=0), "candidate").latent


def _labels(cfg: DictConfig, generator: Generator, chosen: LabelledImages, settings: InversionSettings) -> Labels:
    """What a branch learns from these images, exactly as it will in the end."""
    codes = (
        known_codes(cfg.latents, generator, chosen) if cfg.latents else inverted_codes(generator, chosen, settings)
    )
    return Labels(codes.latent, torch.as_tensor(chosen.masks), chosen.classes.names, chosen.names)
