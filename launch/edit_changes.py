"""What edits leave behind whose images are drawn before and after: pictures, codes, figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from editors.changes import Changed
from launch.figures import Figure, Protocol, Source, values, write_figures
from launch.hardware import machine
from launch.loggers import log_result
from networks.checkpoints.latents import save_latent
from networks.grids import save_png
from networks.latent import Latent

SHEET, LATENTS = "sheet.png", "latents.safetensors"


def save_pictures(
    cfg: DictConfig, folder: Path, pixels: Sequence[np.ndarray], latent: Latent, names: Sequence[str]
) -> None:  # fmt: skip
    """Write ``images/`` and the codes."""
    for name, image in zip(names, pixels, strict=True):
        save_png(image, folder / "images" / f"{name}.png")
    save_latent(folder / LATENTS, latent.to("cpu"), names, {"command": cfg.command})


def record_changes(
    cfg: DictConfig, changed: Changed, names: Sequence[str], figures: dict[str, Figure], source: Source, seconds: float,
    how: str,
) -> None:  # fmt: skip
    """Write ``figures.json`` with what changed in each image, and tell the loggers.

    Args:
        cfg: of the verb.
        changed: the images.
        names: of them.
        figures: of all of them.
        source: which they are.
        seconds: that the command took.
        how: what is in these seconds.
    """
    columns = {"inside": changed.inside.tolist(), "outside": changed.outside.tolist()}
    each: list[dict[str, Any]] = [
        {"name": name, **{key: column[i] for key, column in columns.items()}} for i, name in enumerate(names)
    ]
    out = Path(cfg.out)
    figures = figures | {"seconds": Figure(seconds, Protocol(*source, len(changed), how=how))}
    write_figures(out, "edit", cfg, figures, seconds, machine(cfg.device), each)
    log_result(cfg, "edit", out, values(figures), {"sheet": out / SHEET}, each, [out / LATENTS])
