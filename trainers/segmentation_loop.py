"""What both ways of training a head share: the settings, the clock, the progress bar and the checkpoint."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Literal, get_args

import pytorch_lightning as pl
from tqdm import tqdm

from networks.checkpoints.atomic import atomic_path
from networks.checkpoints.errors import GanvasError

StepListener = Callable[[int, dict[str, float]], None]
Recipe = Literal["default", "original"]


@dataclass(frozen=True)
class SegmentationSettings:
    """How a head is trained.

    Raises:
        GanvasError: if a value makes no sense.
    """

    recipe: Recipe = "default"      # ours, or 64 pixels a step with the original's stop rule
    passes: int = 20                # times every labelled pixel is seen (default recipe) ...
    least_steps: int = 1280         # ... or more often, until there are so many steps: few labels need as many
    windows: int = 2                # a side: a step sees one of windows x windows parts of ... (default recipe)
    images_per_step: int = 1        # ... so many images (default recipe)
    learning_rate: float = 2e-2     # Adam's peak rate; 1e-3 throughout in the original recipe
    weight_decay: float = 0.05      # decoupled (default recipe)
    balance: float = 0.0            # class weight = frequency ** -balance (default recipe)
    dice: float = 1.0               # weight of the Dice loss, taken over each tile (default recipe)
    jitter: float = 0.0             # noise on the latents, in standard deviations
    noise: bool = False             # fresh synthesis noise in each rendering
    refresh: int = 2                # passes between two renderings
    tile: int = 256                 # pixels a side of what is computed at once
    half: bool = False              # cached features as float16
    min_class_pixels: int = 0       # a class with fewer pixels in an image becomes background; 30 in the original
    seed: int = 0                   # of order, augmentation and dropout

    def __post_init__(self) -> None:
        if self.recipe not in get_args(Recipe):
            raise GanvasError(f"training recipe must be {' or '.join(get_args(Recipe))}, got {self.recipe!r}.")
        for name in ("windows", "images_per_step", "refresh", "tile"):
            if getattr(self, name) < 1:
                raise GanvasError(f"training {name} must be at least 1, got {getattr(self, name)}.")
        if not 0 < self.learning_rate < math.inf:
            raise GanvasError(f"training learning_rate must be a number greater than 0, got {self.learning_rate}.")
        for name in ("passes", "least_steps", "weight_decay", "balance", "dice", "jitter", "min_class_pixels"):
            if not 0 <= getattr(self, name) < math.inf:
                raise GanvasError(f"training {name} must be a number not below 0, got {getattr(self, name)}.")
        if self.passes == self.least_steps == 0:
            raise GanvasError("training passes=0 and least_steps=0 leave nothing to train: raise one of them.")


class Clock:
    """An endless loader of nothing: the module's ``clock`` says which step is next, and the store makes its batch.

    It says that it can be resumed, which is true since it has no state.
    """

    def __iter__(self) -> Iterator[int]:
        return count()

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to restore."""


class Progress(pl.Callback):
    """A bar with rate, time left and loss; the caller may listen to the steps too.

    The module has ``steps_taken``, ``total_steps`` and the latest ``loss``.
    """

    def __init__(self, show: bool, listen: StepListener | None = None, name: str = "segmentation") -> None:
        self.show, self.listen, self.name = show, listen, name

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self.step = pl_module.steps_taken
        self.bar = tqdm(
            total=pl_module.total_steps, initial=self.step, desc=self.name, unit="step",
            disable=not self.show, mininterval=0.5,
        )  # fmt: skip

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
        before, self.step = self.step, pl_module.steps_taken
        self.bar.update(self.step - before)
        if self.step // 50 > before // 50 or (before == 0 < self.step):
            loss = float(pl_module.loss.mean())
            self.bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            if self.listen is not None:
                self.listen(self.step, {"loss": loss})

    def on_train_end(self, *_: Any) -> None:
        self.bar.close()


class KeepLast(pl.Callback):
    """Writes the whole state every so often, and at the end; a killed run resumes from it to the same result."""

    def __init__(self, path: Path, seconds: float) -> None:
        self.path, self.seconds, self.saved = path, seconds, time.monotonic()

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if time.monotonic() - self.saved > self.seconds:
            self._save(trainer)

    def on_train_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self._save(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        # A step may leave weights that are not numbers; the next loss says so, and the checkpoint before is still good.
        if not all(bool(p.isfinite().all()) for p in trainer.lightning_module.parameters()):
            return
        with atomic_path(self.path) as temporary:
            trainer.save_checkpoint(temporary)
        self.saved = time.monotonic()
