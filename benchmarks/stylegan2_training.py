"""Training of StyleGAN2 beside the official networks and loss: images a second, memory, and where the time goes.

Every arm runs in a process of its own and waits while another one is timed; laps of all arms take turns. The official
code is imported from a checkout of stylegan2-ada-pytorch (``--ada DIR``); without it only our arms are measured.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that the script runs from any folder, uninstalled

import torch

from benchmarks import report
from benchmarks.gan_arms import arguments_json
from benchmarks.gan_setup import Setup, Step, cycle_kinds
from benchmarks.settings import ROOT
from networks.checkpoints.errors import GanvasError

WHAT = {
    "official": "stylegan2-ada-pytorch: networks and loss",
    "ours": "Ganvas: identical layers and loss, updates simultaneous",
    "lean": "Ganvas: experiment=stylegan2/avatars64, encoder and game of codes included",
}


class Worker:
    """An arm in its process.

    Raises:
        RuntimeError: from :meth:`lap`, if the process ended, with the last line it wrote.
    """

    def __init__(self, arm: str, setup: Setup, words: list[str], checkout: Path | None) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
        command = [sys.executable, "-m", "benchmarks.gan_arms", arm, arguments_json(setup, words, checkout)]
        self.arm, self.errors = arm, tempfile.TemporaryFile("w+")  # noqa: SIM115 - not a pipe: it could fill
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
        )  # fmt: skip

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.errors.close()

    def lap(self, batches: int) -> dict[str, Any]:
        """Train on so many batches: seconds of each, the parts of the lap, memory so far."""
        with suppress(BrokenPipeError):
            self.process.stdin.write(f"{batches}\n")
            self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.errors.seek(0)
            last = (self.errors.read().strip().splitlines() or ["no message"])[-1]
            raise RuntimeError(f"the arm {self.arm} ended: {last}")
        return json.loads(line)


@dataclass
class Measured:
    """What the laps of one arm gave."""

    first: int                                      # number of the first timed batch
    paths: bool                                     # whether it has path length steps
    laps: list[dict[str, Any]] = field(default_factory=list)

    def kinds(self, setup: Setup, lap: int) -> dict[Step, float]:
        """Mean seconds of each kind of batch in a lap."""
        times: dict[Step, list[float]] = {}
        for i, seconds in enumerate(self.laps[lap]["seconds"]):
            path, r1 = setup.kind(self.first + lap * setup.lap + i)
            times.setdefault((path and self.paths, r1), []).append(seconds)
        return {kind: statistics.fmean(seconds) for kind, seconds in times.items()}

    def cycles(self, setup: Setup) -> list[float]:
        """Seconds of a whole cycle of 16 batches, one a lap. Of a lap of 16 batches that is its sum."""
        return [cycle_seconds(self.kinds(setup, lap), self.paths) for lap in range(len(self.laps))]


def cycle_seconds(kinds: Mapping[Step, float], paths: bool) -> float:
    """16 batches, each at the time of its kind.

    Example:
        >>> cycle_seconds({(False, False): 1.0, (False, True): 3.0}, paths=False)
        18.0
    """
    return sum(count * kinds[kind] for kind, count in cycle_kinds(paths).items())


def phases(kinds: Mapping[Step, float], paths: bool) -> dict[str, float | None]:
    """Seconds of a main step, and what a path length step and an R1 step add to it.

    Example:
        >>> phases({(False, False): 1.0, (True, False): 1.5, (True, True): 3.5}, paths=True)
        {'main': 1.0, 'path': 0.5, 'R1': 2.0}
    """
    main, both = kinds[False, False], kinds[paths, True]
    path = kinds[True, False] - main if paths else None
    return {"main": main, "path": path, "R1": both - main - (path or 0.0)}


def measure(arms: Sequence[str], setup: Setup, words: list[str], checkout: Path | None) -> dict[str, Measured]:
    """Laps of all arms in turn, after a warm-up of one batch of every kind but the plain one."""
    found = {arm: Measured(first=1, paths=arm != "lean") for arm in arms}
    with ExitStack() as stack:
        workers = {arm: stack.enter_context(Worker(arm, setup, words, checkout)) for arm in arms}
        for worker in workers.values():
            worker.lap(1)  # batch 0: main step, path length and R1
        for lap in range(setup.repeats):
            for arm, worker in workers.items():
                found[arm].laps.append(worker.lap(setup.lap))
                cycle = found[arm].cycles(setup)[-1]
                print(f"lap {lap + 1}, {arm}: {16 * setup.batch / cycle:.3g} images/s", file=sys.stderr, flush=True)
    return found


def figures(found: Mapping[str, Measured], setup: Setup) -> dict[str, float | None]:
    """Headline figures: ratios of the median cycles."""
    cycle = {arm: statistics.median(measured.cycles(setup)) for arm, measured in found.items()}
    names = {f"train_ratio_{setup.device}": "ours", f"lean_ratio_{setup.device}": "lean"}
    return {
        name: cycle["official"] / cycle[arm] if "official" in cycle and arm in cycle else None
        for name, arm in names.items()
    }  # fmt: skip


def rows(found: Mapping[str, Measured], setup: Setup) -> list[dict[str, Any]]:
    """The table: one arm a row."""
    table = []
    for arm, measured in found.items():
        cycles, last = measured.cycles(setup), measured.laps[-1]
        table.append({
            "arm": WHAT[arm],
            "images/s": 16 * setup.batch / statistics.median(cycles),
            "best": 16 * setup.batch / min(cycles),
            "peak GB": last["peak_gb"],
            **({"peak GPU GB": last["peak_gpu_gb"]} if "peak_gpu_gb" in last else {}),
        })  # fmt: skip
    return table


def breakdown(found: Mapping[str, Measured], setup: Setup) -> list[dict[str, Any]]:
    """Where the time goes, an arm a row: seconds of a step by kind; shares of a lap in forward passes and Adam."""
    table = []
    for arm, measured in found.items():
        each = [phases(measured.kinds(setup, lap), measured.paths) for lap in range(len(measured.laps))]
        row: dict[str, Any] = {"arm": arm}
        for name in ("main", "path", "R1"):
            values = [step[name] for step in each if step[name] is not None]
            row[f"{name}, s"] = statistics.median(values) if values else None
        lap = measured.laps[-1]
        for part in ("Gmain", "Dmain"):
            row[f"{part}, s"] = lap["parts"][part] / len(lap["seconds"]) if part in lap["parts"] else None
        for part in ("G forward", "D forward", "Adam"):
            row[f"{part}, %"] = 100 * lap["parts"][part] / sum(lap["seconds"]) if part in lap["parts"] else None
        table.append(row)
    return table


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and keep."""
    arguments = parse(argv)
    setup = replace(
        Setup(), device=arguments.device, threads=arguments.threads, batch=arguments.batch, repeats=arguments.repeats
    )
    setup = setup.quick() if arguments.quick else setup
    if setup.device == "cuda" and not torch.cuda.is_available():
        raise GanvasError("--device cuda, but torch sees no GPU here: use --device cpu.")
    if setup.threads:
        torch.set_num_threads(setup.threads)
    found = measure(arguments.only or list(arms(arguments.ada)), setup, arguments.ours or [], arguments.ada)
    parts = breakdown(found, setup)
    shown = report.align([list(parts[0]), *[[report.show(value) for value in row.values()] for row in parts]])
    print(shown)
    report.keep_rows(
        arguments.out, f"{title(setup)}\n\n{shown}", command(arguments), rows(found, setup),
        {**figures(found, setup), "phases": {row.pop("arm"): row for row in parts}, "settings": asdict(setup)},
        setup.device,
    )  # fmt: skip
    return 0


