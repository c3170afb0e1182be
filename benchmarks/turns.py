"""A training by the framework and another loop, in turns, in one process: both meet the same load of the machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch

from benchmarks.clock import now


class Spent(NamedTuple):
    """Seconds on the wall, and of all of the process's threads in user and system mode."""

    wall: float
    cpu: float

    @classmethod
    def now(cls, device: torch.device | str = "cpu") -> Spent:
        """The clocks; a GPU is waited for first."""
        return cls(now(device), time.process_time())

    def since(self, start: Spent) -> Spent:
        """What went by."""
        return Spent(self.wall - start.wall, self.cpu - start.cpu)


@dataclass
class Turns(pl.Callback):
    """Lets a bare loop train whenever the framework has trained for a turn, and times both.

    It is the last of the callbacks, so that a turn of the framework has all that the framework does for a step.
    """

    bare: Callable[[], None]           # one step of the bare loop
    steps: int                         # of a turn
    turns: int                         # that are timed, after one that is not
    together: int = 1                  # steps that Lightning sees as one batch
    framework: list[Spent] = field(default_factory=list)
    loop: list[Spent] = field(default_factory=list)

    def on_train_start(self, trainer: pl.Trainer, *_: Any) -> None:
        self.device = trainer.strategy.root_device
        self.done, self.start = 0, Spent.now(self.device)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self.done += self.together
        if self.done % self.steps:
            return
        middle = Spent.now(self.device)
        for _step in range(self.steps):
            self.bare()
        end = Spent.now(self.device)
        if self.done > self.steps:  # the first turn warms up
            self.framework.append(middle.since(self.start))
            self.loop.append(end.since(middle))
        trainer.should_stop = len(self.loop) == self.turns
        self.start = Spent.now(self.device)

    def row(self, what: str, apart: float) -> dict[str, Any]:
        """What the table says of it: medians of the turns, and of the ratio of each turn to the one beside it."""
        found: dict[str, Any] = {"step": what, "turns": len(self.loop), "steps": len(self.loop) * self.steps}
        for clock in Spent._fields:
            ours, bare = ([getattr(spent, clock) for spent in turns] for turns in (self.framework, self.loop))
            found[f"framework, {clock} ms"] = 1e3 * statistics.median(ours) / self.steps
            found[f"bare, {clock} ms"] = 1e3 * statistics.median(bare) / self.steps
            ratios = [one / other for one, other in zip(ours, bare, strict=True)]
            found[f"overhead, {clock} %"] = 100 * (statistics.median(ratios) - 1)
        return {**found, "largest difference of the weights": apart}
