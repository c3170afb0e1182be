"""``ganvas evaluate recipe=collage``: whether a region takes another class, what else changes, and how it looks.

Suzuki et al. 2018 (neural-collage, arXiv 1811.10153) count how often a classifier does not find the class that an image
was to take (Fig. 11), and show by pictures which layers do what (Fig. 9 and 10). Here all of it is measured, on samples
or on held-out images.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor

from editors.changes import Changed
from editors.collage import Collaged
from launch import collage_trial
from launch.class_judge import TOP, ClassJudge
from launch.collage_pictures import conditional_editor
from launch.collage_trial import Trial
from launch.edit_judges import natural
from launch.figures import Figure, Protocol, all_by
from launch.hardware import require_device
from launch.reports.collage import trial_sheet
from networks.critics import perceptual
from networks.critics.sizes import for_critic
from networks.grids import save_png
from networks.metrics.blob_edits import outside
from networks.metrics.seams import seam_ratio

PICTURES, CRITIC = 400, "stlpips-alex"
SHEET = "images/edits.png"   # in out=


def measure(cfg: DictConfig) -> dict[str, Figure]:
    """All figures of a collage; they are printed, and with ``out=`` a sheet of pictures is written.

    Raises:
        GanvasError: if what is given cannot be used, or does not fit together.
    """
    require_device(cfg.device)
    collage_trial.check(cfg)
    editor = conditional_editor(cfg)
    judge = ClassJudge.load(cfg.judge, editor.classes)
    trial = collage_trial.trial_of(cfg, editor, cfg.n or PICTURES)
    print(f"pictures: {len(trial.given)} {trial.source}")
    begun = time.monotonic()
    changed = collage_trial.run(cfg, trial)
    shown = collage_trial.pasted(trial, changed, cfg.recipe.paste)
    seconds = (time.monotonic() - begun) / len(trial.given)

    base = Protocol(*trial.source, len(trial.given), generator=editor.generator.hash, how=how(cfg))
    figures = all_by(replace(base, network=judge.name), judged(trial, judge, shown))
    figures |= all_by(base, {**trial.near, **_changes(trial, changed, shown)})
    if "perceptual" in figures:
        figures["perceptual"] = Figure(trial.near["perceptual"], replace(base, network=cfg.inversion.critic))
    figures |= all_by(replace(base, network=CRITIC), elsewhere(cfg, trial, changed, shown))
    if cfg.metrics_features and trial.real is not None:
        figures |= natural(cfg, trial.real.images, shown, base, f"{len(trial.real)} held-out images of the classes")
    figures["seconds_each"] = Figure(seconds, base)
    for name, figure in figures.items():
        print(f"{name}: {figure.value:.4g}")
    print(f"protocol: {figures['target_rate'].protocol}")
    if cfg.out:
        save_png(np.asarray(trial_sheet(trial, changed, shown)), Path(cfg.out) / SHEET)
        print(f"sheet: {Path(cfg.out) / SHEET}")
    return figures


def how(cfg: DictConfig) -> str:
    """What was done, beside figures."""
    recipe = cfg.recipe
    where = {"disc": f"in a disc of {recipe.size:g} widths", "left": "in the left half", "whole": "everywhere"}
    parts = [f"{cfg.method or 'classes'} at strength {cfg.strength:g} {where[recipe.region]}"]
    parts += [f"layers {', '.join(recipe.layers)}"] if cfg.method in (None, "classes", "features") else []
    parts += [f"feather {recipe.feather:g}"] if recipe.feather else []
    parts += [f"pasted by {recipe.paste}"] if recipe.paste else []
    parts += [f"projected in {cfg.inversion.steps} steps"] if recipe.of == "images" and cfg.method != "pixels" else []
    return "; ".join(parts)


def judged(trial: Trial, judge: ClassJudge, shown: Tensor) -> dict[str, float]:
    """What the judge sees: ``own_rate`` of the pictures as they were given, the others of what became of them."""
    first, best = (judge.likely(shown, trial.goal, among) for among in (1, TOP))
    rates = {"own_rate": judge.likely(trial.given.images, trial.given.labels), "target_rate": first,
             "top1_error": ~first, f"top{TOP}_error": ~best}  # fmt: skip
    return {name: float(each.double().mean()) for name, each in rates.items()}


def _changes(trial: Trial, changed: Changed, shown: Tensor) -> dict[str, float]:
    """Pixels of the pictures as they were given and as they end: inside, outside, along the outline."""
    before = _before(trial, changed)
    ends = Changed(before, shown, changed.region)
    figures = ends.figures()
    if trial.mask is None:
        del figures["outside"]
    else:
        figures["seam_ratio"] = seam_ratio(before, shown, trial.region)
    if trial.others is not None:
        figures["from_other"] = float(Changed(trial.others.images, shown, changed.region).inside.mean())
    return figures


def elsewhere(cfg: DictConfig, trial: Trial, changed: Changed, shown: Tensor) -> dict[str, float]:
    """Perceptual change outside: of the pictures as they end, and of what the generator drew, if that was pasted."""
    if trial.mask is None:
        return {}
    network = perceptual(CRITIC)
    pairs: Mapping[str, tuple[Tensor, Tensor]] = {"outside_perceptual": (_before(trial, changed), shown)}
    if cfg.recipe.paste:
        pairs = {**pairs, "drawn_outside_perceptual": (changed.image_before, changed.image)}
    with torch.no_grad():
        found = {
            name: outside(*pair, changed.region, lambda x, y: network(for_critic(x), for_critic(y)))[1]
            for name, pair in pairs.items()
        }
    return {name: float(each.mean()) for name, each in found.items()}


def _before(trial: Trial, changed: Changed) -> Tensor:
    """What the end is compared with: of samples the drawing itself, whose rounding is the same."""
    return changed.image_before if isinstance(changed, Collaged) and not trial.near else trial.given.images
