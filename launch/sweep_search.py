"""``sweeper=optuna``: trials over the space that an experiment declares, kept in a file for any process to go on.

Written against Optuna itself: Hydra's plugin for it pins a version before 3 whose SQLite storage breaks with today's
SQLAlchemy. The journal is one file that is only appended to, so trials may run in several processes and on several
machines, and a killed trial is found again and goes on in its own run directory.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launch.figures import read_figures
from launch.record import read_metrics
from launch.sweep_job import Stopped, run_command
from launch.sweep_space import drawn
from launch.sweep_state import DONE, PRUNED, Status, Sweep

if TYPE_CHECKING:
    import optuna

FILE = "optuna.journal"
JOB, WHICH = "job", "sweep"  # a trial's job, and the study's name in the journal


def open_study(sweep: Sweep, search: Mapping[str, Any], draw: int = 0) -> optuna.Study:
    """The sweep's study, made if it is not there.

    Args:
        sweep: whose folder holds the journal.
        search: the record's ``search``.
        draw: which trial asks: each draws by a seed of its own, so that a search comes out the same every time.
    """
    import optuna  # an optional package
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.create_study(
            storage=optuna.storages.JournalStorage(JournalFileBackend(str(sweep.folder / FILE))),
            sampler=optuna.samplers.TPESampler(seed=search["seed"] + draw, n_startup_trials=search["startup"]),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=search["startup"]),
            study_name=WHICH, direction=search["direction"], load_if_exists=True,
        )  # fmt: skip


def run_trial(sweep: Sweep, name: str) -> None:
    """Run one trial: ask for values, run the command with them, tell what came out.

    A trial that falls behind the median of the others at the same step is stopped and counts as pruned; one that fails
    twice is told as failed and not tried again, since its values are to blame as likely as not.
    """
    import optuna

    search, (verb, job) = sweep.record()["search"], sweep.job(name)
    study = open_study(sweep, search, draw=int(job.at["trial"]))
    trial = _trial(study, name)
    words = tuple(f"{key}={drawn(trial, key, parameter)}" for key, parameter in search["space"].items())
    pruning = _Pruning(trial, sweep.run_of(name) / "metrics.jsonl", search["pruned_by"])
    try:
        status = run_command(sweep, name, verb, (*job.words, *words), pruning)
    except Stopped:
        sweep.keep(name, Status(PRUNED, 1, sweep.status(name).seconds))
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        return
    found = read_figures(sweep.run_of(name)) if status.status == DONE else None
    figure = None if found is None else found.figures.get(search["figure"])
    if figure is None or not math.isfinite(figure.value):
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    else:
        study.tell(trial, figure.value)


def best_trial(sweep: Sweep) -> str | None:
    """What the search found, in one line; None if no trial is done."""
    record = sweep.record()
    study = open_study(sweep, record["search"])
    done = [trial for trial in study.trials if trial.value is not None and trial.state.name == "COMPLETE"]
    if not done:
        return None
    best = study.best_trial
    chosen = " ".join(f"{key}={value}" for key, value in best.params.items())
    return f"{best.user_attrs[JOB]}, {record['search']['figure']} {best.value:.4g} with {chosen}"


def _trial(study: optuna.Study, name: str) -> optuna.Trial:
    """The job's own trial if it was begun and not ended, else a new one."""
    import optuna

    for begun in study.get_trials(states=[optuna.trial.TrialState.RUNNING]):
        if begun.user_attrs.get(JOB) == name:
            return optuna.Trial(study, begun._trial_id)  # Optuna has no public way back to a trial
    trial = study.ask()
    trial.set_user_attr(JOB, name)
    return trial


class _Pruning:
    """Reports what a running trial writes into its metrics, and says when it is hopeless."""

    def __init__(self, trial: optuna.Trial, metrics: Path, name: str | None) -> None:
        self._trial, self._metrics, self._name = trial, metrics, name
        self._told = -1

    def __call__(self) -> bool:
        if self._name is None:
            return False
        hopeless = False
        for step, value in self._new():
            self._trial.report(value, step)
            self._told = step
            hopeless = self._trial.should_prune()
        return hopeless

    def _new(self) -> Iterator[tuple[int, float]]:
        lines = read_metrics(self._metrics) if self._metrics.exists() else []
        for line in lines:
            if line["step"] > self._told and line.get(self._name) is not None:
                yield line["step"], line[self._name]
