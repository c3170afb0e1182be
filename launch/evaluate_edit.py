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
from launch.edit_judges import attribute_judge, kept_persons, natural
from launch.edit_methods import Outcome, edit_all
from launch.figures import Figure, Protocol
from launch.hardware import require_device
from launch.reports.edits import change_sheet, strip
from networks.checkpoints.attributes import Attribute
from networks.checkpoints.edits import save_edit
from networks.checkpoints.errors import GanvasError
from networks.grids import save_png
from networks.metrics.edits import leakage, overlap, reached

SHEET, STRIP, VECTOR = "images/edits.png", "images/strip.png", "vector.safetensors"   # in out=
STRENGTHS = (0.0, 0.5, 1.0, 1.5, 2.0)   # that the strip shows


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
    judge, judged, _ = attribute_judge(cfg.judge)
    pool = tested_images(cfg, editor.generator.img_resolution)
    truth = torch.as_tensor(pool.chosen.labels_as(judge.attributes))
    print(f"edits: {len(pool.chosen)} {pool.source}")
    if cfg.inversion_steps is not None:
        editor.settings = replace(editor.settings, steps=cfg.inversion_steps)
    seen = editor.segment(torch.as_tensor(pool.chosen.images))
    outcome = edit_all(cfg, editor, pool, seen)

    how = f"{cfg.recipe.reach}; inverted in {editor.settings.steps} steps"
    base = Protocol(*pool.source, len(pool.chosen), generator=editor.generator.hash, how=how)
    by_judge = replace(base, network=judged)
    before, after = (judge.labels(x) for x in (outcome.edited.image_before, outcome.edited.image))
    figures = {name: Figure(value, by_judge) for name, value in _judged(cfg, judge.attributes, before, after, truth)}
    figures |= {name: Figure(value, base) for name, value in outcome.edited.figures().items()}
    figures |= {name: Figure(value, base) for name, value in outcome.figures.items()}
    figures |= _inverted(pool, seen, outcome, [editor.classes.id_of(name) for name in cfg.recipe.classes], base)
    given, real = (torch.as_tensor(images.images).float() / 127.5 - 1 for images in (pool.chosen, pool.there))
    pictures = {"identity": outcome.edited.image, "identity_before": outcome.edited.image_before}
    figures |= kept_persons(cfg.identity, given, pictures, base)
    figures |= natural(cfg, real, outcome.edited.image, base, f"{len(real)} with {cfg.recipe.reach}")
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
