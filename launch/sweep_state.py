"""A sweep on disk: which jobs it has, how each stands, and who may write.

``<out>/sweep.json`` says what the sweep is; ``<out>/<job>/`` is a job's own folder, finished when it holds
``figures.json``; ``<out>/jobs/<job>.json`` says how it went and ``<out>/jobs/<job>.log`` what it printed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from launch.figures import read_figures
from launch.sweep_plan import Job, Plan, put_in
from launch.version import ganvas_version
from networks.checkpoints.atomic import atomic_path
from networks.checkpoints.errors import GanvasError

KEYS = {"experiment", "size", "seeds", "version", "settings", "verb", "figures", "search", "jobs"}  # of sweep.json
FORMAT = 1
JOBS = "jobs"  # folder of the statuses, beside those of the jobs
MOMENT = 2.0  # seconds
DONE, FAILED, PRUNED, STOPPED, RUNNING, MISSING = "done", "failed", "pruned", "stopped", "running", "missing"
OVER = (DONE, FAILED, PRUNED)


@dataclass(frozen=True)
class Status:
    """How a job stands."""

    status: str = MISSING
    attempts: int = 0
    seconds: float = 0.0   # of all attempts
    reason: str = ""       # of a failure, in one sentence


@dataclass(frozen=True)
class Sweep:
    """A folder of jobs."""

    folder: Path

    def run_of(self, name: str) -> Path:
        """The job's own folder, ``out=`` of its verb."""
        return self.folder / name

    def before_of(self, job: Job) -> dict[str, str]:
        """The folders of the commands that a job runs first, by their names: jobs with the same command share its."""
        stems: dict[str, str] = {}
        for name, command in job.before.items():
            told = json.dumps(put_in(command, stems))
            stems[name] = f"{name}-{hashlib.sha256(told.encode()).hexdigest()[:8]}"
        return {name: str(self.folder / JOBS / stem) for name, stem in stems.items()}

    def log_of(self, name: str) -> Path:
        """What the job printed."""
        return self.folder / JOBS / f"{name}.log"

    def status(self, name: str) -> Status:
        """How a job stands. What it measured has the last word: a job is done when its figures are there."""
        path = self._status_path(name)
        known = Status(**_json(path)) if path.exists() else Status()
        if known.status == RUNNING and self.is_running(name):
            return known
        if read_figures(self.run_of(name)) is not None:
            return Status(DONE, max(known.attempts, 1), known.seconds)
        return replace(known, status=STOPPED, reason="it was killed") if known.status == RUNNING else known

    def keep(self, name: str, status: Status) -> None:
        """Write down how a job stands."""
        _write(self._status_path(name), asdict(status))

    def job(self, name: str) -> tuple[str, Job]:
        """The verb and the job of this name, as ``sweep.json`` has it."""
        record = self.record()
        (found,) = (job for job in record["jobs"] if job["name"] == name)
        return record["verb"], Job(
            found["name"], found["at"], found["seed"], tuple(found["words"]), found.get("before", {})
        )  # fmt: skip

    def record(self) -> dict[str, Any]:
        """``sweep.json``.

        Raises:
            GanvasError: if it is missing, damaged, or of another format.
        """
        path = self.folder / "sweep.json"
        if not path.exists():
            raise GanvasError(f"{self.folder} is no sweep's folder: it has no sweep.json.")
        record = _json(path)
        if record.get("format") != FORMAT:
            raise GanvasError(f"{path} is of format {record.get('format')} and this version reads {FORMAT}: use the "
                              "version that wrote it, or another out=.")  # fmt: skip
        if missing := KEYS - record.keys():
            raise GanvasError(f"{path} is damaged, it has no {min(missing)}: put it back, or give another out=.")
        return record

    def check(self, plan: Plan) -> None:
        """Refuse a folder that is not for ``plan``.

        Raises:
            GanvasError: if it holds something else.
        """
        if (self.folder / "sweep.json").exists():
            _refuse_other_sweep(self.folder, self.record(), plan)
        elif self.folder.exists() and (not self.folder.is_dir() or _names(self.folder) - {JOBS}):
            raise GanvasError(f"{self.folder} exists and is no sweep's folder: give another out=, or an empty folder.")

    def open(self, plan: Plan) -> None:
        """Make the folder that of ``plan``, or go on where it is; :meth:`check` it first.

        Raises:
            GanvasError: if it cannot be written.
        """
        path = self.folder / "sweep.json"
        before = self.record() if path.exists() else None
        if before is None or plan.seeds > before["seeds"] or len(plan.jobs) > len(before["jobs"]):
            _write(path, {
                "format": FORMAT, "experiment": plan.experiment, "size": plan.size, "seeds": plan.seeds,
                "version": ganvas_version(), "settings": plan.settings, "verb": plan.verb,
                "figures": [*plan.figures], "search": plan.search, "jobs": [asdict(job) for job in plan.jobs],
            })  # fmt: skip

    def is_running(self, name: str) -> bool:
        """Whether some process holds the job."""
        return _held(self._lock_path(name))

    @contextmanager
    def hold(self, name: str = "") -> Iterator[bool]:
        """Hold a job, or the whole sweep, against other processes; gives False if another one has it.

        It tries for a moment, since :meth:`is_running` looks by holding.
        """
        path = self._lock_path(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise GanvasError(f"cannot write into {self.folder}: {error.strerror}; give another out=.") from error
        lock = FileLock(path)
        try:
            lock.acquire(timeout=MOMENT)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    @property
    def stop_file(self) -> Path:
        """While it is there, jobs stop, wherever they run."""
        return self.folder / JOBS / "stop"

    def _lock_path(self, name: str) -> Path:
        return self.folder / JOBS / f"{name or 'sweep'}.lock"

    def _status_path(self, name: str) -> Path:
        return self.folder / JOBS / f"{name}.json"


def expected_seconds(job: Job, known: Mapping[str, Status], jobs: Sequence[Job], guess: float | None) -> float | None:
    """What a job will take: as the done jobs took that share most axis values with it.

    Args:
        job: the job.
        known: status by name.
        jobs: of the sweep.
        guess: seconds, if none is done.
    """
    done = [other for other in jobs if known[other.name].status == DONE and known[other.name].seconds > 0]
    if not done:
        return guess
    shared = {other.name: sum(other.at[axis] == value for axis, value in job.at.items()) for other in done}
    most = max(shared.values())
    alike = [known[name].seconds for name, count in shared.items() if count == most]
    return sum(alike) / len(alike)


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def _held(path: Path) -> bool:
    if not path.exists():
        return False
    try:
        with FileLock(path).acquire(blocking=False):
            return False
    except Timeout:
        return True


def _refuse_other_sweep(folder: Path, before: Mapping[str, Any], plan: Plan) -> None:
    now = {"experiment": plan.experiment, "size": plan.size, "version": ganvas_version()}
    for key, value in now.items():
        if before[key] != value:
            raise GanvasError(f"{folder} holds a sweep with {key}={before[key]} and this one has {key}={value}: give "
                              "another out=.")  # fmt: skip
    if before["settings"] != plan.settings:
        raise GanvasError(f"{folder} holds a sweep of other jobs under the same name (its experiment's file or the "
                          "words given to its jobs have changed): give the same words, or another out=.")  # fmt: skip


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
        if not isinstance(found, dict):
            raise ValueError("it is no object")
    except (OSError, ValueError) as error:
        raise GanvasError(f"{path} is damaged ({error}): restore it, or give another out=.") from error
    return found


def _write(path: Path, content: Mapping[str, Any]) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")
