"""The time, once the device has done what it was given."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median

import torch


def now(device: torch.device | str) -> float:
    """Seconds on a clock that only goes forward; a GPU is waited for first."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def timed(device: torch.device | str, work: Callable[[], object]) -> float:
    """Seconds that ``work`` takes."""
    start = now(device)
    work()
    return now(device) - start


def spent(device: torch.device | str, work: Callable[[], object]) -> float:
    """Seconds of processor time that ``work`` takes, so that other programs do not count; on a GPU as :func:`timed`.

    All threads of the process count together.
    """
    if torch.device(device).type != "cpu":
        return timed(device, work)
    start = time.process_time()
    work()
    return time.process_time() - start


def in_turn(device: torch.device | str, works: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of each, one after the other, after a round that is not timed."""
    for work in works.values():
        work()
    rounds = [{name: spent(device, work) for name, work in works.items()} for _ in range(repeats)]
    return {name: median(one[name] for one in rounds) for name in works}
