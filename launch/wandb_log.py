"""Weights & Biases as a guest: it logs beside the record, and a run neither fails nor waits because of it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from networks.checkpoints.classes import IGNORE

if TYPE_CHECKING:
    import numpy as np

PATIENCE = 120.0  # seconds that the end of a run waits for an upload


class WandbLog:
    """One W&B run, begun with the first thing to log.

    Args:
        settings: mode, project, entity and group.
        folder: the run directory; W&B writes below ``<folder>/wandb``.
        config: the run's configuration as plain values.
    """

    def __init__(self, settings: DictConfig, folder: Path, config: Any) -> None:
        self._settings, self._folder, self._config = settings, folder, config
        self._alive = settings.mode != "disabled"
        self._run: Any = None

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Log figures at ``step`` of the run's own clock."""
        self._guard(lambda run: run.log({**values, "step": step}))

    def image(self, name: str, path: Path, step: int) -> None:
        """Log a picture."""

        def send(run: Any) -> None:
            import wandb

            run.log({f"images/{name}": wandb.Image(str(path)), "step": step})

        self._guard(send)

    def overlays(
        self, name: str, images: np.ndarray, masks: Mapping[str, np.ndarray], classes: Sequence[str]
    ) -> None:
        """Log images with masks over them; see :meth:`launch.record.RunRecord.overlays`."""
        labels = {**dict(enumerate(classes)), IGNORE: "ignored"}

        def send(run: Any) -> None:
            import wandb

            shown = [
                wandb.Image(image, masks={
                    layer: {"mask_data": ids[i], "class_labels": labels} for layer, ids in masks.items()
                })
                for i, image in enumerate(images)
            ]  # fmt: skip
            run.log({f"masks/{name}": shown, "step": 0})

        self._guard(send)

    def finish(self, figures: Mapping[str, float | str], bundles: Sequence[Path]) -> None:
        """Add the headline figures and the bundles, and end the run."""

        def send(run: Any) -> None:
            import wandb

            run.summary.update(dict(figures))
            for bundle in bundles:
                artifact = wandb.Artifact(bundle.stem, type="bundle")
                artifact.add_file(str(bundle), policy="immutable")  # no second copy in W&B's cache
                run.log_artifact(artifact)

        self._guard(send)
        self.close()

    def close(self) -> None:
        """End the run; what is not uploaded within the patience stays on disk for ``wandb sync``."""
        run, self._run, self._alive = self._run, None, False
        if run is None:
            return
        ending = threading.Thread(target=_quietly, args=(run.finish,), daemon=True)
        ending.start()
        ending.join(PATIENCE)
        if ending.is_alive():
            print(f"W&B is still uploading: `wandb sync {self._folder / 'wandb'}` finishes it later.")

    def _guard(self, act: Callable[[Any], None]) -> None:
        """Run ``act`` on the W&B run; the first failure is said once and ends the logging, not the training."""
        if not self._alive:
            return
        try:
            if self._run is None:
                self._run = self._begin()
            act(self._run)
        except Exception as error:  # whatever W&B raises, the run goes on
            self._alive = False
            print(f"W&B logging stopped ({type(error).__name__}: {error}); the run goes on, see metrics.jsonl.")

    def _begin(self) -> Any:
        import wandb

        mode = self._settings.mode
        # Asked first: without a key `wandb.init` would wait for somebody to type one.
        if mode == "online" and not wandb.login(prompt=False, verify=False):
            print("W&B has no API key here (`wandb login` stores one): logging offline.")
            mode = "offline"
        if mode != "online":
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # offline: nothing goes out, not even its crashes
        run = wandb.init(
            mode=mode,
            project=self._settings.project,
            entity=self._settings.entity,
            group=self._settings.group,
            dir=self._folder,
            config=self._config,
            settings=wandb.Settings(silent=True, console="off", init_timeout=60),
        )
        run.define_metric("*", step_metric="step")  # W&B's own counter would refuse a step that a resumed run repeats
        return run


def _quietly(act: Callable[[], None]) -> None:
    try:
        act()
    except Exception as error:
        print(f"W&B could not end its run: {type(error).__name__}: {error}")
