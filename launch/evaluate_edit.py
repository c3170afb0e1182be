"""``ganvas evaluate recipe=NAME``: whether an edit reaches what it is for, what else it changes, who stays the same.

The protocol of MaskGAN and EditGAN (Ling et al. 2021, arXiv 2111.03186, section 4.2): images without the attribute are
edited, a classifier says how many have it then, an embedding how far the person was kept, and a distance between sets
how natural they look. Here the truth about avatars is known, so that leakage into other attributes is measured too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor

from editors import SegmentationEditor, load
from editors.segmentation import Segmentation
from launch.edit_images import Pool, drawn_masks, pair_of, tested_images
from launch.edit_methods import Outcome, edit_all
from launch.figures import Figure, Protocol
from launch.hardware import require_device
from launch.reports.edits import change_sheet, strip
from networks.attributes import load_attributes
from networks.checkpoints.attributes import Attribute
from networks.checkpoints.edits import save_edit
from networks.checkpoints.errors import GanvasError
from networks.critics import feature_network
from networks.grids import save_png
from networks.identity import load_identity
from networks.metrics.edits import leakage, overlap, reached
from networks.metrics.fid import fid
from networks.metrics.generator_metrics import SUBSETS
from networks.metrics.kid import extract_features, kid

SHEET, STRIP, VECTOR = "images/edits.png", "images/strip.png", "vector.safetensors"   # in out=
STRENGTHS = (0.0, 0.5, 1.0, 1.5, 2.0)   # that the strip shows
SUBSET_SIZE = 100                       # of KID; at most half of the images


def measure(cfg: DictConfig) -> dict[str, Figure]:
    """All figures of an edit; they are printed, and pictures and a learned vector are written to ``out=``.

    Raises:
        GanvasError: if what is given cannot be used, or does not fit together.
    """
    require_device(cfg.device)
    if not cfg.segmentation:
        raise GanvasError("an edit is made by a branch: give segmentation=BUNDLE.")
    editor = load(cfg.segmentation, cfg.generator, cfg.device)
    if not isinstance(editor, SegmentationEditor):
        raise GanvasError(f"{cfg.segmentation} is no segmentation bundle: give it as generator=.")
    judge, judged = load_attributes(cfg.judge)
    pool = tested_images(cfg, editor.generator.img_resolution)
    truth = torch.as_tensor(pool.chosen.labels_as(judge.attributes))
    print(f"edits: {len(pool.chosen)} {pool.source}")
    if cfg.inversion_steps is not None:
        editor.settings = replace(editor.settings, steps=cfg.inversion_steps)
    seen = editor.segment(torch.as_tensor(pool.chosen.images))
    outcome = edit_all(cfg, editor, pool, seen)

    how = f"{cfg.recipe.reach}; inverted in {editor.settings.steps} steps"
    base = Protocol(*pool.source, len(pool.chosen), generator=editor.generator.hash, how=how)
    by_judge = Protocol(*pool.source, len(pool.chosen), _name(judged), editor.generator.hash, how)
    before, after = (judge.labels(x) for x in (outcome.edited.image_before, outcome.edited.image))
    figures = {name: Figure(value, by_judge) for name, value in _judged(cfg, judge.attributes, before, after, truth)}
    figures |= {name: Figure(value, base) for name, value in outcome.edited.figures().items()}
    figures |= {name: Figure(value, base) for name, value in outcome.figures.items()}
    figures |= _inverted(pool, seen, outcome, [editor.classes.id_of(name) for name in cfg.recipe.classes], base)
    figures |= _identity(cfg, pool, outcome, base)
    figures |= _natural(cfg, pool, outcome, base)
    figures["seconds_each"] = Figure(outcome.seconds / len(pool.chosen), base)
    for name, figure in figures.items():
        print(f"{name}: {figure.value:.4g}")
    print(f"protocol: {by_judge}")
    if cfg.out:
        _write(cfg, editor, seen, outcome, {name: figure.value for name, figure in figures.items()}, str(by_judge))
    return figures


def _judged(
    cfg: DictConfig, attributes: tuple[Attribute, ...], before: Tensor, after: Tensor, truth: Tensor
) -> list[tuple[str, float]]:
    """Success and leakage, as the judge sees them."""
    name, value = pair_of(cfg.recipe.reach, "reach")
    leaked = leakage(before, after, attributes, {name, *cfg.recipe.affects}, truth)
    mean = sum(leaked.values()) / max(len(leaked), 1)
    return [
        ("success", reached(after, attributes, name, value)),
        ("success_before", reached(before, attributes, name, value)),
        ("leakage", mean),
        *((f"leakage {other}", share) for other, share in leaked.items()),
    ]


def _name(judged: Mapping[str, Any]) -> str:
    """What a judge is called beside figures: images of another kind than it was trained on may fool it."""
    trained = judged.get("trained_on", {}).get("data")
    return f"judge {judged['hash'][:12]}" + (f", trained on {trained}" if trained else "")


def _inverted(
    pool: Pool, seen: Segmentation, outcome: Outcome, ids: Sequence[int], base: Protocol
) -> dict[str, Figure]:
    """How far the generator can show the images at all, and the branch find in them what is edited, before the edit.

    ``found``: share of images in which it sees any of that; ``found_iou``: with the true masks, where they are drawn.
    """
    inversion, masks = seen.inversion, outcome.edited.mask_before
    there = torch.isin(masks, torch.tensor([*ids], dtype=masks.dtype)).flatten(1).any(1)
    figures = {
        "psnr": Figure(float(inversion.psnr.mean()), base),
        "perceptual": Figure(float(inversion.distance.mean()), replace(base, network=inversion.settings.critic)),
        "found": Figure(float(there.double().mean()), base),
    }
    if (truth := drawn_masks(pool, masks.shape[-1])) is not None:
        figures["found_iou"] = Figure(overlap(masks, truth, ids), base)
    return figures


def _identity(cfg: DictConfig, pool: Pool, outcome: Outcome, base: Protocol) -> dict[str, Figure]:
    """Mean cosines between the given images and what became of them: edited, and only inverted."""
    if cfg.identity is None:
        return {}
    network, manifest = load_identity(cfg.identity)
    own = network.embed(torch.as_tensor(pool.chosen.images).float() / 127.5 - 1)
    protocol = Protocol(*pool.source, base.images, f"identity {manifest['hash'][:12]}", base.generator, base.how)
    pictures = {"identity": outcome.edited.image, "identity_before": outcome.edited.image_before}
    return {
        name: Figure(float((network.embed(images) * own).sum(1).mean()), protocol) for name, images in pictures.items()
    }


def _natural(cfg: DictConfig, pool: Pool, outcome: Outcome, base: Protocol) -> dict[str, Figure]:
    """Distances between the edited images and others of the source that have the value by themselves."""
    found, real = {}, torch.as_tensor(pool.there.images).float() / 127.5 - 1
    for name in cfg.metrics_features:
        network = feature_network(name, cfg.metrics_weights, cfg.allow_download)
        sets = [extract_features(network, images.split(cfg.batch)) for images in (real, outcome.edited.image)]
        size = min(SUBSET_SIZE, max(min(map(len, sets)) // 2, 2))
        mean, deviation = kid(*sets, SUBSETS, size)
        short = name.replace("-", "_")
        how = f"{base.how}; against {len(real)} with {cfg.recipe.reach}; subsets of {size}"
        protocol = Protocol(*pool.source, base.images, name, base.generator, how)
        figures = {f"kid_{short}_x1000": 1000 * mean, f"kid_{short}_x1000_std": 1000 * deviation}
        found |= {key: Figure(value, protocol) for key, value in (figures | {f"fid_{short}": fid(*sets)}).items()}
    return found


def _write(
    cfg: DictConfig, editor: SegmentationEditor, seen: Segmentation, outcome: Outcome, figures: Mapping[str, float],
    protocol: str,
) -> None:  # fmt: skip
    """The sheet, and of a step for all images a strip and its bundle, which says how well it works."""
    out = Path(cfg.out)
    save_png(np.asarray(change_sheet(outcome.edited, editor.classes, seen.image)), out / SHEET)
    if outcome.vector is None:
        return
    save_png(np.asarray(strip(editor, outcome.edited.before, outcome.vector, STRENGTHS)), out / STRIP)
    if outcome.learned:
        entries: dict[str, Any] = {
            "metrics": {**figures, "protocol": protocol}, "command": cfg.command,
            "strength": cfg.strength, "licence": "that of its generator",
        }  # fmt: skip
        print(f"vector: {save_edit(out / VECTOR, outcome.vector, entries)}")
