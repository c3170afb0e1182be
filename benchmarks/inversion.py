"""How well images are inverted by number of steps: from an encoder's codes, and from the mean of W.

Every point is a run of its own, since the schedule of the learning rate depends on the number of steps. Prints a table
and, as the last line, one JSON object; results are kept.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that the script runs from any folder, uninstalled

import torch

from benchmarks import report
from benchmarks.settings import ROOT
from datamodules.avatars import render_avatars
from editors.invert import InversionSettings, invert
from launch.prepare import keep_freed_memory
from networks.checkpoints.encoders import find_encoder
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.generators import load_generator
from networks.checkpoints.zoo import resolve

STEPS = {"encoder": (0, 10, 30, 60, 100, 300), "mean": (30, 60, 100, 300, 1000)}
QUICK = {"encoder": (0, 30, 100), "mean": (30, 100, 300)}


@dataclass(frozen=True)
class Point:
    """One start and number of steps."""

    start: str
    steps: int
    psnr: float          # dB, mean over images
    perceptual: float    # mean over images
    seconds: float       # of all images

    def beats(self, other: Point) -> bool:
        """Whether it is better by both measures."""
        return self.psnr > other.psnr and self.perceptual < other.perceptual


def main(argv: Sequence[str] | None = None) -> int:
    """Measure every point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="at most 5 minutes on 2 cores: fewer images and points")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--generator", type=Path, default=Path("zoo/avatars64.safetensors"))
    parser.add_argument("--threads", type=int, help="threads of torch")
    parser.add_argument("--out", type=Path, help="JSON file that results are kept in")
    arguments = parser.parse_args(argv)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    generator = load_generator(resolve(arguments.generator)).to(arguments.device)
    if find_encoder(generator) is None:
        raise GanvasError(f"no encoder of {arguments.generator} lies beside it or in the zoo: train one, "
                          "`ganvas train experiment=encoder/folder`.")  # fmt: skip
    count, plan = (32, QUICK) if arguments.quick else (300, STEPS)
    images = torch.from_numpy(render_avatars(count, "heldout", 0, generator.img_resolution).images)
    points = [measure(generator, images, start, steps) for start, all_steps in plan.items() for steps in all_steps]
    folder = ROOT / "runs" / "benchmarks" / "quick" if arguments.quick else ROOT / "benchmarks" / "results"
    report.keep_rows(
        arguments.out or folder / f"inversion-{arguments.device}.json",
        f"Inversion\n\n{count} held-out avatars, the generator and encoder of `zoo/`.",
        f"python benchmarks/inversion.py --device {arguments.device}" + (" --quick" if arguments.quick else ""),
        [vars(point) for point in points],
        {**figures(points), "images": count, "settings": InversionSettings().of_result()}, arguments.device,
    )  # fmt: skip
    return 0


def measure(generator: Any, images: torch.Tensor, start: str, steps: int) -> Point:
    """Invert all images; no steps at all is the encoder alone."""
    begin = time.perf_counter()
    found = invert(generator, images, InversionSettings(steps=steps, start=start, batch=50), progress=True)
    seconds = time.perf_counter() - begin
    return Point(start, steps, found.psnr.mean().item(), found.distance.mean().item(), seconds)


def figures(points: Sequence[Point]) -> dict[str, Any]:
    """What the points say: whether the encoder and 100 steps beat 300 from the mean, and how many steps it is worth."""
    by = {(p.start, p.steps): p for p in points}
    alone = by["encoder", 0]
    worth = [p.steps for p in points if p.start == "mean" and not alone.beats(p)]
    return {
        "encoder_100_beats_mean_300": by["encoder", 100].beats(by["mean", 300]),
        "psnr_encoder": alone.psnr, "psnr_encoder_100": by["encoder", 100].psnr, "psnr_mean_300": by["mean", 300].psnr,
        "perceptual_encoder": alone.perceptual, "perceptual_encoder_100": by["encoder", 100].perceptual,
        "perceptual_mean_300": by["mean", 300].perceptual,
        "break_even_steps": min(worth, default=None),  # fewest steps from the mean that the encoder alone does not beat
    }  # fmt: skip


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GanvasError as error:
        sys.exit(f"inversion.py: {error}")
