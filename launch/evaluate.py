"""``ganvas evaluate``: a figure for a bundle, with its protocol; ``launch/evaluate_<kind>.py`` measures each kind."""

from __future__ import annotations

import time
from importlib import import_module
from pathlib import Path

from omegaconf import DictConfig

from launch.figures import values, write_config, write_figures
from launch.hardware import machine
from launch.loggers import check_loggers, log_result
from networks.checkpoints.errors import GanvasError


def run(cfg: DictConfig) -> None:
    """Evaluate the edits that ``cfg.recipe`` describes, if it does, else ``cfg.segmentation`` if there is one.

    ``cfg.generator`` then only helps to find the branch's generator.

    The figures are printed, and with ``out=`` also kept as ``figures.json``.

    Raises:
        GanvasError: if nothing is given, or what is given cannot be used.
    """
    edits = bool(cfg.recipe)
    if not (cfg.segmentation or cfg.generator or edits):
        raise GanvasError("nothing says what to evaluate: give generator=BUNDLE, segmentation=BUNDLE or "
                          "recipe=NAME.")
    check_loggers(cfg)
    if cfg.logger not in ([], ["none"]) and not cfg.out:
        raise GanvasError("logger= writes into out=, and there is none: give out=DIR.")
    judged = "blobs" if "move" in cfg.recipe else "edit"
    kind = judged if edits else "segmentation" if cfg.segmentation else "generator"
    if kind != "blobs" and (extra := [key for key in ("segmenter", "layout") if cfg[key]]):
        raise GanvasError(f"{extra[0]}= is for recipe=blobs.")
    begun = time.monotonic()
    figures = import_module(f"launch.evaluate_{kind}").measure(cfg)
    if cfg.out:
        write_config(Path(cfg.out), cfg)
        kept = write_figures(Path(cfg.out), "evaluate", cfg, figures, time.monotonic() - begun, machine(cfg.device))
        log_result(cfg, "evaluate", Path(cfg.out), values(figures))
        print(f"figures: {kept}")
