"""Options of ``ganvas sweep``: the launchers, as Hydra's plugins have them, and the sweepers."""

from __future__ import annotations

from dataclasses import dataclass

from launch.options import option
from launch.schemas import LauncherConfig, SweeperConfig


@dataclass
class BasicConfig(LauncherConfig):
    """One job after another, on this machine."""


@dataclass
class JoblibConfig(LauncherConfig):
    """Several jobs at once on this machine, by joblib."""

    jobs: int = option(2, "how many at once; -1 for one a core")


@dataclass
class SubmititLocalConfig(LauncherConfig):
    """Each job a process of submitit's on this machine, as SLURM would run it."""

    minutes: int = option(60, "a job's time limit")
    cpus: int | None = option(None, "cores of a job")
    gpus: int | None = option(None, "GPUs of a job")


@dataclass
class SubmititSlurmConfig(SubmititLocalConfig):
    """Each job one of SLURM's, by submitit."""

    partition: str | None = option(None, "SLURM partition; null for the cluster's default")
    account: str | None = option(None, "SLURM account")
    memory_gb: int | None = option(None, "memory of a job")
    constraint: str | None = option(None, "SLURM constraint, such as the kind of GPU")
    requeue: int = option(3, "how often a job that reaches its time limit, or is preempted, goes back into the queue")
    at_once: int = option(16, "jobs running at once")


@dataclass
class GridConfig(SweeperConfig):
    """Every combination of the axes, with every seed."""


@dataclass
class OptunaConfig(SweeperConfig):
    """The search that an experiment declares, by Optuna; kept on disk, and gone on with by the same command."""

    trials: int = option(20, "how many trials there are in the end")
    seed: int = option(0, "of the sampler")
    startup: int = option(5, "finished trials before a trial may be stopped early")


SCHEMAS = {
    "launcher/basic": BasicConfig,
    "launcher/joblib": JoblibConfig,
    "launcher/submitit_local": SubmititLocalConfig,
    "launcher/submitit_slurm": SubmititSlurmConfig,
    "sweeper/grid": GridConfig,
    "sweeper/optuna": OptunaConfig,
}
