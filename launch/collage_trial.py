"""Collages that are measured: pictures, a class for each that it is to take in a region, and four ways to do it.

``classes`` is spatial conditional batch normalisation, ``features`` the blending of another picture's features
(Suzuki et al. 2018, arXiv 1811.10153). Two need less: ``lerp`` draws the picture in both classes and mixes the results,
``pixels`` takes those of another picture, without any GAN.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor

from editors.changes import Changed
from editors.collage import Collaged, CollageEditor
from editors.collage_scripts import parse_layers
from editors.compositing import PASTES, paste
from launch.collage_pictures import Pictures, halves, heldout, matching, one_hot, other_classes, project, samples
from launch.figures import Source
from launch.invert import inversion_settings
from launch.limits import require_at_least
from networks.checkpoints.errors import GanvasError
from networks.collage import feathered
from networks.grids import to_uint8
from networks.latent import Latent

OF, REGIONS = ("samples", "images"), ("disc", "left", "whole")
NEEDS_CODES = ("classes", "lerp")   # of the pictures; features needs those of the others too


@dataclass(frozen=True)
class Mixed(Changed):
    """Pictures with a region of others; the gradients that are pasted are the others', which have no seam."""

    source: Tensor   # [N, C, R, R]


@dataclass(frozen=True)
class Trial:
    """What is done to which pictures."""

    editor: CollageEditor
    given: Pictures           # that are edited: samples, or images with the codes that they were projected to
    goal: Tensor              # int64 [N], the class that each is to take
    others: Pictures | None   # a picture of that class for each, where the method takes something of it
    mask: Tensor | None       # [R, R] from 0 to 1, with sharp edges; None: all of the picture
    source: Source
    near: dict[str, float]    # of images: how near their projections come
    real: Pictures | None     # other images of the same source

    @property
    def region(self) -> Tensor:
        """Where pictures are to change, bool ``[N, R, R]``."""
        size = self.editor.generator.img_resolution
        mask = torch.ones(size, size) if self.mask is None else self.mask
        return (mask >= 0.5).expand(len(self.given), -1, -1)


def check(cfg: DictConfig) -> None:
    """Refuse what can be refused before a network is read.

    Raises:
        GanvasError: naming the option.
    """
    recipe = cfg.recipe
    choices = [("method", _method(cfg), METHODS), ("recipe.of", recipe.of, OF),
               ("recipe.region", recipe.region, REGIONS)]  # fmt: skip
    for key, value, known in choices:
        if value not in known:
            raise GanvasError(f"{key}={value} is not known: choose of {', '.join(known)}.")
    if recipe.paste is not None and recipe.paste not in PASTES:
        raise GanvasError(f"recipe.paste={recipe.paste} is not known: choose of {', '.join(PASTES)}, or leave it out.")
    if recipe.paste and recipe.region == "whole":
        raise GanvasError("recipe.region=whole leaves nothing of the picture to paste into: leave recipe.paste= out.")
    if not 0 < recipe.size <= 1 or not 0 <= cfg.strength <= 1:
        raise GanvasError(f"recipe.size={recipe.size} must be above 0 and up to 1, and strength={cfg.strength} from 0 "
                          "to 1.")  # fmt: skip
    require_at_least(cfg, {"n": 2, "seed": 0, "batch": 1, "recipe.feather": 0})


def _method(cfg: DictConfig) -> str:
    return cfg.method or "classes"


