"""``ganvas sweep``: a grid of jobs, run by one of Hydra's launchers; what is done already is left out."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence

from omegaconf import DictConfig

from launch.errors import Interrupted
from launch.sweep_launch import check_launcher, launch
from launch.sweep_plan import Job, Plan, folder_of, plan, put_in
from launch.sweep_progress import progress, remaining
from launch.sweep_state import DONE, FAILED, OVER, RUNNING, Status, Sweep, expected_seconds
from networks.checkpoints.errors import GanvasError
from networks.durations import duration

PATIENCE = 90.0  # seconds that jobs have to stop, wherever they run


def run(cfg: DictConfig) -> None:
    """Run the jobs that are not done, or with ``dry_run=true`` list all.

    Raises:
        GanvasError: if something given cannot be used, ``out=`` holds another sweep, or jobs failed twice.
        Interrupted: on Ctrl-C, once the jobs have stopped.
    """
    check_launcher(cfg)
    found = plan(cfg)
    sweep = Sweep(folder_of(cfg))
    if cfg.dry_run:
        _list(sweep, found)
        return
    sweep.check(found)
    with sweep.hold() as mine:
        if not mine:
            raise GanvasError(f"another sweep is writing into {sweep.folder}: wait for it, or give another out=.")
        sweep.open(found)
        sweep.stop_file.unlink(missing_ok=True)
        _run(cfg, sweep, found)
    _conclude(sweep, found)


def _run(cfg: DictConfig, sweep: Sweep, found: Plan) -> None:
    ended = OVER if found.search else (DONE,)  # a trial that failed has told what its values are worth
    missing = [job.name for job in found.jobs if sweep.status(job.name).status not in (*ended, RUNNING)]
    if not missing:
        return
    try:
        with progress(sweep, found.jobs, _guess(found), found.figures):
            launch(cfg, sweep.folder, missing)
    except KeyboardInterrupt as stop:
        sweep.stop_file.touch()
        _await_quiet(sweep, found.jobs)
        done = sum(sweep.status(job.name).status in OVER for job in found.jobs)
        raise Interrupted(
            f"stopped with {done} of {len(found.jobs)} jobs done; the same command goes on."
        ) from stop


def _await_quiet(sweep: Sweep, jobs: Sequence[Job]) -> None:
    """Wait until no job runs any more, on whichever machine."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and any(sweep.is_running(job.name) for job in jobs):
        time.sleep(0.2)


def _conclude(sweep: Sweep, found: Plan) -> None:
    """Say how it ended.

    Raises:
        GanvasError: if jobs failed, naming each with its reason.
    """
    known = {job.name: sweep.status(job.name) for job in found.jobs}
    done = sum(status.status in OVER and status.status != FAILED for status in known.values())
    failed = {name: status.reason for name, status in known.items() if status.status == FAILED}
    print(f"jobs done: {done} of {len(known)}")
    if found.search:
        from launch.sweep_search import best_trial  # needs Optuna

        print(f"best: {best_trial(sweep) or 'no trial has a figure'}")
    print(f"sweep: {sweep.folder}")
    if failed:
        named = "; ".join(f"{name}: {reason.rstrip('.')}" for name, reason in failed.items())
        again = "" if found.search else ", and the same command tries these again"
        raise GanvasError(f"{len(failed)} of {len(known)} jobs failed, each tried twice ({named}); what the others "
                          f"found is kept{again}.")  # fmt: skip
    if done < len(known):
        raise GanvasError(f"{len(known) - done} jobs are still running in other processes: run the same command once "
                          "they have ended.")  # fmt: skip


def _list(sweep: Sweep, found: Plan) -> None:
    """Print each job as the command that it is, with how it stands and what it will cost."""
    known = {job.name: sweep.status(job.name) for job in found.jobs}
    said: set[str] = set()   # folders of commands that several jobs share
    for job in found.jobs:
        folders = sweep.before_of(job)
        for name, command in job.before.items():
            if folders[name] in said:
                continue
            said.add(folders[name])
            first = shlex.join(["ganvas", *put_in(command, folders), f"out={folders[name]}"])
            print(f"{'first':>12}  {'':<8} {first}")
        plain = put_in(job.words, folders)
        words = shlex.join(["ganvas", found.verb, *plain, f"out={sweep.run_of(job.name)}"])
        print(f"{_cost(job, known, found):>12}  {known[job.name].status:<8} {words}")
    left = remaining(found.jobs, known, _guess(found))
    done = sum(status.status in OVER for status in known.values())
    cost = "at a cost that nobody has measured yet" if left is None else f"about {duration(left)} one after another"
    print(f"{len(found.jobs)} jobs, {done} done; what is missing takes {cost}." if left is not None else
          f"{len(found.jobs)} jobs, {done} done; {cost}.")  # fmt: skip


def _cost(job: Job, known: dict[str, Status], found: Plan) -> str:
    status = known[job.name]
    if status.status == DONE:
        return duration(status.seconds)
    seconds = expected_seconds(job, known, found.jobs, _guess(found))
    return "unknown" if seconds is None else f"about {duration(seconds)}"


def _guess(found: Plan) -> float | None:
    """Seconds of a job, by what the experiment's file expects of all."""
    return None if found.minutes is None else 60 * found.minutes / len(found.jobs)
