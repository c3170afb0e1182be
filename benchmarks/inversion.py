"""How well images are inverted by number of steps: from an encoder's codes, and from the mean of W.

Every point is a run of its own, since the schedule of the learning rate depends on the number of steps; it is kept as
soon as it is measured, so that an interrupted run goes on. Prints a table and, as the last line, one JSON object; the
results are kept with a chart and a sheet of pictures.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that the script runs from any folder, uninstalled

import torch
from PIL import Image

from benchmarks import report
from benchmarks.settings import ROOT
from datamodules.avatars import render_avatars
from editors.inversion_cache import ALGORITHM
from editors.invert import Inversion, InversionSettings, invert
from launch.prepare import keep_freed_memory
from launch.reports.pictures import panels
from networks.checkpoints.atomic import atomic_path
from networks.checkpoints.bundle import tensors_hash
from networks.checkpoints.encoders import find_encoder, load_encoder
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.generators import load_generator
from networks.checkpoints.zoo import resolve
from networks.critics import perceptual
from networks.critics.lpips_distance import PerceptualCritic
from networks.grids import to_uint8
from networks.latent import Latent

STEPS = {"encoder": (0, 10, 30, 60, 100), "mean": (30, 100, 300)}
QUICK = {"encoder": (0, 30, 100), "mean": (30, 100, 300)}
IMAGES, QUICK_IMAGES = 300, 32
RESULTS = {False: ROOT / "benchmarks" / "results", True: ROOT / "runs" / "benchmarks" / "quick"}
PARTIAL = ROOT / "runs" / "benchmarks" / "inversion-points.json"

AFTER_ENCODER, AFTER_MEAN = 100, 300  # steps that are compared: the figures and the sheet
SHOWN = 8                             # avatars on the sheet
CURVES = {"encoder": "encoder and k steps", "mean": "mean of W and k steps"}


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


@dataclass(frozen=True)
class Bench:
    """A generator, an encoder of it, and the images that both are measured on."""

    generator: Any
    encoder: Any
    critic: PerceptualCritic
    images: torch.Tensor  # uint8 [N, C, R, R]

    def invert(self, start: str, steps: int) -> tuple[Inversion, float]:
        """Invert all images, and the seconds that it took; no steps at all is the encoder alone."""
        begin = time.perf_counter()
        settings = InversionSettings(steps=steps, start="mean", batch=50)
        found = invert(self.generator, self.images, settings, self.critic, self._codes(start), progress=True)
        return found, time.perf_counter() - begin

    @torch.no_grad()
    def _codes(self, start: str) -> Latent | None:
        if start == "mean":
            return None
        pieces = [x.to(self.generator.device) / 127.5 - 1 for x in self.images.split(50)]
        codes = torch.cat([self.encoder(x) for x in pieces])
        return Latent("w", {"w": codes}) if codes.ndim == 2 else Latent("w+", {"ws": codes})


def main(argv: Sequence[str] | None = None) -> int:
    """Measure every point that no earlier run measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="at most 5 minutes on 2 cores: fewer images and points")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--generator", type=Path, default=Path("zoo/avatars64.safetensors"))
    parser.add_argument("--encoder", type=Path, help="an encoder's file; the one found for the generator if left out")
    parser.add_argument("--threads", type=int, help="threads of torch")
    parser.add_argument("--out", type=Path, help="JSON file of the results; a chart and a sheet go beside it")
    arguments = parser.parse_args(argv)
    if not (arguments.quick or arguments.out) and arguments.generator != parser.get_default("generator"):
        parser.error("--generator needs --out: the kept results are the zoo's")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    count, plan = (QUICK_IMAGES, QUICK) if arguments.quick else (IMAGES, STEPS)
    bench = prepare(arguments, count)
    out = arguments.out or RESULTS[arguments.quick] / f"inversion-{arguments.device}.json"
    kept = Partial(PARTIAL, bench, arguments.device)
    points = [kept.measure(bench, start, steps) for start, all_steps in plan.items() for steps in all_steps]
    words = "".join(
        f" --{name} {value}" for name in ("generator", "encoder", "threads")
        if (value := getattr(arguments, name)) != parser.get_default(name)
    )  # fmt: skip
    words += " --quick" if arguments.quick else ""
    report.keep_rows(
        out, f"Inversion\n\n{count} held-out avatars, the generator {arguments.generator.name}, "
        + (f"the encoder {arguments.encoder.name}." if arguments.encoder else "and the encoder found for it."),
        f"python benchmarks/inversion.py --device {arguments.device}{words}",
        [vars(point) for point in points],
        {**figures(points), "images": count, "encoder_hash": bench.encoder.hash,
         "settings": InversionSettings().of_result()}, arguments.device,
    )  # fmt: skip
    pictures = {out.with_suffix(".png"): chart(points), out.with_name(f"{out.stem}-sheet.png"): sheet(bench)}
    for path, picture in pictures.items():
        with atomic_path(path) as temporary:
            picture.save(temporary, format="PNG")
    return 0


