"""Peak memory of a whole fresh process: jobs that run in a child, ``python -m benchmarks.memory JOB ARGUMENTS``."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.formulas import GB
from benchmarks.original_recipe import concatenated
from benchmarks.settings import ROOT
from benchmarks.workloads import random_generator, random_labels
from launch.prepare import keep_freed_memory, prepare
from networks.segmentation import head_for, predict, render_maps

Job = Callable[..., dict[str, Any]]


def peak_resident_gb() -> float:
    """Largest resident set of this process so far, in 1e9 bytes."""
    # Not getrusage: on Linux its peak survives exec, so that a child would report its parent's.
    if (said := _status("VmHWM")) is not None:
        return said
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / GB


def resident_gb() -> float:
    """Resident set of this process now, in 1e9 bytes; its peak where the system tells no more."""
    said = _status("VmRSS")
    return peak_resident_gb() if said is None else said


def _status(name: str) -> float | None:
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    line = next(line for line in status.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024 / GB


def train(
    resolution: int, channel_base: int, labels: int, classes: int, members: int, device: str, limits: dict[str, Any]
) -> dict[str, Any]:
    """Train the default head on random labels; features are cached in half precision."""
    from benchmarks.ours import Limits, train_default  # here, so that Lightning is not in the other jobs' memory
    from trainers.segmentation import SegmentationSettings

    generator = random_generator(resolution, channel_base, device)
    drawn = random_labels(generator, labels, classes, device)
    settings = SegmentationSettings(half=True)
    _, cost = train_default(generator, drawn, settings, members, Limits(**limits), device)
    return {**asdict(cost), "half": settings.half, "passes": settings.passes}


@torch.no_grad()
def infer(resolution: int, channel_base: int, classes: int, members: int, device: str) -> dict[str, Any]:
    """Render one image with its features and segment it."""
    generator = random_generator(resolution, channel_base, device)
    _, features = render_maps(generator, generator.sample(1, 0).to(device))
    head = head_for(generator, "default", classes, members=members).to(device).eval()
    return {"classes_found": len(predict(head, features).mask.unique())}


@torch.no_grad()
def feature_stack(resolution: int, channel_base: int, device: str) -> dict[str, Any]:
    """What the original makes of one image: every map at full size, and its half-precision copy."""
    generator = random_generator(resolution, channel_base, device)
    _, features = generator.render(generator.sample(1, 0).to(device), features=True)
    before = peak_resident_gb()
    values = concatenated(features, resolution)
    half = values.half()
    grown = peak_resident_gb() - before
    return {"bytes_gb": (values.nbytes + half.nbytes) / GB, "grown_gb": grown}


def mapper_step(device: str, **arguments: Any) -> dict[str, Any]:
    """Steps of a mapper's training by one recipe (:func:`benchmarks.mapper_steps.hold`)."""
    prepare()
    from benchmarks.mapper_steps import hold  # here, so that Lightning is not in the other jobs' memory

    return hold(device=device, **arguments)


JOBS: dict[str, Job] = {
    "train": train, "infer": infer, "feature_stack": feature_stack, "mapper_step": mapper_step
}  # fmt: skip


def in_child(job: str, threads: int | None = None, **arguments: Any) -> dict[str, Any]:
    """Run a job in a fresh process.

    Returns:
        What the job returns, ``peak_gb``, and on a GPU ``peak_gpu_gb``.

    Raises:
        RuntimeError: if the child fails, with the last line it wrote; a child killed for memory says so.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "benchmarks.memory", job, json.dumps({"threads": threads, **arguments})]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        reason = "killed, probably for want of memory" if done.returncode == -9 else last
        raise RuntimeError(f"the job {job} failed: {reason}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def main(job: str, arguments: dict[str, Any]) -> None:
    threads = arguments.pop("threads")
    if threads:
        torch.set_num_threads(threads)
    keep_freed_memory()  # as `ganvas` does
    figures = JOBS[job](**arguments)
    if torch.cuda.is_available() and arguments["device"] == "cuda":
        figures["peak_gpu_gb"] = torch.cuda.max_memory_allocated() / GB
    print(json.dumps({**figures, "peak_gb": peak_resident_gb()}))


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
