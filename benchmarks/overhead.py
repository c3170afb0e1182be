"""What the framework costs: a step beside the same step in a bare loop, the start of a run, and the help.

The bare loop (``bare_loops.py``) trains inside the framework's own run, in turns of a few steps, from the same weights
and draws: in one process, on the same caches, under the same load. Its weights end the same, to the last bit.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that the script runs from any folder, uninstalled

import pytorch_lightning as pl
import torch
from torch import nn

from benchmarks import report
from benchmarks.bare_loops import BareBranch, BareGan
from benchmarks.settings import ROOT
from benchmarks.workloads import random_labels
from datamodules.images import GANImages
from launch.compose import compose
from launch.data import training_images
from launch.fitting import fit
from launch.prepare import prepare
from launch.record import RunRecord
from launch.stylegan2_networks import build
from networks.checkpoints.generators import load_generator
from networks.segmentation import head_for
from trainers.segmentation import HeadTrainer, SegmentationSettings
from trainers.segmentation_data import FeatureStore
from trainers.segmentation_loop import Progress

ZOO = ROOT / "zoo" / "avatars64.safetensors"
GAN = ["experiment=stylegan2/avatars64", "task.encoder=null", "data.count=512"]
START = ["experiment=stylegan2/avatars64", "data.count=512", "task.batch_size=4", "task.log_every=1"]
TARGETS = {"overhead_percent": 3.0, "startup_s": 8.0, "help_s": 0.5}  # at most
WAIT = 300.0  # seconds that a run may take to its first step


class Spent(NamedTuple):
    """Seconds on the wall, and of all of the process's threads in user and system mode."""

    wall: float
    cpu: float

    @classmethod
    def now(cls) -> Spent:
        """The clocks."""
        return cls(time.perf_counter(), time.process_time())

    def since(self, start: Spent) -> Spent:
        """What went by."""
        return Spent(self.wall - start.wall, self.cpu - start.cpu)


@dataclass
class Turns(pl.Callback):
    """Lets a bare loop train whenever the framework has trained for a turn, and times both.

    It is the last of the callbacks, so that a turn of the framework has all that the framework does for a step.
    """

    bare: Callable[[], None]           # one step of the bare loop
    steps: int                         # of a turn
    turns: int                         # that are timed, after one that is not
    framework: list[Spent] = field(default_factory=list)
    loop: list[Spent] = field(default_factory=list)

    def on_train_start(self, *_: Any) -> None:
        self.done, self.start = 0, Spent.now()

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self.done += 1
        if self.done % self.steps:
            return
        middle = Spent.now()
        for _step in range(self.steps):
            self.bare()
        end = Spent.now()
        if self.done > self.steps:  # the first turn warms up
            self.framework.append(middle.since(self.start))
            self.loop.append(end.since(middle))
        trainer.should_stop = len(self.loop) == self.turns
        self.start = Spent.now()

    def row(self, what: str, apart: float) -> dict[str, Any]:
        """What the table says of it: medians of the turns, and of the ratio of each turn to the one beside it."""
        found: dict[str, Any] = {"step": what, "turns": self.turns, "steps": self.turns * self.steps}
        for clock in Spent._fields:
            ours, bare = ([getattr(spent, clock) for spent in turns] for turns in (self.framework, self.loop))
            found[f"framework, {clock} ms"] = 1e3 * statistics.median(ours) / self.steps
            found[f"bare, {clock} ms"] = 1e3 * statistics.median(bare) / self.steps
            ratios = [one / other for one, other in zip(ours, bare, strict=True)]
            found[f"overhead, {clock} %"] = 100 * (statistics.median(ratios) - 1)
        return {**found, "largest difference of the weights": apart}


def gan(turns: int, steps: int, folder: Path) -> dict[str, Any]:
    """A training of StyleGAN2 by ``launch.fitting``, as ``ganvas train`` runs it: record, W&B offline, progress."""
    words = [*GAN, f"task.training.total_images={10**9}", f"out={folder / 'gan'}"]
    cfg = compose("train", [*words, f"task.checkpoint_every={10**9}"])
    record = RunRecord.open(cfg)
    images = training_images(cfg)
    module = build(cfg)
    bare = BareGan(module.G, module.D, images.images, cfg)
    watch = Turns(bare.step, steps, turns)
    fit(cfg, record, module, GANImages(images, cfg.task.batch_size, cfg.seed), [watch])
    record.close()
    apart = max(difference(module.G_ema, bare.G_ema), difference(module.D, bare.D))
    return watch.row(f"GAN, {cfg.data.resolution}x{cfg.data.resolution}, batch {cfg.task.batch_size}", apart)


def segmentation(turns: int, steps: int, folder: Path) -> dict[str, Any]:
    """A training of the default head by the loop of ``trainers.segmentation``; random label maps cost the same."""
    cfg = compose("train", ["experiment=segmentation/avatars16", f"out={folder / 'segmentation'}"])
    record = RunRecord.open(cfg)
    generator = load_generator(ZOO)
    labels = random_labels(generator, cfg.task.labels, 11)
    settings = SegmentationSettings()
    head = head_for(generator, "default", 11, settings.seed)
    stores = [FeatureStore.of(head, generator, labels, settings) for _ in range(2)]
    module = HeadTrainer(head, stores[0], settings)
    bare = BareBranch(module.head, stores[1], settings)
    watch = Turns(bare.step, steps, turns)
    pl.Trainer(
        accelerator="cpu", devices=1, max_epochs=1, limit_train_batches=module.most_steps, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        use_distributed_sampler=False, callbacks=[Progress(True, lambda step, figures: record.log(figures, step)), watch],
    ).fit(module)  # fmt: skip
    record.close()
    size = generator.img_resolution
    return watch.row(f"segmentation, {size}x{size}, {len(labels)} labels", difference(module.head, bare.head))


