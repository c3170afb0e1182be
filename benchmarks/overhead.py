"""What the framework costs: a step beside the same step in a bare loop, the start of a run, and the help.

The bare loop (``bare_loops.py``) trains inside the framework's own run, in turns of a few steps, from the same weights
and draws: in one process, on the same caches, under the same load. Its weights end the same, to the last bit.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that the script runs from any folder, uninstalled

import torch

from benchmarks import report
from benchmarks.settings import ROOT
from benchmarks.turns import Spent

START = ["experiment=stylegan2/avatars64", "data.count=512", "task.batch_size=4", "task.log_every=1"]
TARGETS = {"overhead_percent": 3.0, "startup_s": 8.0, "help_s": 0.5}  # at most
WAIT = 300.0  # seconds that a run may take to its first step


def in_processes(name: str, turns: int, steps: int, repeats: int, threads: int) -> dict[str, Any]:
    """The medians of what several processes found, one after another."""
    command = [sys.executable, "-m", "benchmarks.overhead_steps", name, str(turns), str(steps), str(threads)]
    found = []
    for number in range(repeats):
        done = subprocess.run(
            [*command, str(number)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True
        )
        found.append(json.loads(done.stdout))
    return middle(found)


def middle(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Rows of the same names as one: words as they are, counts added up, the worst difference, and else medians.

    Example:
        >>> middle([{"step": "a", "turns": 4, "bare, cpu ms": 1.0}, {"step": "a", "turns": 4, "bare, cpu ms": 3.0}])
        {'step': 'a', 'processes': 2, 'turns': 8, 'bare, cpu ms': 2.0}
    """
    row: dict[str, Any] = {"step": found[0]["step"], "processes": len(found)}
    for name in [name for name in found[0] if name != "step"]:
        values = [each[name] for each in found]
        if name in ("turns", "steps"):
            row[name] = sum(values)
        else:
            row[name] = max(values) if name.startswith("largest") else statistics.median(values)
    return row


def startup(repeats: int, folder: Path) -> dict[str, Any]:
    """From the shell to the end of the first step of a run whose images are in the cache; W&B as by default."""
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
                said = (process.stderr.read().strip().splitlines() or ["nothing"])[-1]
                raise RuntimeError(f"the run ended before its first step, saying: {said}")
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
    turns, repeats = (4, 2) if arguments.quick else (8, 6)
    # Short turns, so that both loops meet the same load.
    steps = [in_processes("gan", turns, 4, repeats, arguments.threads),
             in_processes("segmentation", 4 * turns, 32, repeats, arguments.threads)]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        starts = [startup(repeats, Path(folder)), help_page(2 * repeats)]
    table = report.align([list(starts[0]), *[[report.show(value) for value in row.values()] for row in starts]])
    print(table)
    figures = figures_of(steps, starts)
    verdicts = {f"{name} <= {bound:g}": figures[name] <= bound for name, bound in TARGETS.items()}
    load = f"load average before and after: {arguments.load:.1f}, {os.getloadavg()[0]:.1f}"
    report.keep_rows(
        arguments.out, f"Overhead\n\n{title(arguments.quick)}; {load}.\n\n{table}", command(arguments), steps,
        {**figures, "starts": {row["what"]: row for row in starts}, "reached": verdicts},
    )  # fmt: skip
    return 0


def figures_of(steps: Sequence[dict[str, Any]], starts: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Headline figures: of the steps by CPU time, which other processes do not stretch; of the starts by the wall.

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
    return (f"A {'quick' if quick else 'full'} run. Steps: medians over processes of medians over turns of the "
            "framework and of a bare loop in one process, by the wall and by CPU time (user and system, all threads). "
            "Starts: medians of whole processes, their caches filled")  # fmt: skip


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
