"""``ganvas evaluate``: a figure for a bundle, with its protocol; ``launch/evaluate_<kind>.py`` measures each kind."""

from __future__ import annotations

import time
from importlib import import_module
from pathlib import Path

from omegaconf import DictConfig

from launch.figures import values, write_config, write_figures
from launch.hardware import machine
from launch.limits import require_finite
from launch.loggers import check_loggers, log_result
from networks.checkpoints.errors import GanvasError


def run(cfg: DictConfig) -> None:
    """Evaluate the edit by text that ``cfg.text`` or ``cfg.mapper`` says, or the ones that ``cfg.recipe`` describes.

    Else ``cfg.segmentation`` if there is one, and ``cfg.generator`` if not; beside others that is whose they are.

    The figures are printed, and with ``out=`` also kept as ``figures.json``.

    Raises:
        GanvasError: if nothing is given, or what is given cannot be used.
    """
    edits, texts = bool(cfg.recipe), cfg.text is not None or cfg.mapper is not None
    if not (cfg.segmentation or cfg.generator or edits or texts):
        raise GanvasError("nothing says what to evaluate: give generator=BUNDLE, segmentation=BUNDLE, recipe=NAME or "
                          "mapper=BUNDLE.")
    if edits and texts:
        raise GanvasError("recipe= describes an edit by masks or blobs, and text= or mapper= one by text: give one of "
                          "them.")
    check_loggers(cfg)
    require_finite(cfg, "truncation", "strength")
    if cfg.logger not in ([], ["none"]) and not cfg.out:
        raise GanvasError("logger= writes into out=, and there is none: give out=DIR.")
    kind = "mapper" if texts else cfg.recipe.kind if edits else "segmentation" if cfg.segmentation else "generator"
    if kind != "blobs" and (extra := [key for key in ("segmenter", "layout") if cfg[key]]):
        raise GanvasError(f"{extra[0]}= is for recipe=blobs.")
    begun = time.monotonic()
    figures = import_module(f"launch.evaluate_{kind}").measure(cfg)
    if cfg.out:
        write_config(Path(cfg.out), cfg)
        kept = write_figures(Path(cfg.out), "evaluate", cfg, figures, time.monotonic() - begun, machine(cfg.device))
        log_result(cfg, "evaluate", Path(cfg.out), values(figures))
        print(f"figures: {kept}")