def trial_of(cfg: DictConfig, editor: CollageEditor, n: int) -> Trial:
    """The pictures and what they are to become.

    Raises:
        GanvasError: if there are no such images, or too few.
    """
    generator, method = editor.generator, _method(cfg)
    mask = region_mask(cfg.recipe.region, cfg.recipe.size, generator.img_resolution)
    if cfg.recipe.of == "samples":
        given = samples(editor, n, cfg.seed)
        goal = other_classes(given.labels, generator.c_dim)
        others = samples(editor, n, cfg.seed, goal, first=n) if method in ("features", "pixels") else None
        real = heldout(cfg, generator, n)[0] if cfg.metrics_features else None
        return Trial(editor, given, goal, others, mask, Source("samples", f"seed {cfg.seed}"), {}, real)
    every, source = heldout(cfg, generator, 2 * n)
    given, real = (half[:n] for half in halves(every))
    goal, near = other_classes(given.labels, generator.c_dim), {}
    others = matching(real, goal, editor.classes) if method in ("features", "pixels") else None
    settings = inversion_settings(cfg.inversion)
    if method != "pixels":
        latent, psnr, distance = project(editor, given.images, given.labels, settings)
        given, near = replace(given, latent=latent), {"psnr": float(psnr.mean()), "perceptual": float(distance.mean())}
    if method == "features" and others is not None:
        others = replace(others, latent=project(editor, others.images, others.labels, settings)[0])
    return Trial(editor, given, goal, others, mask, source, near, real)


def region_mask(name: str, size: float, resolution: int) -> Tensor | None:
    """A region by its name, ``[R, R]`` of 0 and 1; None for all of the picture."""
    at = (torch.arange(resolution) + 0.5) / resolution - 0.5
    match name:
        case "disc":
            return (at[:, None] ** 2 + at**2 <= (size / 2) ** 2).float()
        case "left":
            return (at < 0).float().expand(resolution, -1).contiguous()
    return None


def run(cfg: DictConfig, trial: Trial) -> Changed:
    """Pictures as the method draws them, without and with what it does.

    Raises:
        GanvasError: if a layer is unknown, or the region does not fit.
    """
    return METHODS[_method(cfg)](cfg, trial)


def pasted(trial: Trial, changed: Changed, how: str | None) -> Tensor:
    """The pictures as they end: put back where they were taken from, or as drawn; ``[N, 3, R, R]`` in [-1, 1]."""
    if how is None:
        return changed.image
    drawn = changed.source if isinstance(changed, Mixed) else changed.image
    rows = zip(to_uint8(trial.given.images), to_uint8(drawn), trial.region.numpy(), strict=True)
    shown = np.stack([paste(photo, edited, region, how) for photo, edited, region in rows])
    return torch.from_numpy(shown).permute(0, 3, 1, 2).float() / 127.5 - 1


def _classes(cfg: DictConfig, trial: Trial) -> Collaged:
    goal = one_hot(trial.goal, trial.editor.generator).cpu()
    step = trial.editor.paint(goal, trial.mask, **_how(cfg), name="another class")
    return trial.editor.edit(_codes(trial.given), [step])


def _features(cfg: DictConfig, trial: Trial) -> Collaged:
    step = trial.editor.paste(_codes(trial.others), trial.mask, **_how(cfg), name="another picture")
    return trial.editor.edit(_codes(trial.given), [step])


def _lerp(cfg: DictConfig, trial: Trial) -> Changed:
    codes = _codes(trial.given)
    own, other = (trial.editor.render(each).cpu() for each in (
        codes, replace(codes, label=one_hot(trial.goal, trial.editor.generator))))  # fmt: skip
    return _mixed(cfg, trial, own, other)


def _pixels(cfg: DictConfig, trial: Trial) -> Changed:
    if trial.others is None:
        raise ValueError("there are no other pictures to take pixels of")
    return _mixed(cfg, trial, trial.given.images, trial.others.images)


def _mixed(cfg: DictConfig, trial: Trial, own: Tensor, other: Tensor) -> Mixed:
    soft, source = feathered(trial.region.float(), cfg.recipe.feather), torch.lerp(own, other, cfg.strength)
    return Mixed(own, torch.lerp(own, source, soft[:, None]), soft, source)


def _how(cfg: DictConfig) -> dict[str, Any]:
    return {"strength": cfg.strength, "feather": cfg.recipe.feather, "layers": parse_layers(list(cfg.recipe.layers))}


def _codes(pictures: Pictures | None) -> Latent:
    if pictures is None or pictures.latent is None:
        raise ValueError("these pictures have no codes")
    return pictures.latent


METHODS: dict[str, Callable[[DictConfig, Trial], Changed]] = {
    "classes": _classes, "features": _features, "lerp": _lerp, "pixels": _pixels,
}  # fmt: skip
