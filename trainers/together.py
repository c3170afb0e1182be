"""Several devices that train one model, each on its part of every batch.

Gradients are averaged where a trainer steps, and not by hooks of DistributedDataParallel, which see one backward pass
of one loss: players of a game take their gradients apart, some by ``torch.autograd.grad``, and replay captured passes.
"""

from __future__ import annotations

import atexit
import shutil
import signal
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor

from networks.metrics.share import Share


class Together(DDPStrategy):
    """A process for each device, with modules as they are: what is to agree, a trainer averages itself."""

    def configure_ddp(self) -> None:
        """Wrap nothing; each process has built or read the same module."""

    def _configure_launcher(self) -> None:
        super()._configure_launcher()
        self._launcher.kill = lambda _number: self._end_others()
        atexit.register(self._end_others)  # before the connection is taken down, which waits for whoever waits for us

    def _end_others(self) -> None:
        """End the processes that this one has started, and what they wrote."""
        started = list(self._launcher.procs)
        self._launcher.procs.clear()  # or Lightning's observer would see them end, and kill this one
        for process in started:
            process.kill()
            process.wait()
            shutil.rmtree(scratch_of(process.pid), ignore_errors=True)


class OwnSigterm(pl.Callback):
    """Puts back who takes a SIGTERM: Lightning's handler would broadcast, where others wait for a gradient."""

    def __init__(self) -> None:
        self._handler = signal.getsignal(signal.SIGTERM)

    def on_train_start(self, *_: Any) -> None:
        signal.signal(signal.SIGTERM, self._handler)


def scratch_of(process: int) -> Path:
    """Where a further process, of this number, writes what nobody keeps."""
    return Path(tempfile.gettempdir()) / f"ganvas-{process}"


def devices(module: pl.LightningModule) -> int:
    """How many devices train ``module``."""
    return module.trainer.world_size


def agree(module: pl.LightningModule, tensors: Iterable[Tensor]) -> None:
    """Give floating-point tensors, each the same shape everywhere, their mean over the devices, in one exchange.

    Args:
        module: being trained.
        tensors: on its device; changed in place.
    """
    if devices(module) == 1 or not (found := list(tensors)):
        return
    flat = torch.cat([x.detach().float().flatten() for x in found])
    mean = module.trainer.strategy.reduce(flat, reduce_op="mean")
    for x, part in zip(found, mean.split([x.numel() for x in found]), strict=True):
        x.detach().copy_(part.view_as(x))


def gathered(module: pl.LightningModule, values: Tensor) -> Tensor:
    """``values`` ``[n, ...]`` of all devices, in the order of their parts of the batch: ``[devices * n, ...]``."""
    if devices(module) == 1:
        return values
    return module.trainer.strategy.all_gather(values.detach().contiguous()).flatten(0, 1)


def share_of(module: pl.LightningModule) -> Share:
    """This device's share of a measurement."""

    def everyone(values: Tensor) -> Tensor:
        return gathered(module, values.to(module.trainer.strategy.root_device)).cpu()

    return Share(module.trainer.global_rank, devices(module), everyone)
