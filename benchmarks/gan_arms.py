"""The arms of ``stylegan2_training.py``, each in a process of its own that waits while another one is timed.

``python -m benchmarks.gan_arms ARM JSON``: each line read is a number of batches to train; each line written is a lap.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from benchmarks.clock import now
from benchmarks.gan_setup import Setup, identical_words, lean_words
from benchmarks.memory import peak_resident_gb
from launch.prepare import prepare

Say = Callable[[dict[str, Any]], None]


class Laps:
    """Times batches as they are asked for.

    Args:
        device: which is waited for.
        orders: numbers of batches, one a lap; a lap begins when its order is asked for.
        say: takes each lap: seconds of each batch, and where they went.
    """

    def __init__(self, device: str, orders: Iterable[int], say: Say) -> None:
        self._device, self._orders, self._say = device, iter(orders), say
        self._left, self._begun = 0, 0.0
        self._seconds: list[float] = []
        self.parts: defaultdict[str, list[float]] = defaultdict(list)  # part -> seconds, an entry each time it ran

    def begin(self) -> bool:
        """Wait for the next order; False when there is none."""
        self._left, self._seconds = next(self._orders, 0), []
        self.parts.clear()
        self._begun = now(self._device)
        return self._left > 0

    def batch_done(self) -> bool:
        """Note a batch, and after the last of a lap wait for the next; False when there is none."""
        end = now(self._device)
        self._seconds.append(end - self._begun)
        self._begun, self._left = end, self._left - 1
        if self._left:
            return True
        self._say({"seconds": self._seconds, "parts": {name: sum(times) for name, times in self.parts.items()}})
        return self.begin()

    def watch(self, name: str, module: nn.Module) -> None:
        """Add up the forward passes of ``module``. On a GPU nothing: it would have to be waited for each time."""
        if self._device == "cuda":
            return
        begun: list[float] = []
        module.register_forward_pre_hook(lambda *_: begun.append(now("cpu")))
        module.register_forward_hook(lambda *_: self.parts[name].append(now("cpu") - begun.pop()))

    def watch_optimiser(self, optimiser: torch.optim.Optimizer) -> None:
        """Add up the steps of ``optimiser``, as :meth:`watch`."""
        if self._device == "cuda":
            return
        begun: list[float] = []
        optimiser.register_step_pre_hook(lambda *_: begun.append(now("cpu")))
        optimiser.register_step_post_hook(lambda *_: self.parts["Adam"].append(now("cpu") - begun.pop()))


class Arm(Protocol):
    """Trains for as long as ``laps`` has orders."""

    def __call__(self, setup: Setup, laps: Laps, words: list[str], checkout: Path | None) -> None: ...


def official(setup: Setup, laps: Laps, words: list[str], checkout: Path | None) -> None:
    """Networks and loss of the checkout, fed as :func:`ours` is."""
    from benchmarks.official_training import OfficialTraining

    if checkout is None:
        raise ValueError("the official arm needs a checkout")
    torch.manual_seed(0)
    training = OfficialTraining(checkout, setup)
    laps.watch("G forward", training.G.synthesis)
    laps.watch("D forward", training.D)
    for optimiser in training.optimisers:
        laps.watch_optimiser(optimiser)
    images = _images(identical_words(setup))
    order = torch.Generator().manual_seed(0)
    going = laps.begin()
    while going:
        for name, seconds in training.step(images[torch.randint(len(images), [setup.batch], generator=order)]).items():
            laps.parts[name].append(seconds)
        going = laps.batch_done()


def ours(setup: Setup, laps: Laps, words: list[str], checkout: Path | None) -> None:
    """The task as ``ganvas train`` builds it, under Lightning."""
    from launch.compose import compose

    train_task(compose("train", [*identical_words(setup), *words]), laps)


def lean(setup: Setup, laps: Laps, words: list[str], checkout: Path | None) -> None:
    """The preset for small compute, whole: with its encoder and its game of codes."""
    from launch.compose import compose

    train_task(compose("train", [*lean_words(setup), *words]), laps)


def train_task(cfg: Any, laps: Laps) -> None:
    """Build and feed the trainer of ``cfg`` until ``laps`` has no more orders."""
    import warnings

    import pytorch_lightning as pl

    from datamodules.images import GANImages
    from launch.data import training_images
    from launch.gan_training import build
    from launch.hardware import trainer_arguments

    class Pace(pl.Callback):
        def on_train_start(self, trainer: pl.Trainer, module: Any) -> None:
            laps.watch("G forward", module.G.synthesis)
            laps.watch("D forward", module.D)
            for optimiser in trainer.optimizers:
                laps.watch_optimiser(optimiser)
            trainer.should_stop = not laps.begin()

        def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
            trainer.should_stop = not laps.batch_done()

    warnings.filterwarnings("ignore", "Found .* module.* in eval mode")  # G_ema is, all the time
    trainer = pl.Trainer(
        **trainer_arguments(cfg.trainer), max_epochs=-1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=[Pace()],
    )  # fmt: skip
    trainer.fit(build(cfg), GANImages(training_images(cfg), cfg.task.batch_size, cfg.seed))


def _images(words: list[str]) -> torch.Tensor:
    from launch.compose import compose
    from launch.data import training_images

    return torch.from_numpy(training_images(compose("train", words)).images)


ARMS: dict[str, Arm] = {"official": official, "ours": ours, "lean": lean}


def arguments_json(setup: Setup, words: list[str], checkout: Path | None) -> str:
    """What :func:`main` reads."""
    return json.dumps({"setup": asdict(setup), "words": words, "checkout": checkout and str(checkout)})


def main(name: str, text: str) -> None:
    given = json.loads(text)
    setup = Setup(**given["setup"])
    if setup.threads:
        torch.set_num_threads(setup.threads)
    prepare()
    out = sys.stdout
    sys.stdout = sys.stderr  # what libraries print is not a lap

    def say(lap: dict[str, Any]) -> None:
        if setup.device == "cuda":
            lap["peak_gpu_gb"] = torch.cuda.max_memory_allocated() / 1e9
        print(json.dumps({**lap, "peak_gb": peak_resident_gb()}), file=out, flush=True)

    orders = (int(line) for line in iter(sys.stdin.readline, ""))
    ARMS[name](setup, Laps(setup.device, orders, say), given["words"], given["checkout"] and Path(given["checkout"]))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
