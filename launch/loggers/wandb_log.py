"""Weights & Biases: figures, pictures, masks, tables, and which bundle was made from which."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from launch.loggers.base import PATIENCE, Cell, Logger, first_line
from launch.options import marked
from networks.checkpoints.bundle import read_manifest
from networks.checkpoints.classes import IGNORE
from networks.checkpoints.errors import GanvasError

if TYPE_CHECKING:
    import numpy as np

CONNECT, UPLOAD = 30.0, PATIENCE - 15  # seconds: for a connection; for the last upload, and some for its ending


class WandbLog(Logger):
    """One W&B run. Made online where ``wandb.mode`` says so and W&B can be reached, else offline.

    Args:
        cfg: the run's configuration; its bundles (options marked ``bundle``) are the run's inputs.
        verb: the type of job.
        folder: the run directory; W&B writes below ``<folder>/wandb``.
    """

    def __init__(self, cfg: DictConfig, verb: str, folder: Path) -> None:
        self._settings, self._folder = cfg.wandb, folder
        self._about = {
            "project": cfg.wandb.project,
            "entity": cfg.wandb.entity,
            "group": cfg.wandb.group,
            "job_type": verb,
            "name": "/".join(folder.parts[-2:]),
            "tags": [*([cfg.task.name] if "task" in cfg else []), *cfg.wandb.tags],
            "config": OmegaConf.to_container(cfg),
            "dir": folder,
        }
        self.later = f"`wandb sync {folder}/wandb/*run-*` uploads what is missing."
        self._run = self._begin()
        # W&B's own counter would refuse a step that a resumed run repeats.
        self._run.define_metric("*", step_metric="step")
        for key in marked(cfg, "bundle"):
            value = OmegaConf.select(cfg, key) or ()
            for path in (value,) if isinstance(value, str) else value:
                self._use(Path(path))

    def _begin(self) -> Any:
        import wandb

        if self._settings.mode == "online":
            # Asked first: without a key `wandb.init` would wait for somebody to type one.
            if not wandb.login(prompt=False, verify=False):
                print("W&B has no API key here (`wandb login` stores one): logging offline.")
                return self._start("offline")
            try:
                return self._start("online")
            except Exception as error:  # refused, unreachable, out of time: it raises many things
                print(f"W&B refuses or cannot be reached ({first_line(error)}): logging offline. {self.later}")
        return self._start("offline")

    def _start(self, mode: str) -> Any:
        import wandb

        if mode == "offline":
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # nothing goes out, not even its crashes
        quiet = wandb.Settings(silent=True, console="off", init_timeout=CONNECT, finish_timeout=UPLOAD)
        return wandb.init(mode=mode, settings=quiet, **self._about)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        self._run.log({**values, "step": step})

    def image(self, name: str, path: Path, step: int) -> None:
        import wandb

        self._run.log({f"images/{name}": wandb.Image(str(path)), "step": step})

    def overlays(
        self, name: str, images: np.ndarray, masks: Mapping[str, np.ndarray], classes: Sequence[str]
    ) -> None:
        import wandb

        labels = {**dict(enumerate(classes)), IGNORE: "ignored"}
        shown = [
            wandb.Image(image, masks={
                layer: {"mask_data": ids[i], "class_labels": labels} for layer, ids in masks.items()
            })
            for i, image in enumerate(images)
        ]  # fmt: skip
        self._run.log({f"masks/{name}": shown, "step": 0})

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
        import wandb

        shown = wandb.Table(columns=list(columns), data=[list(row) for row in rows])
        self._run.log({f"tables/{name}": shown, "step": 0})

    def finish(self, figures: Mapping[str, float | str], bundles: Sequence[Path]) -> None:
        self._run.summary.update(dict(figures))
        for bundle in bundles:
            made, aliases = artifact(bundle)
            made.add_file(str(bundle), name=bundle.suffix, policy="immutable")  # no second copy in W&B's cache
            self._run.log_artifact(made, aliases=aliases)

    def close(self) -> None:
        self._run.finish()

    def _use(self, path: Path) -> None:
        """Say that the run used this file. It is named by its digest and not uploaded.

        W&B tells artifacts by names and digests, so this one is the one that the run which made the file uploads.
        """
        if not path.is_file():
            return
        used, aliases = artifact(path)
        used.add_reference(path.resolve().as_uri(), name=path.suffix)
        try:
            # What the public `use_artifact` does with a new artifact, but that refuses offline and waits online.
            self._run._log_artifact(used, aliases=aliases, is_user_created=True, use_after_commit=True)
        except Exception as error:
            print(f"W&B was not told that {path} was used ({type(error).__name__}: {first_line(error)}).")


def artifact(path: Path) -> tuple[Any, list[str]]:
    """A bundle, or a checkpoint of another code base, as W&B's empty artifact, and its aliases.

    A bundle is named by its kind and its hash, whatever its file is called, so that what one run makes and another uses
    is one artifact.
    """
    import wandb

    try:
        manifest = read_manifest(path)
    except GanvasError:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        manifest = {"kind": "checkpoint", "hash": digest}
    kind, known = manifest["kind"], manifest["hash"]
    metadata = {key: manifest[key] for key in ("hash", "metrics", "command", "licence") if key in manifest}
    made = wandb.Artifact(f"{kind}-{known[:12]}", type=kind, metadata={"file": path.name, **metadata})
    return made, [re.sub(r"[^\w.-]", "-", path.stem), known[:12]]