def prepare(arguments: argparse.Namespace, count: int) -> Bench:
    """Load what is measured.

    Raises:
        GanvasError: if there is no encoder, or it is of another generator.
    """
    generator = load_generator(resolve(arguments.generator)).to(arguments.device)
    encoder = load_encoder(arguments.encoder, generator) if arguments.encoder else find_encoder(generator)
    if encoder is None:
        raise GanvasError(f"no encoder of {arguments.generator} lies beside it or in the zoo: train one, "
                          "`ganvas train experiment=encoder/folder`, or name its file with --encoder.")  # fmt: skip
    images = render_avatars(count, "heldout", 0, generator.img_resolution).images
    critic = perceptual(InversionSettings().critic).to(arguments.device)
    return Bench(generator, encoder.to(arguments.device), critic, torch.from_numpy(images))


class Partial:
    """Points that are measured already, in a file: an interrupted run goes on with the next.

    A point is taken from there only if all that it depends on is the same: generator, encoder (of points that start
    from one), images, settings, algorithm, device and threads.
    """

    def __init__(self, path: Path, bench: Bench, device: str) -> None:
        self.path = path
        self.common = {
            "generator": bench.generator.hash, "images": tensors_hash({"images": bench.images}), "device": device,
            "threads": torch.get_num_threads(), "algorithm": ALGORITHM, "settings": InversionSettings().of_result(),
        }  # fmt: skip

    def measure(self, bench: Bench, start: str, steps: int) -> Point:
        """The point from the file, or measured now and added to it."""
        encoder = bench.encoder.hash if start == "encoder" else None
        what = json.dumps({**self.common, "encoder": encoder, "start": start, "steps": steps}, sort_keys=True)
        key = hashlib.sha256(what.encode()).hexdigest()
        kept = self._read()
        if key in kept:
            return Point(**kept[key])
        found, seconds = bench.invert(start, steps)
        point = Point(start, steps, found.psnr.mean().item(), found.distance.mean().item(), seconds)
        with atomic_path(self.path) as temporary:
            temporary.write_text(json.dumps({**self._read(), key: vars(point)}, indent=1) + "\n")
        return point

    def _read(self) -> dict[str, Any]:
        try:
            return json.loads(self.path.read_text())
        except (OSError, ValueError):
            return {}


def chart(points: Sequence[Point]) -> Image.Image:
    """PSNR and perceptual distance against steps, a line for each start."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), dpi=100, layout="constrained")
    measures = {"psnr": "PSNR (dB), higher is better", "perceptual": "perceptual distance, lower is better"}
    for axes, (name, label) in zip(figure.subplots(1, 2), measures.items(), strict=True):
        for start, caption in CURVES.items():
            line = [(point.steps, getattr(point, name)) for point in points if point.start == start]
            axes.plot(*zip(*line, strict=True), marker="o", markersize=4, label=caption)
        axes.set_xscale("symlog", linthresh=10)
        ticks = sorted({point.steps for point in points})
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.minorticks_off()
        axes.set_xlabel("steps")
        axes.set_title(label, fontsize=9, loc="left")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", alpha=0.3)
        axes.legend(frameon=False, fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return Image.open(buffer).convert("RGB")


def sheet(bench: Bench) -> Image.Image:
    """A few avatars beside what they are inverted to."""
    few = replace(bench, images=bench.images[:SHOWN])
    shown = {"encoder": ("encoder", 0), f"+ {AFTER_ENCODER} steps": ("encoder", AFTER_ENCODER),
             f"mean + {AFTER_MEAN}": ("mean", AFTER_MEAN)}  # fmt: skip
    found = {caption: few.invert(*what)[0] for caption, what in shown.items()}
    columns = {"image": found["encoder"].target, **{caption: one.reconstruction for caption, one in found.items()}}
    return panels({caption: to_uint8(pictures) for caption, pictures in columns.items()}, across=2)


def figures(points: Sequence[Point]) -> dict[str, Any]:
    """What the points say: whether the encoder and 100 steps beat 300 from the mean, and how many steps it is worth."""
    by = {(p.start, p.steps): p for p in points}
    alone = by["encoder", 0]
    worth = [p.steps for p in points if p.start == "mean" and not alone.beats(p)]
    after, mean = by["encoder", AFTER_ENCODER], by["mean", AFTER_MEAN]
    enough = [p.steps for p in points if p.start == "encoder" and p.beats(mean)]
    return {
        f"encoder_{AFTER_ENCODER}_beats_mean_{AFTER_MEAN}": after.beats(mean),
        "psnr_encoder": alone.psnr, f"psnr_encoder_{AFTER_ENCODER}": after.psnr, f"psnr_mean_{AFTER_MEAN}": mean.psnr,
        "perceptual_encoder": alone.perceptual, f"perceptual_encoder_{AFTER_ENCODER}": after.perceptual,
        f"perceptual_mean_{AFTER_MEAN}": mean.perceptual,
        "break_even_steps": min(worth, default=None),  # fewest steps from the mean that the encoder alone does not beat
        f"encoder_steps_to_beat_mean_{AFTER_MEAN}": min(enough, default=None),
    }  # fmt: skip


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GanvasError as error:
        sys.exit(f"inversion.py: {error}")
