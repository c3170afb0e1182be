"""``ganvas evaluate recipe=reconstruction``: held-out images projected as every class (neural-collage, Fig. 5).

Suzuki et al. 2018 (arXiv 1811.10153) project an image for a class that is known, and show what it looks like as others.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor

from editors.invert import InversionSettings
from launch.class_judge import ClassJudge
from launch.collage_pictures import Pictures, conditional_editor, heldout, of_class
from launch.figures import Figure, Protocol, all_by
from launch.hardware import require_device
from launch.invert import inversion_settings
from launch.limits import require_at_least
from launch.reports.collage import class_sheet
from networks.grids import save_png

IMAGES = 24
SHEET = "images/classes.png"   # in out=


def measure(cfg: DictConfig) -> dict[str, Figure]:
    """All figures; they are printed, and with ``out=`` a sheet of the reconstructions is written.

    Raises:
        GanvasError: if what is given cannot be used, or does not fit together.
    """
    require_device(cfg.device)
    require_at_least(cfg, {"n": 2})
    settings = inversion_settings(cfg.inversion)
    editor = conditional_editor(cfg)
    judge = ClassJudge.load(cfg.judge, editor.classes)
    given, source = heldout(cfg, editor.generator, cfg.n or IMAGES)
    print(f"reconstructions: {len(given)} {source}, each as {len(editor.classes)} classes")
    found = {name: of_class(editor, given.images, i, settings) for i, name in enumerate(editor.classes)}
    drawn = {name: each.reconstruction.cpu() for name, each in found.items()}

    base = Protocol(*source, len(given), generator=editor.generator.hash, how=how(settings))
    psnr, distance = (torch.stack([getattr(each, name).cpu() for each in found.values()], dim=1)
                      for name in ("psnr", "distance"))  # fmt: skip
    figures = all_by(base, by_class("psnr", psnr, given.labels))
    figures["own_best"] = Figure(float((psnr.argmax(1) == given.labels).double().mean()), base)
    figures |= all_by(replace(base, network=settings.critic), by_class("perceptual", distance, given.labels))
    figures |= all_by(replace(base, network=judge.name), judged(judge, given, drawn))
    for name, figure in figures.items():
        print(f"{name}: {figure.value:.4g}")
    print(f"protocol: {base}")
    if cfg.out:
        save_png(np.asarray(class_sheet(given.images, given.labels, drawn)), Path(cfg.out) / SHEET)
        print(f"sheet: {Path(cfg.out) / SHEET}")
    return figures


def how(settings: InversionSettings) -> str:
    """What projections heed, beside figures."""
    weights = {"pixels": settings.pixel, "critic": settings.perceptual,
               f"discriminator ({', '.join(settings.feature_layers) or 'last block'})": settings.features}  # fmt: skip
    said = ", ".join(f"{name} {weight:g}" for name, weight in weights.items() if weight)
    return f"projected in {settings.steps} steps by {said}"


def by_class(name: str, values: Tensor, labels: Tensor) -> dict[str, float]:
    """The mean of ``values [N, classes]`` for the class that each image shows, and for the others.

    Example:
        >>> by_class("psnr", torch.tensor([[30.0, 10.0], [20.0, 40.0]]), torch.tensor([0, 1]))
        {'psnr_own': 35.0, 'psnr_others': 15.0}
    """
    own = torch.zeros_like(values, dtype=torch.bool).scatter_(1, labels[:, None], True)
    return {f"{name}_own": float(values[own].mean()), f"{name}_others": float(values[~own].mean())}


def judged(judge: ClassJudge, given: Pictures, drawn: dict[str, Tensor]) -> dict[str, float]:
    """How often the judge sees the class that an image shows: in the image, and projected as that or as another."""
    seen = torch.stack([judge.likely(images, given.labels) for images in drawn.values()], dim=1)  # [N, classes]
    rates = by_class("seen", seen.double(), given.labels)
    return {"seen_given": float(judge.likely(given.images, given.labels).double().mean()), **rates}
