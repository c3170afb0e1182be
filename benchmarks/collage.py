"""Collage against the original recipe: memory and time of mixing classes at each pixel, cost of styles by region.

Prints a table and, as the last line, one JSON object; full runs are kept.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that the script runs from any folder, uninstalled

import torch
from torch import Tensor

from benchmarks import report
from benchmarks.clock import in_turn
from benchmarks.settings import ROOT
from benchmarks.workloads import random_generator
from launch.prepare import keep_freed_memory
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.generators import load_generator
from networks.checkpoints.zoo import resolve
from networks.collage import Collage, Region, Repainted, feathered, render_collage
from networks.collage.conditional import SpatialAffines
from networks.protocol import Generator
from networks.sngan import ConditionalGenerator

FRAMES, CLASSES, RESOLUTION = 16, 143, 256                     # of the original's demo
CHANNELS = {256: [768, 768, 384, 384, 192, 96, 48], 32: [32, 32, 16, 16]}  # the release's at 256x256
REGIONS = 4
RESULTS = {False: ROOT / "benchmarks" / "results", True: ROOT / "runs" / "benchmarks" / "quick"}


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    frames: int = FRAMES
    resolution: int = RESOLUTION
    classes: int = CLASSES
    repeats: int = 5
    large: int = 256              # pixels a side of the random StyleGAN2
    channel_base: int = 16384     # its width


class ClassMix:
    """Two classes in every frame, the second in a soft region that grows from frame to frame."""

    def __init__(self, size: Size) -> None:
        self.size = size
        torch.manual_seed(0)
        self.synthesis = ConditionalGenerator(size.resolution, size.classes, CHANNELS[size.resolution]).eval().synthesis
        mask = torch.zeros(1, size.resolution, size.resolution)
        mask[:, : size.resolution // 2, : size.resolution // 3] = 1
        self.masks = feathered(mask, 0.03) * torch.linspace(0, 1, size.frames)[:, None, None]

    @torch.no_grad()
    def ours(self) -> int:
        """Gains and biases of every layer, one layer after another; gives the bytes of the maps of shares."""
        eye = torch.eye(self.size.classes)
        labels = eye[[0, 1]].expand(self.size.frames, -1, -1)
        affines = SpatialAffines(self.synthesis, labels, [Region(self.masks)])
        for _ in affines.values():
            pass
        return sum(2 * self.size.frames * size**2 * 4 for _, size in self.synthesis.norms.values())

    @torch.no_grad()
    def recipe(self) -> int:
        """The original's: a weight for each class at each pixel of each layer, all layers first; gives their bytes."""
        maps = []
        for _, size in self.synthesis.norms.values():
            weights = torch.zeros(self.size.frames, size, size, self.size.classes)
            mask = torch.nn.functional.interpolate(self.masks[:, None], size=[size, size], mode="bilinear")[:, 0]
            weights[..., 0], weights[..., 1] = 1 - mask, mask
            maps.append(weights)
        for weights, (norm, _) in zip(maps, self.synthesis.norms.values(), strict=True):
            for table in (norm.gammas, norm.betas):
                (weights @ table).permute(0, 3, 1, 2)
        return sum(weights.nbytes for weights in maps)


def spatial_cost(generator: Generator, repeats: int) -> float:
    """A forward pass with REGIONS regions of their own styles in every layer, over a plain one, of one image."""
    device, size = generator.device, generator.img_resolution
    latent = generator.sample(1 + REGIONS, seed=0)
    rows = torch.arange(size, device=device) * REGIONS // size
    regions = [
        Repainted(Region(feathered((rows == k).float()[None, None].expand(1, size, size), 0.02)), ws[None])
        for k, ws in enumerate(latent.tensors["ws"][2:])
    ]  # fmt: skip

    @torch.no_grad()
    def run(collage: Collage) -> Tensor:
        return render_collage(generator, latent[:1], collage)

    works = {"plain": lambda: run(Collage()), "regions": lambda: run(Collage(regions))}
    seconds = in_turn(device, works, repeats)
    return seconds["regions"] / seconds["plain"]


def measure(size: Size, device: str, zoo: Generator) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """The headline figures, and a row for each side of the mix of classes."""
    mix = ClassMix(size)
    held: dict[str, int] = {}
    arms = {"ours": lambda: held.update(ours=mix.ours()), "original": lambda: held.update(original=mix.recipe())}
    seconds = in_turn("cpu", arms, size.repeats)
    rows = [{"side": name, "seconds": seconds[name], "maps_mb": held[name] / 1e6} for name in arms]
    ours, theirs = rows
    figures = {
        "class_mix_memory_ratio": theirs["maps_mb"] / ours["maps_mb"],
        "class_mix_speedup": theirs["seconds"] / ours["seconds"],
        "spatial_cost_k4": spatial_cost(random_generator(size.large, size.channel_base, device), size.repeats),
        f"spatial_cost_k4_{zoo.img_resolution}": spatial_cost(zoo.to(device), 3 * size.repeats),
    }
    return figures, rows


def main(argv: Sequence[str] | None = None) -> int:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="at most 5 minutes on 2 cores: fewer rounds")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, help="threads of torch")
    parser.add_argument("--out", type=Path, help="JSON file of the results")
    arguments = parser.parse_args(argv)
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise GanvasError("--device cuda, but torch sees no GPU here: use --device cpu.")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    size = replace(Size(), repeats=1) if arguments.quick else Size()
    figures, rows = measure(size, arguments.device, load_generator(resolve(Path("zoo/avatars64.safetensors"))))
    words = "".join([" --quick" * arguments.quick, f" --threads {arguments.threads}" if arguments.threads else ""])
    report.keep_rows(
        arguments.out or RESULTS[arguments.quick] / f"collage-{arguments.device}.json",
        f"Collage\n\nTwo of {size.classes} classes mixed at each pixel of {size.frames} frames, at every layer of the "
        f"release's {size.resolution}x{size.resolution} generator: gains and biases alone, on the CPU. Seconds of "
        "processor time on a CPU; medians of the rounds. Megabytes of the maps of weights that are held at once.",
        f"python benchmarks/collage.py --device {arguments.device}{words}", rows, {**figures, **vars(size)},
        arguments.device,
    )  # fmt: skip
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GanvasError as error:
        sys.exit(f"collage.py: {error}")