def difference(one: nn.Module, other: nn.Module) -> float:
    """The largest difference of two modules' numbers."""
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return max((a.double() - b.double()).abs().max().item() for a, b in pairs)


def startup(repeats: int, folder: Path) -> dict[str, Any]:
    """From the shell to the end of the first step of a run whose images are in the cache; W&B offline, as by default."""
    found = [first_step(folder / f"start-{i}") for i in range(repeats + 1)][1:]  # the first fills the caches
    return {"what": "ganvas train to its first step", **spread(found)}


def first_step(out: Path) -> Spent:
    """Start a run, wait for its first line of figures, and stop it.

    Raises:
        RuntimeError: if it ends before.
    """
    start = time.perf_counter()
    command = [sys.executable, "-m", "launch.cli", "train", *START, f"out={out}"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        while not ((out / "metrics.jsonl").exists() and (out / "metrics.jsonl").stat().st_size):
            if process.poll() is not None or time.perf_counter() - start > WAIT:
                raise RuntimeError(f"the run ended before its first step: {process.stderr.read().strip()[-300:]}")
            time.sleep(0.01)
        return Spent(time.perf_counter() - start, cpu_of(process.pid))
    finally:
        process.terminate()
        process.communicate(timeout=60)


def cpu_of(pid: int) -> float:
    """Seconds that a process has computed, in user and system mode, its children's left out."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def help_page(repeats: int) -> dict[str, Any]:
    """``ganvas --help``."""
    found = []
    for _ in range(repeats):
        before, start = os.times(), time.perf_counter()
        subprocess.run([sys.executable, "-m", "launch.cli", "--help"], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
        wall, after = time.perf_counter() - start, os.times()
        cpu = sum(getattr(after, name) - getattr(before, name) for name in ("children_user", "children_system"))
        found.append(Spent(wall, cpu))
    return {"what": "ganvas --help", **spread(found)}


def spread(found: Sequence[Spent]) -> dict[str, Any]:
    """Median and least of what was measured."""
    return {
        "wall s": statistics.median(spent.wall for spent in found), "least wall s": min(spent.wall for spent in found),
        "cpu s": statistics.median(spent.cpu for spent in found), "times": len(found),
    }  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and keep."""
    arguments = parse(argv)
    torch.set_num_threads(arguments.threads)
    prepare()
    turns, repeats = (8, 3) if arguments.quick else (30, 7)
    with tempfile.TemporaryDirectory() as folder:
        steps = [gan(turns, 16, Path(folder)), segmentation(turns, 40, Path(folder))]
        starts = [startup(repeats, Path(folder)), help_page(2 * repeats)]
    table = report.align([list(starts[0]), *[[report.show(value) for value in row.values()] for row in starts]])
    print(table)
    figures = figures_of(steps, starts)
    verdicts = {f"{name} <= {bound:g}": figures[name] <= bound for name, bound in TARGETS.items()}
    load = "load average before and after: {:.1f}, {:.1f}".format(arguments.load, os.getloadavg()[0])
    report.keep_rows(
        arguments.out, f"Overhead\n\n{title(arguments.quick)}; {load}.\n\n{table}", command(arguments), steps,
        {**figures, "starts": {row["what"]: row for row in starts}, "reached": verdicts},
    )  # fmt: skip
    return 0


def figures_of(steps: Sequence[dict[str, Any]], starts: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Headline figures: of the steps by CPU time, which another process's load does not stretch; of the starts by the wall.

    Example:
        >>> figures_of([{"overhead, cpu %": 1.0, "overhead, wall %": 9.0}, {"overhead, cpu %": 2.0,
        ...             "overhead, wall %": 0.0}], [{"wall s": 5.0, "cpu s": 4.0}, {"wall s": 0.1, "cpu s": 0.1}])
        {'overhead_percent': 2.0, 'overhead_percent_gan': 1.0, 'overhead_percent_segmentation': 2.0, \
'overhead_percent_wall': 9.0, 'startup_s': 5.0, 'startup_cpu_s': 4.0, 'help_s': 0.1}
    """
    by_cpu = [row["overhead, cpu %"] for row in steps]
    return {
        "overhead_percent": max(by_cpu), "overhead_percent_gan": by_cpu[0], "overhead_percent_segmentation": by_cpu[1],
        "overhead_percent_wall": max(row["overhead, wall %"] for row in steps),
        "startup_s": starts[0]["wall s"], "startup_cpu_s": starts[0]["cpu s"], "help_s": starts[1]["wall s"],
    }  # fmt: skip


def title(quick: bool) -> str:
    """What the page says above its tables."""
    size = "A quick run" if quick else "A full run"
    return (f"{size}. Steps: medians over turns of the framework and of a bare loop in one process, by the wall and by "
            "CPU time (user and system, all threads); starts: medians of whole processes, their caches filled")  # fmt: skip


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer turns and starts")
    parser.add_argument("--device", choices=["cpu"], default="cpu", help="a GPU's own work would hide what is measured")
    parser.add_argument("--threads", type=int, default=1, help="torch's threads")
    parser.add_argument("--out", type=Path, help="the JSON file; the Markdown goes beside it")
    arguments = parser.parse_args(argv)
    kept = "runs/benchmarks/overhead-quick.json" if arguments.quick else "benchmarks/results/overhead-cpu.json"
    arguments.out = arguments.out or ROOT / kept
    arguments.load = os.getloadavg()[0]
    return arguments


def command(arguments: argparse.Namespace) -> str:
    quick = " --quick" if arguments.quick else ""
    return f"python benchmarks/overhead.py{quick} --device {arguments.device} --threads {arguments.threads}"


if __name__ == "__main__":
    sys.exit(main())
