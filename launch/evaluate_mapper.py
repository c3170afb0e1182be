"""``ganvas evaluate mapper=`` or ``text=``: an edit by text on held-out codes, at several strengths.

For each strength what :mod:`launch.text_scores` says; then the strength that follows the text most often among those
that leave every other attribute alone, and there how natural the images look. Where a text fails, three figures say
why: whether the generator shows such images at all, whether the CLIP that the edit was fitted to tells them, and
whether that CLIP takes the edited ones for them. :mod:`launch.text_verdict` makes a sentence of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor

from launch.edit_judges import natural
from launch.figures import Figure, Protocol, Source, all_by, values
from launch.hardware import require_device
from launch.judge_floor import trust, trust_table, unseen_step
from launch.limits import is_finite, require_at_least
from launch.mapper_choice import recommended_of
from launch.mapper_sources import HELDOUT_SEED
from launch.reports.plots import pareto
from launch.reports.text_evaluation import at_best, strength_rows, write_report
from launch.reports.texts import strengths_sheet
from launch.text_methods import Found, Said, clip_of, find, generator_of
from launch.text_scores import Judges, TextScores, best_strength, features
from launch.text_verdict import verdict
from networks.checkpoints.edits import save_edit
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.latent_files import read_codes
from networks.clip import ClipModel
from networks.grids import save_png
from networks.latent import NOISE, Latent
from networks.mapper import MapperEdit
from networks.mapper.untrained import untrained
from networks.metrics.texts import residual_cosine, separation
from networks.protocol import Generator
from networks.rendering import render_batches

CODES = 300            # that are edited where n= says nothing
FEW = 5                # images with what a text names that a CLIP is tested on, at least
MORE = 1000            # samples that are looked through where the codes that are edited show fewer
SHEET, PARETO, VECTOR = "images/edits.png", "images/pareto.png", "vector.safetensors"   # in out=


def measure(cfg: DictConfig) -> dict[str, Figure]:
    """All figures of an edit; they are printed, and pictures and an edit that was made here are written to ``out=``.

    Raises:
        GanvasError: if what is given cannot be used, or does not fit together.
    """
    said = check(cfg)
    generator, clip = generator_of(cfg), clip_of(cfg, said)
    latent, source = _codes(cfg, generator)
    judges = Judges.of(cfg)
    found = find(cfg, said, generator, clip, latent.to(cfg.device), [f"code {i}" for i in range(len(latent))])
    before, _ = _rendered(generator, found.before)
    scores = TextScores(judges, said, before, cfg.attribute, tuple(cfg.affects))
    if scores.there.all():
        raise GanvasError(f"all {len(before)} images show {scores.named} before the edit, so that nothing can be "
                          "reached: give other codes, or attribute=none.")  # fmt: skip
    print(f"codes: {len(before)} {source}; text: {said.text}; names: {scores.named or 'no attribute'}")
    drawn = {s: _rendered(generator, found.at(s)) for s in sorted({*map(float, cfg.strengths)})}
    images = {strength: pictures for strength, (pictures, _) in drawn.items()}
    table = {strength: scores(after) for strength, after in images.items()}
    best = best_strength(table)

    how = f"text '{said.text}', neutral '{said.neutral}', method {said.method}"
    base = Protocol(*source, len(before), generator=generator.hash, how=how)
    figures = _figures(table, best, judges, base)
    at_best = replace(base, how=f"{how}, strength {best:g}")
    figures |= natural(cfg, before, images[best], at_best, "the same images before the edit")
    facts = found.figures | _spread(found) | _seconds(found, drawn[best][1]) | {"strength": best}
    figures |= all_by(base, facts)
    unseen = unseen_step(generator, found.before.to(generator.device), before)
    figures |= trust(scores, unseen, base)
    own = said.is_by(clip.identity)
    fits = _by_text(clip, said) if own else None   # of another CLIP it would be said that the edit follows it
    for name, value in _reasons(cfg, generator, scores, images[best], fits).items():
        asked = judges.names["attributes"] if name == "shows" else str(clip.identity)
        figures[name] = Figure(value, replace(base, network=asked))
    line = verdict(figures, own)
    _tell(table, figures, line)
    if cfg.out:
        _write(cfg, found, clip, before, images, table, figures, line)
    return figures


def check(cfg: DictConfig) -> Said:
    """Refuse what can be refused before a network is read.

    Raises:
        GanvasError: naming the options.
    """
    require_device(cfg.device)
    require_at_least(cfg, {"n": 2, "seed": 0, "batch": 1})
    if given := [key for key in ("segmentation", "vector", "refine", "table") if cfg[key]]:
        raise GanvasError(f"{given[0]}= does not go with text= or mapper=: leave one of them out.")
    if not cfg.strengths or not all(map(is_finite, cfg.strengths)):
        raise GanvasError(f"strengths={list(cfg.strengths)} must be one finite number or more.")
    return Said.of(cfg)


def _codes(cfg: DictConfig, generator: Generator) -> tuple[Latent, Source]:
    if cfg.latents:
        latent, _ = read_codes(cfg.latents, generator)
        count = len(latent) if cfg.n is None else cfg.n
        if count > len(latent) or count < 2:
            raise GanvasError(f"{cfg.latents} holds {len(latent)} codes, and {max(count, 2)} are to be edited: lower "
                              "n=, or give more.")  # fmt: skip
        return latent[:count], Source(f"codes of {cfg.latents}")
    count = CODES if cfg.n is None else cfg.n
    drawn = generator.sample(count, HELDOUT_SEED, truncation=cfg.truncation)
    return drawn, Source("samples of the generator", f"seed {HELDOUT_SEED}, psi {cfg.truncation:g}")


def _rendered(generator: Generator, latent: Latent) -> tuple[Tensor, float]:
    """Images in [-1, 1] on the CPU, and how many seconds they took."""
    begun = time.monotonic()
    images = torch.cat(list(render_batches(generator, latent.to(generator.device)))).clamp(-1, 1)
    return images, time.monotonic() - begun


def _figures(
    table: Mapping[float, Mapping[str, float]], best: float, judges: Judges, base: Protocol
) -> dict[str, Figure]:  # fmt: skip
    """Of the best strength by their names, and the course of some over the strengths."""
    asked = {"success": "attributes", "leakage": "attributes", "clip": "clip", "identity": "identity",
             "perceptual": "perceptual"}  # fmt: skip

    def of(name: str, strength: float) -> Figure:
        judge = next((judges.names.get(who) for begin, who in asked.items() if name.startswith(begin)), None)
        protocol = replace(base, network=judge, how=f"{base.how}, strength {strength:g}")
        return Figure(table[strength][name], protocol)

    found = {name: of(name, best) for name in table[best]}
    course = [name for name in ("success", "leakage_worst", "clip_direction", "identity") if name in table[best]]
    return found | {f"{name} at {s:g}": of(name, s) for s in table for name in course}


def _seconds(found: Found, rendering: float) -> dict[str, float]:
    """What it took before all, for the text, and for each image with its rendering."""
    return {"preparation_seconds": found.preparation, "training_seconds": found.training,
            "inference_seconds": (found.inference + rendering) / len(found.before)}  # fmt: skip


def _spread(found: Found) -> dict[str, float]:
    """How alike the steps of different images are, beside those of a mapper that has learned nothing."""
    before = _moved(found.before)
    figures = {"residual_cosine": residual_cosine(_steps(before, _moved(found.at(1.0))))}
    module = found.edit.module
    if isinstance(module, MapperEdit):
        after = untrained(module).apply(found.before, 1.0)
        figures["residual_cosine_untrained"] = residual_cosine(_steps(before, _moved(after)))
    return figures


def _moved(latent: Latent) -> dict[str, Tensor]:
    return {name: t.cpu() for name, t in latent.tensors.items() if not name.startswith(NOISE)}


def _steps(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: after[name] - t for name, t in before.items()}


def _by_text(clip: ClipModel, said: Said) -> Callable[[Tensor], Tensor]:
    """How near images are to a text, and how far from the neutral one, ``[N]``."""
    text = clip.encode_prompt(said.text).cpu() - clip.encode_neutral(said.neutral).cpu()
    return lambda images: features(clip, images) @ text


def _reasons(
    cfg: DictConfig, generator: Generator, scores: TextScores, after: Tensor,
    fits: Callable[[Tensor], Tensor] | None,
) -> dict[str, float]:  # fmt: skip
    """What can be to blame: ``shows`` the generator, ``tells`` the CLIP that the edit follows, ``taken`` the edit.

    ``shows``: share of images that have what the text names, of the sources and, where few do, of further samples.
    ``tells``: chance that one of these is nearer to the text than another image, 1/2 by guessing. ``taken``: share of
    edited images at least as near as half of them. The latter two are left out where ``fits`` is.
    """
    if scores.named is None:
        return {}
    images, there = scores.before, scores.there
    if there.sum() < FEW:
        more, _ = _rendered(generator, generator.sample(MORE, HELDOUT_SEED + 1, truncation=cfg.truncation))
        images, there = torch.cat([images, more]), torch.cat([there, scores.shows(more)])
    figures = {"shows": float(there.double().mean())}
    if fits is None:
        return figures
    near = fits(images)
    those, others = near[there], near[~there]
    if len(those) >= FEW:
        figures["tells"] = separation(those, others)
        figures["taken"] = float((fits(after[~scores.there]) >= those.median()).double().mean())
    return figures


def _tell(table: Mapping[float, Mapping[str, float]], figures: Mapping[str, Figure], line: str) -> None:
    for strength, *cells in strength_rows(table):
        print(f"{strength:>8}  " + "  ".join(f"{cell:>14}" for cell in cells))
    for name, number in at_best(figures).items():
        print(f"{name}: {number:.4g}")
    if "success" in figures:
        print("\n".join(trust_table(values(figures))))
    print(f"verdict: {line}")


def _write(
    cfg: DictConfig, found: Found, clip: ClipModel, before: Tensor, images: Mapping[float, Tensor],
    table: Mapping[float, Mapping[str, float]], figures: Mapping[str, Figure], line: str,
) -> None:  # fmt: skip
    out = Path(cfg.out)
    columns = {"before": before} | {f"{strength:g}": each for strength, each in images.items()}
    save_png(np.asarray(strengths_sheet(columns)), out / SHEET)
    cost = next(name for name in ("identity", "perceptual") if name in next(iter(table.values())))
    gain = next(name for name in ("success", "clip_direction", "change") if name in next(iter(table.values())))
    points = {strength: (score[cost], score[gain]) for strength, score in table.items()}
    save_png(np.asarray(pareto({found.said.method: points}, cost, gain)), out / PARETO)
    pictures = {f"What {gain} costs": PARETO, "Edits of the first codes": SHEET}
    print(f"sheet: {out / SHEET}\nreport: {write_report(out, cfg.command, line, table, figures, pictures)}")
    if found.learned:
        metrics: dict[str, Any] = {
            name: figure.value for name, figure in figures.items() if " at " not in name
        }  # fmt: skip
        measured = {"metrics": metrics, "protocol": str(figures[gain].protocol)}
        entries = found.entries(clip.identity, cfg.command) | measured
        if "success" in figures:
            strengths, by = recommended_of(table, figures[gain].protocol)
            entries |= {"recommended_by": by} | ({"recommended_strengths": list(strengths)} if strengths else {})
        print(f"vector: {save_edit(out / VECTOR, found.edit, entries)}")
