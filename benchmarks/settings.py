"""How large a benchmark run is: the full one, the quick one, and what tests make of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Settings:
    """Sizes and counts. The defaults are the full run; ``quick`` shrinks what takes time."""

    device: str = "cpu"                                        # cpu or cuda
    threads: int | None = None                                 # torch's; None: torch decides
    generator: Path = ROOT / "zoo" / "avatars64.safetensors"   # for the avatars section
    original: Path | None = None                               # a checkout of the original's code
    is_quick: bool = False                                     # stands in the record

    labels: int = 16                                           # labelled images
    heldout: int = 300                                         # held-out images that are inverted and scored
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)                   # trainings whose mean is reported
    side_seeds: int = 3                                        # of them, how many the side arms run too
    other_draws: tuple[int, ...] = (1, 2, 3, 4)                # draws of the labels that are trained once each
    label_counts: tuple[int, ...] = (1, 2, 4, 8)               # points of labels_to_match_16 below all of them
    members: int = 10                                          # of every ensemble
    max_epochs: int = 100                                      # the original's limit

    large: int = 512                                           # the configuration of the *_512 figures
    huge: int = 1024                                           # the configuration of the peak_gb_1024_* figures
    channel_base: int = 32768                                  # of both
    classes: int = 11                                          # random label maps have as many as the avatars
    store_check: int = 512                                     # resolution at which the feature stack is measured
    budget: float = 600.0                                      # seconds of our training that are run at most ...
    least_steps: int = 17                                      # ... but at least so many steps: past a second rendering
    step_draws: int = 300                                      # steps of the original that are timed
    loader_draws: int = 300                                    # batches of its loader that are timed
    step_pixels: int = 65536                                   # pixels in memory meanwhile
    infer_share: int = 1                                       # the original classifies 1 / so many of the rows
    repeats: int = 3                                           # inference timings

    growth_base: tuple[int, int, int] = (8, 11, 256)           # labels, classes, resolution where another one varies
    growth_labels: tuple[int, ...] = (2, 4, 8, 16, 32)
    growth_classes: tuple[int, ...] = (2, 11, 34, 64)
    growth_resolutions: tuple[int, ...] = (64, 128, 256, 512)
    growth_budget: float = 20.0                                # seconds of training for each point

    def quick(self) -> Settings:
        """At most five minutes on two cores: fewer seeds and images, step times instead of whole runs."""
        return replace(
            self, is_quick=True, heldout=64, seeds=(0,), side_seeds=0, other_draws=(), label_counts=(), store_check=256,
            budget=10.0, least_steps=4, step_draws=100, loader_draws=50, step_pixels=16384, infer_share=16, repeats=1,
            growth_base=(4, 11, 64), growth_labels=(4, 8), growth_classes=(11, 34),
            growth_resolutions=(64, 128), growth_budget=2.0,
        )  # fmt: skip

    def describe(self) -> dict[str, Any]:
        """As plain values, without the paths of this machine."""
        return {k: v for k, v in asdict(self).items() if not isinstance(v, Path)}
