"""Time and memory of training: ours measured, the original's by its time a step, its number of steps and its store."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, count
from statistics import median
from typing import Any

import torch
from torch import Tensor

from benchmarks import original_recipe as recipe
from benchmarks.clock import now
from benchmarks.formulas import feature_width, stack_gb, store_gb
from benchmarks.memory import in_child
from benchmarks.report import Result
from benchmarks.settings import Settings
from benchmarks.workloads import random_generator

WARM_UP = 20           # steps before the clock starts
BLOCK = 10             # steps timed together
HUGE_BUDGET = 60.0     # seconds of training at the huge size: its peak is reached in the first steps


def run(settings: Settings) -> Result:
    """``train_speedup_512`` and ``memory_ratio_512``."""
    size, labels, classes = settings.large, settings.labels, settings.classes
    width = feature_width(size, settings.channel_base)
    ours = in_child("train", settings.threads, **training_arguments(settings, size, labels, classes, settings.budget))
    step = original_step_seconds(settings, width, classes)
    features = feature_seconds(settings, size)
    steps = recipe.median_steps(labels * size**2)
    member = step["shuffled"] * steps
    seconds = labels * features + settings.members * member
    loader = labels * features + settings.members * step["loader"] * steps
    stack, peak = store_gb(width, size, labels), total_peak(ours)
    figures = {
        f"train_speedup_{size}": seconds / ours["seconds"],
        f"train_speedup_{size}_loader": loader / ours["seconds"],
        f"memory_ratio_{size}": stack / peak,
    }
    return Result(figures, {
        "labels": labels, "classes": classes, "members": settings.members, "feature width": width,
        "ours": {**ours, "measured": "whole" if ours["whole"] else "its parts, multiplied by their number"},
        "original": {
            "seconds": seconds, "seconds with its loader": loader, "step seconds": step["shuffled"],
            "step seconds with its loader": step["loader"], "steps timed": settings.step_draws,
            "steps a member": steps, "feature seconds an image": features,
            "measured": "its parts, multiplied by their number", "store gb": stack,
        },
        "store check": check_stack(settings),
    })  # fmt: skip


def run_huge(settings: Settings) -> Result:
    """``peak_gb_1024_train`` and ``peak_gb_1024_infer``: peak resident set of whole processes."""
    size, classes = settings.huge, settings.classes
    budget = min(settings.budget, HUGE_BUDGET)
    train = in_child("train", settings.threads, **training_arguments(settings, size, settings.labels, classes, budget))
    infer = in_child(
        "infer", settings.threads, resolution=size, channel_base=settings.channel_base, classes=classes,
        members=settings.members, device=settings.device,
    )  # fmt: skip
    figures = {f"peak_gb_{size}_train": train["peak_gb"], f"peak_gb_{size}_infer": infer["peak_gb"]}
    for name, job in (("train", train), ("infer", infer)):
        if "peak_gpu_gb" in job:
            figures[f"peak_gpu_gb_{size}_{name}"] = job["peak_gpu_gb"]
    width = feature_width(size, settings.channel_base)
    return Result(figures, {
        "labels": settings.labels, "classes": classes, "members": settings.members, "train": train,
        "original store gb, by formula": store_gb(width, size, settings.labels),
        "original stack of one image gb, by formula": stack_gb(width, size),
    })  # fmt: skip


def run_growth(settings: Settings) -> Result:
    """Time and memory against labels, classes and resolution, one varied at a time."""
    labels, classes, size = settings.growth_base
    points = [("labels", n, classes, size) for n in settings.growth_labels]
    points += [("classes", labels, k, size) for k in settings.growth_classes]
    points += [("resolution", labels, classes, r) for r in settings.growth_resolutions]
    crossing_once = dict.fromkeys(point[1:] for point in points)  # the curves share a point
    measured = {point: _growth_point(settings, *point) for point in crossing_once}
    rows = [{"varied": point[0], **measured[point[1:]]} for point in points]
    return Result({"growth_points": len(rows)}, {"members": settings.members, "growth": rows})


def _growth_point(settings: Settings, labels: int, classes: int, size: int) -> dict[str, Any]:
    width = feature_width(size, settings.channel_base)
    arguments = training_arguments(settings, size, labels, classes, settings.growth_budget)
    ours = in_child("train", settings.threads, **arguments)
    step = original_step_seconds(settings, width, classes, loader=False)["shuffled"]
    steps = recipe.median_steps(labels * size**2) * settings.members
    return {
        "labels": labels, "classes": classes, "resolution": size,
        "our seconds": ours["seconds"], "original seconds": step * steps,
        "our peak gb": total_peak(ours), "original store gb": store_gb(width, size, labels),
    }  # fmt: skip


def training_arguments(settings: Settings, size: int, labels: int, classes: int, seconds: float) -> dict[str, Any]:
    """Arguments of the job ``train``."""
    return {
        "resolution": size, "channel_base": settings.channel_base, "labels": labels, "classes": classes,
        "members": settings.members, "device": settings.device,
        "limits": {"seconds": seconds, "least_steps": settings.least_steps, "one_rendering": settings.is_quick},
    }  # fmt: skip


def total_peak(job: dict[str, Any]) -> float:
    """Peak of the process and, on a GPU, of the memory there as well."""
    return job["peak_gb"] + job.get("peak_gpu_gb", 0.0)


def original_step_seconds(settings: Settings, width: int, classes: int, loader: bool = True) -> dict[str, float]:
    """Median time of a step of the original, batch included.

    The pixels in memory are fewer than the original's, on the device, and of random values: each favours the original
    or makes no difference.
    """
    pixels = recipe.Pixels(
        torch.randn(settings.step_pixels, width, device=settings.device),
        torch.randint(classes, (settings.step_pixels,), device=settings.device),
    )
    model = recipe.PixelClassifier(width, classes).to(settings.device)
    batches = _endless(recipe.shuffled_batches, pixels)
    found = {"shuffled": _median_step(recipe.Step(model), batches, settings.step_draws)}
    if loader:
        on_host = recipe.Pixels(pixels.values.cpu(), pixels.classes.cpu())
        slow = recipe.Step(model, fused=False)
        found["loader"] = _median_step(slow, _endless(recipe.loader_batches, on_host), settings.loader_draws)
    return found


def _endless(batches: recipe.Batches, pixels: recipe.Pixels) -> Iterator[tuple[Tensor, Tensor]]:
    rng = torch.Generator().manual_seed(0)
    return chain.from_iterable(batches(pixels, rng) for _ in count())


def _median_step(step: recipe.Step, batches: Iterator[tuple[Tensor, Tensor]], draws: int) -> float:
    device, seconds = next(step.classifier.parameters()).device, []
    for _ in range(WARM_UP):
        x, y = next(batches)
        step(x.to(device), y.to(device))
    for _ in range(max(draws // BLOCK, 1)):
        # A GPU works behind the program's back: it is waited for once a block, which costs a step next to nothing.
        start = now(device)
        for _ in range(BLOCK):
            x, y = next(batches)
            step(x.to(device), y.to(device))
        seconds.append((now(device) - start) / BLOCK)
    return median(seconds)


@torch.no_grad()
def feature_seconds(settings: Settings, size: int) -> float:
    """Time to render one image and to enlarge and concatenate its maps."""
    generator = random_generator(size, settings.channel_base, settings.device)
    latent = generator.sample(1, 0).to(settings.device)
    generator.render(latent)  # warm
    start = now(settings.device)
    _, features = generator.render(latent, features=True)
    # In a quick run not all rows are copied, which favours the original.
    recipe.concatenated(features, size, rows=size // settings.infer_share)
    return now(settings.device) - start


def check_stack(settings: Settings) -> dict[str, Any]:
    """The formula of the original's store against one measured image."""
    size = settings.store_check
    job = in_child(
        "feature_stack", settings.threads, resolution=size, channel_base=settings.channel_base, device="cpu"
    )  # fmt: skip
    expected = store_gb(feature_width(size, settings.channel_base), size, 1)
    return {"resolution": size, "formula gb": expected, "measured gb": job["grown_gb"]}
