"""One job of a sweep: an ordinary command in a process of its own, tried twice, its outcome written down.

Hydra's launchers call :func:`run_job` wherever a job is to run: here, in a process of joblib's or submitit's, on a node
of a cluster. So it imports nothing heavy, and all it knows is the sweep's folder and the job's name.
"""

from __future__ import annotations

import ctypes
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from omegaconf import DictConfig

from launch.figures import read_figures
from launch.paths import ROOT
from launch.sweep_plan import Job, put_in
from launch.sweep_state import DONE, FAILED, RUNNING, STOPPED, Status, Sweep

TRIES = 2
PROMPT = "$ "     # stands in the log before each command
LOOK = 0.5        # seconds between two looks at a running job
PATIENCE = 60.0   # seconds that a job has to tidy up once it is told to stop

Watch = Callable[[], bool]  # whether a running job shall be stopped


class Stopped(Exception):  # noqa: N818 - no error
    """The job was stopped by whoever watches it."""


def run_job(cfg: DictConfig) -> None:
    """Run the job ``cfg.job`` of the sweep in ``cfg.out``. A failure is written down, and is no error here.

    Raises:
        KeyboardInterrupt: on Ctrl-C, once the job has stopped.
    """
    sweep = Sweep(Path(cfg.out))
    if sweep.stop_file.exists():
        return
    with sweep.hold(cfg.job) as mine:
        if not mine:  # another process runs it
            return
        if sweep.record()["search"]:
            from launch.sweep_search import run_trial  # needs Optuna

            run_trial(sweep, cfg.job)
        else:
            verb, job = sweep.job(cfg.job)
            run_command(sweep, job.name, verb, job.words, job=job)


def run_command(
    sweep: Sweep, name: str, verb: str, words: tuple[str, ...], watch: Watch | None = None, job: Job | None = None
) -> Status:
    """Run the command of a job, and those before it, twice if one fails, and keep its status.

    Args:
        sweep: the job's.
        name: of the job, and of its folder.
        verb: what is run.
        words: of the command, without ``out=``.
        watch: asked now and then whether the job shall be stopped.
        job: whose commands run first, each in a folder of its own; one that is done is left out.

    Raises:
        Stopped: if ``watch`` said so.
        KeyboardInterrupt: on Ctrl-C.
    """
    before = sweep.status(name)
    status = Status(RUNNING, 0, before.seconds)
    for attempt in range(1, TRIES + 1):
        begun, seconds = time.monotonic(), status.seconds
        status = Status(RUNNING, before.attempts + attempt, seconds)
        sweep.keep(name, status)
        outcome, reason = FAILED, ""
        try:
            code = _run_before(sweep, job, watch) if job is not None else 0
            code = code or _run(_command(sweep, job, verb, words, sweep.run_of(name)), sweep, name, watch)
            outcome, reason = _outcome(sweep, name, code)
        except (Stopped, KeyboardInterrupt):
            outcome, reason = STOPPED, "it was stopped"
            raise
        finally:
            status = Status(outcome, status.attempts, seconds + time.monotonic() - begun, reason)
            sweep.keep(name, status)
        if status.status == DONE or sweep.stop_file.exists():
            break
    return status


def _run_before(sweep: Sweep, job: Job, watch: Watch | None) -> int:
    """Run the commands that a job runs first, as far as they are not done; gives the exit status.

    Where jobs share a command, one of them runs it and the others wait.
    """
    for name, folder in sweep.before_of(job).items():
        verb, *words = job.before[name]
        out, mine = Path(folder), False
        while not mine:
            with sweep.hold(out.name) as mine:
                if mine and read_figures(out) is None:
                    code = _run(_command(sweep, job, verb, words, out), sweep, job.name, watch)
                    if code != 0:
                        return code
            if not mine:
                _stop_if_told(sweep, watch)
    return 0


def _command(sweep: Sweep, job: Job | None, verb: str, words: Sequence[str], out: Path) -> list[str]:
    plain = words if job is None else put_in(words, sweep.before_of(job))
    return [sys.executable, "-m", "launch.cli", verb, *plain, f"out={out}"]


def _run(command: list[str], sweep: Sweep, name: str, watch: Watch | None) -> int:
    """Run a command to its end, its output in the job's log; gives the exit status, negative for a signal."""
    log = sweep.log_of(name)
    log.parent.mkdir(parents=True, exist_ok=True)
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    with log.open("a") as output:
        output.write(f"\n{PROMPT}{shlex.join(['ganvas', *command[3:]])}\n")
        output.flush()
        process = subprocess.Popen(  # noqa: S603 - our own command line, with words that were checked
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": paths},
            start_new_session=True,  # Ctrl-C reaches the sweep alone, which stops its jobs in order
            preexec_fn=_end_with_parent(),
        )  # fmt: skip
        try:
            return _wait(process, sweep, watch)
        finally:
            _stop(process)


def _wait(process: subprocess.Popen[bytes], sweep: Sweep, watch: Watch | None) -> int:
    while True:
        try:
            return process.wait(LOOK)
        except subprocess.TimeoutExpired:
            _stop_if_told(sweep, watch)


def _stop_if_told(sweep: Sweep, watch: Watch | None) -> None:
    if sweep.stop_file.exists():
        raise KeyboardInterrupt from None
    if watch is not None and watch():
        raise Stopped from None


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a process that still runs: first so that it can be gone on with.

    By SIGTERM: a sweep in the background of a shell ignores SIGINT, and so would its jobs.
    """
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _end_with_parent() -> Callable[[], None] | None:
    """What a new process does first on Linux: ask to be ended when the sweep dies, however it dies."""
    if sys.platform != "linux":
        return None
    libc, set_death_signal = ctypes.CDLL(None), 1  # PR_SET_PDEATHSIG of prctl.h; loaded here, before the fork

    def ask() -> None:
        libc.prctl(set_death_signal, signal.SIGTERM)

    return ask


def _outcome(sweep: Sweep, name: str, code: int) -> tuple[str, str]:
    """The status of a job that has ended, and the reason of a failure."""
    if code == 0 and read_figures(sweep.run_of(name)) is not None:
        return DONE, ""
    if code < 0:
        return FAILED, f"it was ended by {signal.Signals(-code).name}"
    last = sweep.log_of(name).read_text(errors="replace").rpartition(f"\n{PROMPT}")[2]  # of all attempts
    said = [line for line in last.splitlines() if line.startswith("ganvas: ")]
    return FAILED, said[-1].removeprefix("ganvas: ") if said else f"it ended with exit status {code}"
