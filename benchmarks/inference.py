"""One image's segmentation from its feature maps: the original's way against the default head as shipped."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.clock import timed
from benchmarks.formulas import ensemble_macs, feature_width
from benchmarks.original_recipe import PixelClassifier, concatenated, mean_logits
from benchmarks.report import Result
from benchmarks.settings import Settings
from benchmarks.workloads import random_generator
from networks.protocol import Features
from networks.segmentation import head_for, predict, render_maps


@torch.no_grad()
def run(settings: Settings) -> Result:
    """``infer_macs_ratio_512`` and ``infer_speedup_512``; rendering is in neither."""
    size, classes = settings.large, settings.classes
    generator = random_generator(size, settings.channel_base, settings.device)
    _, maps = render_maps(generator, generator.sample(1, 0).to(settings.device))
    width = feature_width(size, settings.channel_base)
    head = head_for(generator, "default", classes, members=settings.members).to(settings.device).eval()
    theirs = ensemble_macs(width, size, classes, settings.members)
    ours = counted_macs(lambda: predict(head, maps))
    fast = median(timed(settings.device, lambda: predict(head, maps)) for _ in range(settings.repeats + 1))
    slow = original_seconds(settings, {name: maps[name] for name in generator.feature_shapes}, width)
    figures = {f"infer_macs_ratio_{size}": theirs / ours, f"infer_speedup_{size}": slow / fast}
    return Result(figures, {
        "classes": classes, "members": settings.members, "original gigamacs": theirs / 1e9, "our gigamacs": ours / 1e9,
        "original seconds": slow, "our seconds": fast, "repeats": settings.repeats,
        "share of rows the original classified": f"1/{settings.infer_share}",
    })  # fmt: skip


def original_seconds(settings: Settings, features: Features, width: int) -> float:
    """Enlarge, concatenate, ten networks, mean, arg max. With a share of the rows, the networks' time is multiplied."""
    rows = settings.large // settings.infer_share
    members = [PixelClassifier(width, settings.classes).to(settings.device).eval() for _ in range(settings.members)]
    seconds = []
    for _ in range(settings.repeats):
        values: list[torch.Tensor] = []
        stacked = timed(settings.device, lambda: values.append(concatenated(features, settings.large, rows)))  # noqa: B023 -- called at once
        classified = timed(settings.device, lambda: mean_logits(members, values[0]).argmax(dim=1))  # noqa: B023
        seconds.append(stacked + classified * settings.infer_share)
    return median(seconds)


def counted_macs(work: Callable[[], object]) -> float:
    """Multiply-accumulates of the matrix products and convolutions in ``work``."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops() / 2

