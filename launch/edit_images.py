"""The images that an edit is measured on and learned from, by a recipe: rendered avatars, or a folder with a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor

from datamodules.avatar_masks import PART_CLASSES
from datamodules.avatars import redraw_avatars
from datamodules.folder import read_folder
from datamodules.labelled_attributes import AttributeImages, read_attributes, rendered_attributes
from editors.mask_programs import parse_program
from editors.segmentation import Segmentation
from launch.figures import Source
from networks.checkpoints.classes import ClassList
from networks.checkpoints.errors import GanvasError

IMAGES = 400         # that are edited where n= says nothing: as many as MaskGAN and EditGAN take
HELDOUT_SEED = 0     # they are the same for every seed of an experiment
AS_MANY = 64         # a draw is given up when so many times what is wanted holds too few


@dataclass(frozen=True)
class Pool:
    """Images of one kind to edit, and others that have what the edit is to reach."""

    chosen: AttributeImages      # those that are edited, with what is known of them
    there: AttributeImages       # of the same source: they have the value already
    source: Source
    numbers: np.ndarray          # of the chosen, in the source
    split: str = ""              # of avatars
    seed: int = 0
    style: str = ""              # of avatars


def pair_of(text: str, key: str) -> tuple[str, str]:
    """``attribute=value`` in two.

    Raises:
        GanvasError: if it is not written so.
    """
    name, equals, value = text.partition("=")
    if not (equals and name and value):
        raise GanvasError(f"recipe.{key}={text} must read attribute=value, as smile=yes.")
    return name, value


def tested_images(cfg: DictConfig, resolution: int) -> Pool:
    """The first ``n`` held-out images that the recipe's ``where`` describes.

    Raises:
        GanvasError: if there are too few, or nothing says what images show.
    """
    n = IMAGES if cfg.n is None else cfg.n
    if n < 2:
        raise GanvasError(f"n={n} must be at least 2.")
    if cfg.data.get("kind") == "avatars":
        return _avatars(cfg, n, "heldout", HELDOUT_SEED, resolution)
    if cfg.data.get("kind") != "folder" or not (cfg.images and cfg.table):
        raise GanvasError("an edit is measured on data=avatars, or on data=folder images=DIR table=FILE.")
    found = read_attributes(cfg.images, cfg.table, resolution, cfg.data.fit)
    numbers = found.where(*pair_of(cfg.recipe.where, "where"))[:n]
    if len(numbers) < n:
        raise GanvasError(f"{cfg.table} has {len(numbers)} images with {cfg.recipe.where}: give n={len(numbers)} or "
                          "less.")  # fmt: skip
    there = found.take(found.where(*pair_of(cfg.recipe.reach, "reach"))[:n])
    if len(there) < 2:
        raise GanvasError(f"{cfg.table} has {len(there)} images with {cfg.recipe.reach}, and at least 2 are compared "
                          "with the edited ones: give a larger table.")  # fmt: skip
    return Pool(found.take(numbers), there, Source(f"images of {cfg.images}", cfg.recipe.where), numbers)


def examples(cfg: DictConfig, classes: ClassList, resolution: int) -> tuple[Tensor, Pool | None, Tensor | None]:
    """What a vector is learned from: images ``uint8 [N, 3, R, R]``, their pool, and wished masks where drawn by hand.

    Raises:
        GanvasError: if the recipe says nothing that can be used.
    """
    recipe = cfg.recipe
    if bool(recipe.images) != bool(recipe.masks):
        raise GanvasError("recipe.images and recipe.masks go together: images, and their wished masks.")
    if recipe.images:
        found = read_folder(recipe.images, recipe.masks, None, resolution, otherwise=classes)
        if not found.classes.begins(classes):
            raise GanvasError(f"the masks in {recipe.masks} have the classes {', '.join(found.classes.names)}, and the "
                              f"branch knows {', '.join(classes.names)}: draw wishes with the branch's.")  # fmt: skip
        return torch.as_tensor(found.images), None, torch.as_tensor(found.masks)
    if cfg.data.get("kind") != "avatars":
        raise GanvasError("a vector is learned from recipe.images=DIR recipe.masks=DIR: a few images and wished masks.")
    pool = _avatars(cfg, recipe.examples, "labels", cfg.seed, resolution)
    return torch.as_tensor(pool.chosen.images), pool, None


def wishes(cfg: DictConfig, pool: Pool | None, seen: Segmentation) -> Tensor:
    """The wished mask of each image of a pool, uint8 ``[N, R, R]``: drawn anew, or made by the recipe's program.

    Raises:
        GanvasError: if the recipe gives neither, or a program does not fit what the branch sees.
    """
    recipe = cfg.recipe
    if bool(recipe.changed) == bool(recipe.program):
        raise GanvasError(f"the recipe {recipe.name} needs one of recipe.changed and recipe.program: the wish of every "
                          "image.")  # fmt: skip
    if recipe.program:
        program = parse_program(recipe.program)
        return torch.stack([torch.as_tensor(program(mask.numpy(), seen.classes)) for mask in seen.mask])
    if pool is None or not pool.split:
        raise GanvasError("recipe.changed draws avatars anew; for other images give recipe.program.")
    changed: Any = dict(recipe.changed)
    size = seen.mask.shape[-1]
    return _redrawn(pool, changed, size)


def drawn_masks(pool: Pool, size: int) -> Tensor | None:
    """The true masks of a pool's images, uint8 ``[N, size, size]``; None where nobody drew them."""
    return _redrawn(pool, {}, size) if pool.style in PART_CLASSES else None


def _redrawn(pool: Pool, changed: Mapping[str, str | None], size: int) -> Tensor:
    drawn = redraw_avatars(pool.numbers.tolist(), changed, pool.split, pool.seed, size, pool.style)
    return torch.as_tensor(drawn.masks)


def _avatars(cfg: DictConfig, n: int, split: str, seed: int, resolution: int) -> Pool:
    """The first ``n`` of a draw that the recipe describes; the draw grows until it holds as many."""
    where, reach, count = pair_of(cfg.recipe.where, "where"), pair_of(cfg.recipe.reach, "reach"), 4 * n
    while True:
        found = rendered_attributes(count, split, seed, resolution, cfg.data.style)
        numbers, there = found.where(*where)[:n], found.where(*reach)[:n]
        if len(numbers) == n and len(there) == n:
            source = Source(f"rendered {cfg.data.style} with {cfg.recipe.where}", f"split {split}, seed {seed}")
            return Pool(found.take(numbers), found.take(there), source, numbers, split, seed, cfg.data.style)
        if count >= AS_MANY * n:
            scarce = cfg.recipe.where if len(numbers) < n else cfg.recipe.reach
            raise GanvasError(f"of {count} avatars only {min(len(numbers), len(there))} have {scarce}: give a smaller "
                              "n, or another recipe.")  # fmt: skip
        count *= 2
