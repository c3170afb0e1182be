"""Processes that Lightning starts beside the first, one for each further device: they run the same command.

They train and measure with the first one, which alone keeps the record. What they write goes into a folder that is
removed with them, so that a task need not ask which process runs it.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.utilities import rank_zero_only

from launch.limits import several_devices
from launch.record import RunRecord
from networks.checkpoints.errors import GanvasError
from trainers.diverged import DivergedError
from trainers.together import scratch_of

WHERE, WHOSE = "GANVAS_RUN", "GANVAS_FIRST"  # the environment's words for the first process's run directory, and its id
PATIENCE = 3.0  # seconds in which the first process ends, if it was what failed

SAID_BY_THE_FIRST = (KeyboardInterrupt, SystemExit, DivergedError)  # what happens to all of them alike


class FollowersRecord(RunRecord):
    """A record that reads checkpoints where the run has them, and writes elsewhere, for nobody.

    Args:
        scratch: a folder of this process's own.
        run: the run's directory.
        cfg: the run's configuration.
    """

    def __init__(self, scratch: Path, run: Path, cfg: DictConfig) -> None:
        quiet = OmegaConf.merge(cfg, {"logger": ["none"]})
        super().__init__(scratch, quiet, resumed=True)
        self.checkpoints = run / "checkpoints"


def is_follower(cfg: DictConfig) -> bool:
    """Whether this process helps another with the run."""
    return several_devices(cfg) and rank_zero_only.rank > 0


def lead(cfg: DictConfig, record: RunRecord) -> None:
    """Tell processes that are about to be started where the run is.

    Raises:
        GanvasError: if they could not be started, since the command was not typed.
    """
    if is_follower(cfg):
        return
    if "LOCAL_RANK" not in os.environ and shlex.split(cfg.command)[1:] != sys.argv[1:]:
        raise GanvasError(f"trainer.devices={cfg.trainer.devices} starts the command again for each device: run "
                          "`ganvas train` by itself.")  # fmt: skip
    os.environ |= {WHERE: str(record.path.absolute()), WHOSE: str(os.getpid())}


@contextmanager
def follow(cfg: DictConfig) -> Iterator[FollowersRecord]:
    """The record of a process that helps, which says nothing but what went wrong here alone.

    Raises:
        GanvasError: if nobody said where the run is.
    """
    run = os.environ.get(WHERE) or cfg.out
    if not run:
        raise GanvasError("processes that were started together need out=DIR, the same for all.")
    scratch = scratch_of(os.getpid())
    scratch.mkdir(mode=0o700)
    first = int(os.environ.get(WHOSE, os.getppid()))  # it may be gone by now
    threading.Thread(target=_end_with, args=[first, scratch], daemon=True).start()
    with Path(os.devnull).open("w") as nothing, redirect_stdout(nothing):
        try:
            yield FollowersRecord(scratch, Path(run), cfg)
        except SAID_BY_THE_FIRST:
            return
        except Exception:
            time.sleep(PATIENCE)  # a lost connection is the first process's end, with which this one ends
            raise
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _end_with(parent: int, scratch: Path) -> None:
    """Leave as soon as ``parent`` is gone: it would be waited for for ever."""
    while os.getppid() == parent:
        time.sleep(0.5)
    shutil.rmtree(scratch, ignore_errors=True)
    os._exit(1)