def arms(checkout: Path | None) -> tuple[str, ...]:
    """Which can run."""
    return tuple(WHAT) if checkout else tuple(arm for arm in WHAT if arm != "official")


def title(setup: Setup) -> str:
    made_up = ", made up from the times of each kind of batch" if setup.lap % 16 else ""
    return (
        f"Training of StyleGAN2\n\n{setup.resolution}x{setup.resolution}, batch {setup.batch}, R1 every 16 batches, "
        f"path length every 4 (the lean preset has none); whole cycles of 16 batches{made_up}; median and best of "
        f"{setup.repeats}."
    )


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ada", type=Path, metavar="DIR", help="a checkout of stylegan2-ada-pytorch")
    parser.add_argument("--quick", action="store_true", help="at most 5 minutes on 2 cores: batches of 4, short laps")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, help="threads of torch, the same for each arm")
    parser.add_argument("--batch", type=int, default=Setup.batch, help="images in a batch")
    parser.add_argument("--repeats", type=int, default=Setup.repeats, help="laps of each arm")
    parser.add_argument("--only", action="append", choices=tuple(WHAT), help="this arm only; may be repeated")
    parser.add_argument("--ours", action="append", metavar="KEY=VALUE",
                        help="an option of `ganvas train` for our arms; may be repeated")  # fmt: skip
    parser.add_argument("--out", type=Path, help="JSON file that the results are kept in")
    arguments = parser.parse_args(argv)
    if arguments.ada is None and "official" in (arguments.only or ()):
        parser.error("--only official needs --ada DIR")
    if min(arguments.batch, arguments.repeats) < 1:
        parser.error("--batch and --repeats must be at least 1")
    arguments.ada = arguments.ada and arguments.ada.resolve()
    folder = ROOT / "runs" / "benchmarks" / "quick" if arguments.quick else ROOT / "benchmarks" / "results"
    arguments.out = arguments.out or folder / f"stylegan2_training-{arguments.device}.json"
    return arguments


def command(arguments: argparse.Namespace) -> str:
    """The command as another machine would give it: folders of this one are left out."""
    words = ["python benchmarks/stylegan2_training.py", f"--device {arguments.device}"]
    words += ["--ada DIR"] if arguments.ada else []
    words += ["--quick"] if arguments.quick else []
    for name in ("threads", "batch", "repeats"):
        value = getattr(arguments, name)
        words += [f"--{name} {value}"] if value != getattr(Setup, name) else []
    words += [f"--only {arm}" for arm in arguments.only or ()]
    return " ".join(words + [f"--ours {shlex.quote(word)}" for word in arguments.ours or ()])


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GanvasError as error:
        sys.exit(f"stylegan2_training.py: {error}")
