"""Edits against the original recipe (EditGAN) on the same generator: a step, the branch in it, vectors, batches.

The two take turns in one process. Prints a table and, as the last line, one JSON object; full runs are kept.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that the script runs from any folder, uninstalled

import torch
from torch import Tensor

from benchmarks import report
from benchmarks.clock import in_turn, spent
from benchmarks.original_edit import OriginalEdit
from benchmarks.original_recipe import MEMBERS, PixelClassifier
from benchmarks.settings import ROOT
from benchmarks.workloads import random_generator, smooth_masks
from editors.descent import Schedule
from editors.mask_edit import EditSettings, MaskEditor, Problem
from editors.segmentation import SegmentationEditor
from launch.prepare import keep_freed_memory
from networks.checkpoints.classes import ClassList
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.generators import load_generator
from networks.checkpoints.zoo import resolve
from networks.latent_edit import LatentEdit
from networks.protocol import Generator
from networks.segmentation import head_for, render_maps

CLASSES = 11                     # of the branch: as many as the avatars have
SMALL, MIDDLE = 0.03, 0.10       # shares of the image that an edit of eyes or mouth and one of glasses take on avatars
BATCH = 16
RESULTS = {False: ROOT / "benchmarks" / "results", True: ROOT / "runs" / "benchmarks" / "quick"}


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    large: int = 512              # pixels a side of the random generator
    channel_base: int = 32768     # its width
    repeats: int = 3              # rounds of the large one
    small_repeats: int = 15       # and of the zoo's generator
    shares: tuple[float, ...] = (SMALL, MIDDLE)


@dataclass(frozen=True)
class Arm:
    """A generator with a branch, and one edit by both recipes."""

    generator: Generator
    problem: Problem              # ours
    original: OriginalEdit
    whole: bool                   # the original's step is run as it is, not by parts

    @classmethod
    def of(cls, generator: Generator, share: float, whole: bool, images: int = 1) -> Arm:
        """Edit a box of ``share`` of the image towards random classes."""
        device, size = generator.device, generator.img_resolution
        head = head_for(generator, "default", CLASSES, members=MEMBERS).to(device).eval().requires_grad_(False)
        editor = MaskEditor(head, generator, EditSettings())
        latent = generator.sample(images, seed=0).to(device)
        target, region = smooth_masks(images, CLASSES, size), box(size, share)
        problem = Problem.of(editor, latent, target, ["a sample"] * images, None, region.expand(images, -1, -1))
        width = sum(channels for channels, _ in generator.feature_shapes.values())
        members = [PixelClassifier(width, CLASSES).to(device).eval().requires_grad_(False) for _ in range(MEMBERS)]
        original = OriginalEdit(
            generator, members, editor.critic, latent[:1], target[0].to(device), region.to(device)
        )
        return cls(generator, problem, original, whole)

    def our_step(self) -> float:
        """Seconds of one step of the descent, everything in it."""
        schedule = Schedule(1, 0.1, 0, 0)
        return spent(self.generator.device, lambda: self.problem.solve(self.problem.latent, schedule))

    def their_step(self) -> dict[str, float]:
        """Seconds of one step of the original, by parts where it is not run whole."""
        if self.whole:
            return {"step": spent(self.generator.device, self.original.step)}
        return self.original.parts()

    @torch.no_grad()
    def our_branch(self) -> float:
        """Seconds from the maps to the logits in the region."""
        _, maps = render_maps(self.generator, self.problem.latent)
        head, window = self.problem.editor.head, self.problem.window
        return spent(self.generator.device, lambda: head.mean_window(maps, window))


def box(size: int, share: float) -> Tensor:
    """A square of ``share`` of the image, a little off its middle: bool ``[size, size]``."""
    side = round(size * share**0.5)
    region, start = torch.zeros(size, size, dtype=torch.bool), (size - side) * 2 // 5
    region[start : start + side, start : start + side] = True
    return region


def main(argv: Sequence[str] | None = None) -> int:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="at most 5 minutes on 2 cores: one round at 512x512")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, help="threads of torch")
    parser.add_argument("--out", type=Path, help="JSON file of the results")
    arguments = parser.parse_args(argv)
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise GanvasError("--device cuda, but torch sees no GPU here: use --device cpu.")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    size = replace(Size(), repeats=1, small_repeats=5, shares=(MIDDLE,)) if arguments.quick else Size()
    figures, rows = measure(size, arguments.device, load_generator(resolve(Path("zoo/avatars64.safetensors"))))
    words = "".join([" --quick" * arguments.quick, f" --threads {arguments.threads}" if arguments.threads else ""])
    report.keep_rows(
        arguments.out or RESULTS[arguments.quick] / f"editing-{arguments.device}.json",
        "Editing\n\nSeconds of processor time on a CPU, of the clock on a GPU; medians of the rounds. The original: "
        "`benchmarks/original_edit.py`.",
        f"python benchmarks/editing.py --device {arguments.device}{words}", rows,
        {**figures, "members": MEMBERS, "classes": CLASSES, "critic": EditSettings().critic, **vars(size)},
        arguments.device,
    )  # fmt: skip
    return 0


def measure(size: Size, device: str, zoo: Generator) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """The headline figures, and a row for each comparison."""
    zoo = zoo.to(device)
    large = random_generator(size.large, size.channel_base, device)
    rows = [step_row(Arm.of(large, share, device != "cpu"), share, size.repeats) for share in size.shares]
    rows += [step_row(Arm.of(zoo, share, True), share, size.small_repeats) for share in size.shares]
    by = {(row["size"], row["region"]): row for row in rows}
    small, middle = zoo.img_resolution, by[size.large, MIDDLE]
    figures = {
        "edit_speedup": middle["speedup"],
        f"edit_speedup_{small}": by[small, MIDDLE]["speedup"],
        "branch_inference_ratio": middle["branch"],
        f"branch_inference_ratio_{small}": by[small, MIDDLE]["branch"],
        "step_s": middle["ours_s"],
    }
    if SMALL in size.shares:
        figures |= {f"edit_speedup_small_region{at}": by[r, SMALL]["speedup"] for r, at in
                    ((size.large, ""), (small, f"_{small}"))}  # fmt: skip
    figures |= vector_figures(large, "", size.repeats) | vector_figures(zoo, f"_{small}", size.small_repeats)
    figures["batch16_over_1"] = batch_ratio(zoo, size.small_repeats)
    return figures, rows


def step_row(arm: Arm, share: float, repeats: int) -> dict[str, Any]:
    """One edit by both recipes, in turn, after a step of ours that is not timed."""
    arm.our_step()
    ours, theirs, branch, inference = [], [], [], []
    for _ in range(repeats):
        ours.append(arm.our_step())
        theirs.append(arm.their_step())
        branch.append(arm.our_branch())
        inference.append(arm.original.inference())
    parts = {name: median(one[name] for one in theirs) for name in theirs[0]}
    total = median(sum(one.values()) for one in theirs)
    return {
        "size": arm.generator.img_resolution, "region": share, "ours_s": median(ours), "original_s": total,
        "speedup": total / median(ours), "branch": median(inference) / median(branch),
        "our branch_s": median(branch), "original's_s": median(inference),
        "parts": "; ".join(f"{name} {report.show(seconds)}" for name, seconds in parts.items()),
    }  # fmt: skip


def vector_figures(generator: Generator, at: str, repeats: int) -> dict[str, float]:
    """An image with a vector applied over the same synthesis alone; and with all that ``apply`` measures."""
    device = generator.device
    head = head_for(generator, "default", CLASSES, members=MEMBERS).to(device).eval().requires_grad_(False)
    names = [f"class {i}" for i in range(CLASSES)]
    editor = SegmentationEditor(head, generator, ClassList.of_names(names), None)
    latent = generator.sample(1, seed=0).to(device)
    vector = LatentEdit("w+", {"ws": 0.1 * torch.ones_like(latent.tensors["ws"][0])}, region=("class 1",))
    seen = editor.segment(latent)

    @torch.no_grad()
    def synthesis() -> Tensor:
        return generator.render(latent)

    works: dict[str, Callable[[], object]] = {
        "synthesis": synthesis, "vector": lambda: editor.render(vector.apply(latent, 0.8)),
        "apply": lambda: editor.apply(seen, vector, 0.8),
    }  # fmt: skip
    seconds = in_turn(device, works, repeats)
    return {
        f"vector_over_synthesis{at}": seconds["vector"] / seconds["synthesis"],
        f"apply_over_synthesis{at}": seconds["apply"] / seconds["synthesis"],
        f"vector_s{at}": seconds["vector"],
    }


def batch_ratio(generator: Generator, repeats: int) -> float:
    """A step for 16 images at once over a step for one."""
    arms = {str(n): Arm.of(generator, MIDDLE, True, n) for n in (1, BATCH)}
    seconds = in_turn(generator.device, {name: arm.our_step for name, arm in arms.items()}, repeats)
    return seconds[str(BATCH)] / seconds["1"]


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GanvasError as error:
        sys.exit(f"editing.py: {error}")
