"""``task=identity``: an embedding that knows an avatar with any expression, scored on held-out persons."""

from __future__ import annotations

import numpy as np
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from datamodules.avatars import render_avatars
from launch.data import licence
from launch.epochs import fit_epochs
from launch.figures import Figure, Protocol, all_by
from launch.options import arguments
from launch.record import RunRecord
from networks.checkpoints.errors import GanvasError
from networks.identity import IdentityNetwork, save_identity
from trainers.identity import IdentityTrainer
from trainers.segmenter import labelled_batches

HELDOUT_SEED = 0  # held-out persons are the same for every seed of training


def train(cfg: DictConfig, record: RunRecord) -> dict[str, Figure]:
    """Train, resume where the record holds a checkpoint, score on held-out persons, export.

    Returns:
        See :func:`networks.metrics.attributes.recognition`.

    Raises:
        GanvasError: if the images are no avatars, there are fewer than a batch, or the loss is not a number.
    """
    if cfg.data.get("kind") != "avatars":
        raise GanvasError("task=identity learns from pictures of one person with several expressions: give "
                          "data=avatars.")  # fmt: skip
    if cfg.data.count < cfg.task.batch_size:
        raise GanvasError(f"data.count={cfg.data.count} is less than a batch: lower task.batch_size.")
    n = cfg.n or cfg.task.heldout
    seen, heldout = _pairs(cfg, cfg.data.count, "teacher", cfg.seed), _pairs(cfg, n, "heldout", HELDOUT_SEED)
    batches = labelled_batches(*seen, cfg.task.batch_size, cfg.seed)
    module = build(cfg, total_steps=cfg.task.epochs * len(batches))
    scored = labelled_batches(*heldout, cfg.task.batch_size)
    fit_epochs(cfg, record, module, batches, scored, lambda: {"heldout_rank1": module.scores()["rank1"]})

    figures, size = module.scores(), cfg.data.resolution
    protocol = Protocol(
        f"rendered {cfg.data.style} at {size}x{size}", f"split heldout, seed {HELDOUT_SEED}", n,
        how="each person twice, with another expression and background",
    )  # fmt: skip
    save_identity(record.export / "identity.safetensors", module.network, {
        "metrics": {**figures, "protocol": str(protocol)},
        "trained_on": {"data": f"pairs of {cfg.data.style}, split teacher", "images": cfg.data.count,
                       "epochs": cfg.task.epochs, "resolution": size, "seed": cfg.seed},
        "command": cfg.command,
        "licence": licence(cfg),
    })  # fmt: skip
    rows = [f"| {name} | {value:.4f} |" for name, value in figures.items()]
    record.write_report("\n".join([
        f"# {cfg.experiment or 'identity'}", "", f"`{cfg.command}`", "", f"Scores: {protocol}.", "",
        "| figure | value |", "|---|---|", *rows, "",
        "`rank1`: persons whose nearest other picture is their own; `auc`: chance that a pair of one person is nearer "
        "than a pair of two; `same`, `different`: mean cosines.", "",
    ]))  # fmt: skip
    return all_by(protocol, figures)


def build(cfg: DictConfig, total_steps: int) -> IdentityTrainer:
    """The network and its trainer, with weights drawn from the seed."""
    torch.manual_seed(cfg.seed)
    # Not by Hydra's `instantiate`, which would hide the sentence of a size that does not fit in a page.
    network = IdentityNetwork(cfg.data.resolution, **arguments(cfg.task.network))
    return instantiate(cfg.task.training, network=network, total_steps=total_steps, seed=cfg.seed)


def _pairs(cfg: DictConfig, count: int, split: str, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two pictures of each person, ``uint8 [N, 3, R, R]`` both."""
    first, second = (
        render_avatars(count, split, seed, cfg.data.resolution, style=cfg.data.style, expression=k).images
        for k in (0, 1)
    )
    return torch.as_tensor(np.ascontiguousarray(first)), torch.as_tensor(np.ascontiguousarray(second))
