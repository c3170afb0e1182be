"""What the channels of style space do: one at a time and by gradients, beside one render each time."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from benchmarks.clock import in_turn, spent
from benchmarks.mapper_settings import Settings
from benchmarks.mapper_steps import Files
from benchmarks.original_directions import IMAGES, OriginalDirections
from benchmarks.report import Result
from benchmarks.workloads import random_generator
from editors.text_directions import RelevanceSettings, channel_directions, measure_relevance
from launch.compose import compose
from launch.train_directions import agreement
from networks.channel_statistics import channel_statistics, convolution_paths
from networks.checkpoints.generators import load_generator
from networks.clip import ClipModel, load_clip
from networks.relevance import Relevance, text_direction

SAMPLES = 16   # codes that deviations are measured on; their cost is not in the figures of either side


@dataclass
class Directions:
    """One generator, one CLIP, and both ways to look at channels."""

    generator: Any
    clip: ClipModel
    images: int      # of ours, for a channel; each is moved up and down
    renders: int     # of the original's, one at a time
    repeats: int     # rounds

    def __post_init__(self) -> None:
        self.generator.hash = self.generator.hash or "random weights"
        drawn = self.generator.in_styles(self.generator.sample(self.images, seed=0))
        spread = channel_statistics(self.generator, SAMPLES)
        self.original = OriginalDirections(self.generator, self.clip, drawn, spread)
        self.paths = convolution_paths(self.generator, RelevanceSettings().finest)
        self.channels = sum(drawn.tensors[path].shape[1] for path in self.paths)

    def exhaustive(self) -> dict[str, Any]:
        """Seconds of an image with one channel moved, of both sides in turn."""
        path, batch = self.paths[-1], min(RelevanceSettings().batch, 2 * self.images)
        settings = RelevanceSettings("exhaustive", self.images, samples=SAMPLES, batch=batch)
        works: dict[str, Callable[[], object]] = {
            "ours": lambda: channel_directions(self.generator, self.clip, settings, [(path, 0)]),
            "original": lambda: self.original.some(path, self.renders),
        }
        seconds = in_turn(self.generator.device, works, self.repeats)
        ours, theirs = seconds["ours"] / (2 * self.images), seconds["original"] / self.renders
        return {"way": "exhaustive", "resolution": self.generator.img_resolution, "our batch": batch,
                "ours, s/image": ours, "original, s/image": theirs, "ratio": theirs / ours}  # fmt: skip

    def whole(self, each: float) -> float:
        """Seconds of the original's measurement of all channels, at ``each`` an image."""
        return self.original.renders(self.channels) * each

    def gradient(self, dims: int) -> float:
        """Seconds of the gradient estimate in some images, by the first ``dims`` dimensions of the CLIP alone."""
        clip = of_dims(self.clip, dims)
        settings = RelevanceSettings("gradient", self.images, samples=SAMPLES, batch=self.images)
        return spent(self.generator.device, lambda: measure_relevance(self.generator, clip, settings))


class Beginning(nn.Module):
    """An image tower of which the first dimensions are kept."""

    def __init__(self, tower: nn.Module, dims: int) -> None:
        super().__init__()
        self.tower, self.dims = tower, dims

    def forward(self, images: Tensor) -> Tensor:
        return self.tower(images)[:, : self.dims]


def of_dims(clip: ClipModel, dims: int) -> ClipModel:
    """A CLIP whose vectors have fewer dimensions: a gradient of it costs as much for each of them."""
    return ClipModel(clip.identity, dims, clip.preprocessing, Beginning(clip.image_tower, dims), clip.text_tower)


def run(settings: Settings) -> Result:
    """``directions_ratio``, exhaustive at the large size; there the gradient's, multiplied up from few dimensions."""
    with tempfile.TemporaryDirectory() as folder:
        clip = load_clip(f"open_clip:{settings.model}:{Files.written(Path(folder), settings.model).clip}")
        generator = random_generator(settings.large, settings.channel_base, settings.device)
        way = Directions(generator, clip.to(settings.device), settings.images, settings.renders, 1)
        row = way.exhaustive()
        few, more = settings.dims
        way.gradient(few)  # warms up
        at = [way.gradient(dims) for dims in (few, more)]
    each = (at[1] - at[0]) / (more - few)           # seconds of one dimension
    ours = (at[0] + (clip.dim - few) * each) * IMAGES / settings.images
    theirs = way.whole(row["original, s/image"])
    return Result({"directions_ratio": row["ratio"], f"directions_ratio_gradient_{settings.large}": theirs / ours}, {
        "channels": way.channels, "dimensions of the CLIP": clip.dim, "images for each channel": IMAGES,
        "gradient, seconds of a dimension in the images": each, "images of the gradient": settings.images,
        "gradient, hours in all (multiplied up)": ours / 3600, "original, hours in all (multiplied up)": theirs / 3600,
        "rows": [row],
    })  # fmt: skip


def run_small(settings: Settings) -> Result:
    """``directions_ratio_gradient`` on avatars, run whole, and how alike both ways rank channels (Spearman)."""
    generator = load_generator(settings.generator).to(settings.device)
    clip = load_clip("avatar").to(settings.device)
    way = Directions(generator, clip, settings.small_images, settings.small_renders, 3)
    row = way.exhaustive()
    chosen = RelevanceSettings("gradient", settings.small_images)
    found: list[Relevance] = []
    seconds = spent(generator.device, lambda: found.append(measure_relevance(generator, clip, chosen)))
    task = compose("train", ["experiment=directions/avatars"]).task
    texts = [text_direction(clip, text, task.neutral) for text in task.texts]
    alike = agreement(generator, clip, chosen, found[0], texts, settings.checked)
    theirs = way.whole(row["original, s/image"]) * settings.small_images / IMAGES
    return Result({
        "directions_ratio_gradient": theirs / seconds, "directions_agreement": alike["agreement"],
        "directions_agreement_least": alike["agreement_least"], f"directions_ratio_{row['resolution']}": row["ratio"],
    }, {
        "generator": settings.generator.name, "clip": str(clip.identity), "channels": way.channels,
        "images for each channel": settings.small_images, "channels checked one at a time": settings.checked,
        "texts": len(texts), "gradient, seconds in all": seconds, "original, seconds in all (multiplied up)": theirs,
        "rows": [row],
    })  # fmt: skip
