"""Options of ``task=directions``: what each channel of a generator's style space does, in the eyes of a CLIP."""

from __future__ import annotations

from dataclasses import dataclass

from launch.options import option
from launch.schemas import TaskConfig


@dataclass
class RelevanceConfig:
    """Arguments of ``editors.text_directions.RelevanceSettings``."""

    _target_: str = option("editors.text_directions.RelevanceSettings", "class", runtime=("seed",))
    how: str = option("gradient", "gradient: all channels at once, to first order; exhaustive: one at a time, as the "
                      "original does")  # fmt: skip
    images: int = option(100, "samples that the channels are moved in")
    step: float = option(5.0, "standard deviations that a channel moves, up and down")
    samples: int = option(10_000, "codes that mean and deviation of the channels are taken from")
    truncation: float = option(1.0, "of the samples: 1 for the whole variety")
    finest: int = option(128, "channels of blocks of a higher resolution are left out, and never move")
    resolution: int = option(256, "pixels a side that images are rendered at, at most", memory=True)
    batch: int = option(16, "images rendered at once", memory=True, free=True)


@dataclass
class DirectionsConfig(TaskConfig):
    """Measure what the channels of StyleGAN2's style space do (StyleCLIP's global directions): once for a generator."""

    name: str = option("directions", "which training function runs", hidden=True)
    clip: str = option(
        "avatar", "whose eyes: avatar (the zoo's), a bundle, open_clip:MODEL:FILE or transformers:FOLDER", bundle=True
    )
    relevance: RelevanceConfig = option(RelevanceConfig, "how it is measured")
    check: int = option(
        64, "of how=gradient: channels that are measured one at a time too, to see whether both rank them alike; 0: "
        "none"
    )  # fmt: skip
    texts: list[str] = option(lambda: [
        "a smiling person", "a sad person", "a person wearing glasses", "a person with red hair", "a bald person",
        "a person with a beard", "a person wearing a hat", "a surprised person",
    ], "that channels are ranked by in that comparison")  # fmt: skip
    neutral: str = option("a person", "text that the others begin at; several, separated by |, count by their mean")


SCHEMAS = {"task/directions": DirectionsConfig}
