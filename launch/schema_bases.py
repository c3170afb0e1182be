"""What the options of verbs begin with: the groups that a verb may have, and what every verb understands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from launch.options import MANDATORY, option


@dataclass
class TaskConfig:
    """What is trained. Each task extends this."""

    name: str = option(MANDATORY, "which training function runs: launch/train_<name>.py", hidden=True)


@dataclass
class DataConfig:
    """Where images come from. Each source extends this."""


@dataclass
class RecipeConfig:
    """What an edit is for; a recipe extends this."""


@dataclass
class TrainerConfig:
    """Devices and precision: the arguments of a Lightning Trainer, and threads."""

    accelerator: str = option("cpu", "cpu, gpu, or auto")
    devices: int = option(1, "how many devices; -1 for all")
    num_nodes: int = option(1, "how many machines")
    strategy: str = option("auto", "Lightning strategy, e.g. ddp")
    precision: str = option("32-true", "Lightning precision: 32-true, bf16-mixed or 16-mixed")
    deterministic: bool = option(False, "refuse operations that differ from run to run")
    threads: int | None = option(None, "CPU threads; null leaves torch's choice")


@dataclass
class WandbConfig:
    """Weights & Biases; offline unless asked."""

    mode: str = option("offline", "offline, online or disabled")
    project: str = option("ganvas", "project that runs are filed under")
    entity: str | None = option(None, "team or user; null for the account's own")
    group: str | None = option(None, "group that runs are shown in; a sweep's name for its runs")
    tags: list[str] = option(list, "words that runs are found by, beside the task's name")


@dataclass
class ExportConfig:
    """What goes into the bundle."""

    embed_generator: bool = option(False, "put the generator into the bundle, so that one file is enough")


@dataclass
class VerbConfig:
    """What every verb understands."""

    debug: bool = option(False, "show the traceback of an error", free=True)
    command: str = option("", "the command as typed, kept in the record", free=True, hidden=True)


def logger_option(*names: str) -> Any:
    """The option ``logger``, these loggers by default."""
    doc = "where figures and pictures go beside the record: wandb, tensorboard, csv, several as [a,b], or none"
    return option(lambda: list(names), doc, free=True)


@dataclass
class LoggedConfig(VerbConfig):
    """A verb that leaves figures."""

    logger: list[str] = logger_option()
    wandb: WandbConfig = option(WandbConfig, "Weights & Biases", free=True)
