"""``ganvas evaluate``: a figure for a bundle, with its protocol; ``launch/evaluate_<kind>.py`` measures each kind."""

from __future__ import annotations

import time
from importlib import import_module
from pathlib import Path

from omegaconf import DictConfig

from launch.figures import write_config, write_figures
from launch.hardware import machine
from networks.checkpoints.errors import GanvasError


def run(cfg: DictConfig) -> None:
    """Evaluate ``cfg.segmentation`` if there is one (``cfg.generator`` then only helps to find its generator).

    The figures are printed, and with ``out=`` also kept as ``figures.json``.

    Raises:
        GanvasError: if nothing is given, or what is given cannot be used.
    """
    if not (cfg.segmentation or cfg.generator):
        raise GanvasError("nothing says what to evaluate: give generator=BUNDLE or segmentation=BUNDLE.")
    kind = "segmentation" if cfg.segmentation else "generator"
    begun = time.monotonic()
    figures = import_module(f"launch.evaluate_{kind}").measure(cfg)
    if cfg.out:
        write_config(Path(cfg.out), cfg)
        print(write_figures(Path(cfg.out), "evaluate", cfg, figures, time.monotonic() - begun, machine(cfg.device)))
