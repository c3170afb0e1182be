"""How far a sweep is, while Hydra's launcher works: a bar, and a line for each job that ends."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from tqdm import tqdm

from launch.figures import read_figures
from launch.sweep_plan import Job
from launch.sweep_state import DONE, FAILED, OVER, RUNNING, Status, Sweep, expected_seconds
from networks.checkpoints.errors import GanvasError
from networks.durations import duration

LOOK = 1.0  # seconds between two looks at the folder
BAR = "{l_bar}{bar}| {n_fmt}/{total_fmt} jobs [{elapsed}{postfix}]"


@contextmanager
def progress(sweep: Sweep, jobs: Sequence[Job], guess: float | None, shown: Sequence[str]) -> Iterator[None]:
    """Show how ``jobs`` come along until the block ends.

    Args:
        sweep: the folder, which is looked at: jobs may run on other machines.
        jobs: all of the sweep.
        guess: seconds that a job is expected to take before one is done.
        shown: the figures that a finished job's line has.
    """
    over = threading.Event()
    watcher = threading.Thread(target=_watch, args=(sweep, jobs, guess, shown, over), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def remaining(jobs: Sequence[Job], known: dict[str, Status], guess: float | None) -> float | None:
    """Seconds that what is missing will take, as many jobs at a time as run now; None if nobody can say."""
    missing = [job for job in jobs if known[job.name].status not in OVER]
    each = [expected_seconds(job, known, jobs, guess) for job in missing]
    if any(seconds is None for seconds in each):
        return None
    at_once = sum(known[job.name].status == RUNNING for job in missing)
    return sum(each) / max(at_once, 1)


def _watch(
    sweep: Sweep, jobs: Sequence[Job], guess: float | None, shown: Sequence[str], over: threading.Event
) -> None:
    with suppress(GanvasError):  # of a damaged file: whoever waits for the jobs meets it, too
        ended = {job.name for job in jobs if sweep.status(job.name).status in OVER}
        with tqdm(total=len(jobs), initial=len(ended), desc="sweep", bar_format=BAR) as bar:
            last, said = False, ""
            while not last:
                last = over.is_set()  # asked first, so that the last look comes after the last job
                known = {job.name: sweep.status(job.name) for job in jobs}
                for job in jobs:
                    if job.name not in ended and known[job.name].status in OVER:
                        ended.add(job.name)
                        bar.write(_line(sweep, job, known[job.name], shown))
                        bar.update()
                before, said = said, _postfix(jobs, known, guess)
                bar.set_postfix_str(said, refresh=said != before or sys.stderr.isatty())  # a log is not filled in vain
                over.wait(LOOK)


def _postfix(jobs: Sequence[Job], known: dict[str, Status], guess: float | None) -> str:
    left = remaining(jobs, known, guess)
    running = [job.name for job in jobs if known[job.name].status == RUNNING]
    said = ["time left unknown" if left is None else f"about {duration(left)} left", *running[:1]]
    return ", ".join(said) + (f" and {len(running) - 1} more" if len(running) > 1 else "")


def _line(sweep: Sweep, job: Job, status: Status, shown: Sequence[str]) -> str:
    """What is said of a job that has ended."""
    took = f"{status.status} in {duration(status.seconds)}"
    if status.status == FAILED:
        return f"{job.name}: {took}: {status.reason}"
    if status.status != DONE:
        return f"{job.name}: {took}"
    figures = read_figures(sweep.run_of(job.name)).figures
    said = [f"{name} {figures[name].value:.4g}" for name in shown if name in figures]
    return f"{job.name}: {', '.join([took, *said])}"
