"""Held-out accuracy on avatars, ours beside the original recipe: the same generator, codes, labels and seeds."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from statistics import fmean, median, stdev
from typing import Any

import torch

from benchmarks.original_recipe import concatenated, gather_pixels, mean_logits, small_class_limit, train_ensemble
from benchmarks.report import Result
from benchmarks.settings import Settings
from datamodules.avatars import AvatarSet, render_avatars, stratified_labels
from editors.inversion_cache import InversionCache
from editors.invert import InversionSettings, invert
from networks.checkpoints.classifiers import head_of_members
from networks.checkpoints.generators import load_generator
from networks.checkpoints.zoo import resolve
from networks.protocol import Generator
from networks.segmentation import Head, head_for, predict
from trainers.segmentation import SegmentationSettings, score_head, train_head
from trainers.segmentation_data import Labels, without_small_classes

DRAW = 0                                       # the labelled avatars of most figures; `seeds` are the training's
UNSCALED = "original, unscaled clean-up"
SIDE_ARMS = (UNSCALED, "reference")            # left out of a quick run


@dataclass(frozen=True)
class Workplace:
    """What every arm is given."""

    generator: Generator
    labels: Labels
    heldout: Labels
    settings: Settings

    def score(self, head: Head) -> float:
        """Held-out mIoU, absent classes left out, in percent."""
        return 100 * score_head(head, self.generator, self.heldout).compute()["miou"]


@dataclass
class Arm:
    """One way to train, over the seeds."""

    miou: list[float] = field(default_factory=list)       # percent
    seconds: list[float] = field(default_factory=list)    # of the training, features included
    steps: list[int] = field(default_factory=list)        # of one member

    def row(self, name: str) -> dict[str, Any]:
        """A line of the table."""
        spread = stdev(self.miou) if len(self.miou) > 1 else None
        return {"arm": name, "seeds": len(self.miou), "miou": fmean(self.miou), "deviation": spread,
                "seconds": median(self.seconds), "steps": round(median(self.steps))}  # fmt: skip


@dataclass(frozen=True)
class Draw:
    """What two recipes make of one draw of 16 labelled avatars, in percent."""

    draw: int
    default: float
    original: float

    @property
    def gain(self) -> float:
        """In points."""
        return self.default - self.original


def run(settings: Settings) -> Result:
    """All figures on avatars."""
    place = prepare(settings)
    arms = {
        "default": train_ours, "original": train_original,
        UNSCALED: partial(train_original, scaled=False), "reference": train_reference,
    }  # fmt: skip
    found = {name: Arm() for name in arms}
    for i, seed in enumerate(settings.seeds):
        for name, train in arms.items():  # in turn, so that a change of the machine's load meets all of them
            if name not in SIDE_ARMS or i < settings.side_seeds:
                _add(place, found[name], train, seed)
    draws = [Draw(DRAW, fmean(found["default"].miou), fmean(found["original"].miou))]
    draws += [_draw(place, number) for number in settings.other_draws]
    curve = [(n, _curve_point(place, n)) for n in settings.label_counts]
    return Result(_figures(found, draws, curve, settings, place.generator.img_resolution), {
        "generator": place.generator.hash[:12], "labels": settings.labels, "held-out images": settings.heldout,
        "seeds": list(settings.seeds), "class names": ", ".join(place.labels.class_names),
        "miou": "percent, over the pixels of all held-out images, absent classes left out; inverted held-out images",
        "our settings": asdict(SegmentationSettings()), "inversion": asdict(InversionSettings()),
        "stacked against batched logits, largest difference": check_head(place),
        "arms": [arm.row(name) for name, arm in found.items() if arm.miou],
        "by draw of the labels": [{**asdict(draw), "gain": draw.gain} for draw in draws],
        "default by labels": [arm.row(f"{n} labels") for n, arm in curve],
    })  # fmt: skip


def _figures(
    found: dict[str, Arm], draws: list[Draw], curve: list[tuple[int, Arm]], settings: Settings, size: int
) -> dict[str, Any]:
    mean = {name: fmean(arm.miou) for name, arm in found.items() if arm.miou}
    pairs = list(zip(found["reference"].miou, found["original"].miou, strict=False))  # of the same seeds
    gap = abs(fmean(ours - theirs for ours, theirs in pairs)) if pairs else None
    default, original = found["default"], found["original"]
    counts = [*[(n, fmean(arm.miou)) for n, arm in curve], (settings.labels, mean["default"])]
    return {
        "miou_default": mean["default"], "miou_reference": mean["original"],
        "miou_reference_unscaled": mean.get(UNSCALED), "miou_gain": mean["default"] - mean["original"],
        "miou_gain_over_draws": fmean(draw.gain for draw in draws) if settings.other_draws else None,
        "reference_gap_to_original": gap,
        "labels_to_match_16": labels_to_match(counts, mean["original"]) if curve else None,
        f"train_speedup_{size}": median(original.seconds) / median(default.seconds),
    }  # fmt: skip


def labels_to_match(counts: Sequence[tuple[int, float]], goal: float) -> int | None:
    """The fewest labels that reach ``goal``; None if none do.

    Example:
        >>> labels_to_match([(1, 40.0), (2, 52.0), (4, 61.0)], 50.0)
        2
    """
    return min((n for n, score in counts if score >= goal), default=None)


def prepare(settings: Settings) -> Workplace:
    """Load the generator, render labelled and held-out avatars, invert both (kept in the cache)."""
    generator = load_generator(resolve(settings.generator)).to(settings.device)
    size = generator.img_resolution
    unseen = render_avatars(settings.heldout, "heldout", 0, size, masks=True)
    return Workplace(generator, draw_labels(generator, settings, DRAW), invert_all(generator, unseen), settings)


def draw_labels(generator: Generator, settings: Settings, draw: int) -> Labels:
    """Another 16 labelled avatars for each ``draw``, inverted."""
    return invert_all(generator, stratified_labels(draw, settings.labels, resolution=generator.img_resolution))


def invert_all(generator: Generator, avatars: AvatarSet) -> Labels:
    """Codes of rendered avatars with their true masks."""
    images, settings = torch.from_numpy(avatars.images), InversionSettings()
    found = invert(generator, images, settings, cache=InversionCache(), progress=True)
    return Labels(found.latent, torch.from_numpy(avatars.masks), avatars.classes.names)


def train_ours(place: Workplace, seed: int) -> tuple[Head, float, int]:
    """The default head with its default settings."""
    labels = place.labels
    start = time.perf_counter()
    settings = SegmentationSettings(seed=seed)
    head = head_for(place.generator, "default", len(labels.class_names), seed, members=place.settings.members)
    trained = train_head(
        head, place.generator, labels, settings, progress=False, trainer=_devices(place.settings.device)
    )  # fmt: skip
    return trained.head, time.perf_counter() - start, trained.steps


def train_original(place: Workplace, seed: int, scaled: bool = True) -> tuple[Head, float, int]:
    """The original recipe; its members are then scored as one ``reference`` head, which gives the same logits."""
    labels, settings = place.labels, place.settings
    start = time.perf_counter()
    limit = small_class_limit(labels.masks.shape[-1], scaled)
    pixels = gather_pixels(place.generator, replace(labels, masks=without_small_classes(labels.masks, limit)))
    trained = train_ensemble(pixels, len(labels.class_names), seed, settings.members, max_epochs=settings.max_epochs)
    seconds = time.perf_counter() - start
    head = head_of_members([m.state_dict() for m in trained.members], place.generator)
    return head, seconds, round(median(trained.steps))


def train_reference(place: Workplace, seed: int) -> tuple[Head, float, int]:
    """Our ``reference`` head, trained by the original recipe in one batched computation."""
    labels = place.labels
    start = time.perf_counter()
    limit = small_class_limit(labels.masks.shape[-1])
    settings = SegmentationSettings(recipe="original", min_class_pixels=limit, seed=seed)
    head = head_for(
        place.generator, "reference", len(labels.class_names), seed, constants=True, members=place.settings.members
    )  # fmt: skip
    trained = train_head(
        head, place.generator, labels, settings, progress=False, trainer=_devices(place.settings.device)
    )  # fmt: skip
    return trained.head, time.perf_counter() - start, trained.steps


def check_head(place: Workplace) -> float:
    """Largest difference, on a held-out image, between members on stacked features and the head that scores them."""
    pixels = gather_pixels(place.generator, place.labels[[0]])
    trained = train_ensemble(pixels, len(place.labels.class_names), members=2, max_epochs=1)
    with torch.no_grad():
        _, features = place.generator.render(place.heldout.latents[0], features=True)
    size = place.generator.img_resolution
    stacked = mean_logits(trained.members, concatenated(features, size))
    head = head_of_members([m.state_dict() for m in trained.members], place.generator).to(place.settings.device)
    return (predict(head, features).logits[0].flatten(1).T - stacked).abs().max().item()


def _draw(place: Workplace, number: int) -> Draw:
    """Both recipes once on another 16 labels: how much of the gain is owed to the draw."""
    other = replace(place, labels=draw_labels(place.generator, place.settings, number))
    default, original = Arm(), Arm()
    _add(other, default, train_ours, number)
    _add(other, original, train_original, number)
    return Draw(number, fmean(default.miou), fmean(original.miou))


def _curve_point(place: Workplace, count: int) -> Arm:
    """The default head on the first ``count`` labels, which are nested in all of them."""
    arm, fewer = Arm(), replace(place, labels=place.labels[range(count)])
    for seed in place.settings.seeds:
        _add(fewer, arm, train_ours, seed)
    return arm


def _add(place: Workplace, arm: Arm, train: Callable[[Workplace, int], tuple[Head, float, int]], seed: int) -> None:
    head, seconds, steps = train(place, seed)
    arm.miou.append(place.score(head))
    arm.seconds.append(seconds)
    arm.steps.append(steps)


def _devices(device: str) -> dict[str, Any]:
    return {"accelerator": "gpu" if device == "cuda" else "cpu", "devices": 1}
