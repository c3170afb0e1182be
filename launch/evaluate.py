"""``ganvas evaluate``: a figure for a bundle, with its protocol; ``launch/evaluate_<kind>.py`` measures each kind."""

from __future__ import annotations

from importlib import import_module

from omegaconf import DictConfig

from networks.checkpoints.errors import GanvasError


def run(cfg: DictConfig) -> None:
    """Evaluate ``cfg.segmentation`` if there is one (``cfg.generator`` then only helps to find its generator).

    Raises:
        GanvasError: if nothing is given, or what is given cannot be used.
    """
    if not (cfg.segmentation or cfg.generator):
        raise GanvasError("nothing says what to evaluate: give generator=BUNDLE or segmentation=BUNDLE.")
    kind = "segmentation" if cfg.segmentation else "generator"
    import_module(f"launch.evaluate_{kind}").run(cfg)
