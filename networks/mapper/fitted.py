"""Mappers whose groups, widths and units follow from a generator, never from a constant such as 18 or 1024."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal, get_args

import torch
from torch import Tensor

from networks.checkpoints.errors import GanvasError
from networks.latent import HIDDEN, Latent
from networks.levels import LEVELS, level_rows, style_levels
from networks.mapper.network import Group, Mapper, MapperSpace, Spread, codes_of
from networks.mapper.residual import Recipe
from networks.protocol import Generator

Kind = Literal["levels", "single", "styles"]
SAMPLES = 1000  # codes that their spread is measured on


def mapper_for(
    generator: Generator, kind: Kind, recipe: Recipe, levels: Iterable[str] = LEVELS, torgb: bool = False,
    seed: int = 0, measured: bool = True,
) -> Mapper:  # fmt: skip
    """A fresh mapper for a generator's codes.

    Args:
        generator: whose codes it moves.
        kind: ``levels``, a network for each level of W+; ``single``, one network for all rows of W+ (or for W, where a
            generator has no rows); ``styles``, one for each layer of S.
        recipe: how its networks are built.
        levels: those that are moved.
        torgb: of ``styles``: also those of the ToRGB layers, which decide colours alone.
        seed: of the initial weights.
        measured: steps in units of the generator's codes; False for units of one, as in the original.

    Raises:
        GanvasError: if there is no such mapper, or the generator has no such space.
    """
    if kind not in get_args(Kind):
        raise GanvasError(f"there is no mapper `{kind}`; choose of {', '.join(get_args(Kind))}.")
    levels = tuple(levels)
    if not levels or set(levels) - set(LEVELS):
        raise GanvasError(f"levels=[{','.join(levels)}] must be some of {', '.join(LEVELS)}.")
    samples = in_space(generator, generator.sample(SAMPLES, seed=0), space_of(generator, kind))
    groups = _groups(samples, kind, levels, torgb)
    spreads = {group.name: _spread(samples, group) for group in groups} if measured else None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Mapper(samples.space, groups, recipe, spreads).to(generator.device)


def space_of(generator: Generator, kind: Kind) -> MapperSpace:
    """The space that such a mapper of this generator works in.

    Raises:
        GanvasError: if it has no rows, and rows are what the mapper divides.
    """
    if generator.sample(1, seed=0).space == "w+":
        return "s" if kind == "styles" else "w+"
    if kind != "single":
        raise GanvasError(f"this generator has no layers of codes for a mapper `{kind}`: choose `single`.")
    return "w"


def in_space(generator: Generator, latent: Latent, space: MapperSpace) -> Latent:
    """Codes of a generator in the space of a mapper.

    Raises:
        GanvasError: if there is no way there.
    """
    if latent.space == space:
        return latent
    if space == "s" and hasattr(generator, "in_styles"):
        return generator.in_styles(latent)
    if space == "w" and HIDDEN in latent.tensors:
        return replace(latent, space="w", tensors={"w": latent.tensors[HIDDEN]})
    raise GanvasError(f"codes in {latent.space} cannot be brought into {space} of this generator: sample or invert "
                      "them again.")  # fmt: skip


def _groups(samples: Latent, kind: Kind, levels: tuple[str, ...], torgb: bool) -> list[Group]:
    codes = codes_of(samples, samples.space)
    if kind == "styles":
        at = style_levels(codes)
        paths = [path for path in codes if at[path] in levels and (torgb or not path.endswith(".torgb"))]
        return [Group(path, path, codes[path].shape[1]) for path in paths]
    if samples.space == "w":
        return [Group("all", "w", codes["w"].shape[1])]
    _, num_ws, width = codes["ws"].shape
    rows = level_rows(num_ws)
    if kind == "single":
        return [Group("all", "ws", width, (0, num_ws), num_ws)]
    return [
        Group(name, "ws", width, (rows[name].start, rows[name].stop), num_ws) for name in LEVELS if name in levels
    ]


def _spread(samples: Latent, group: Group) -> Spread:
    x = samples.tensors[group.tensor]
    if group.rows is None and samples.space == "s":  # channels of S differ by orders of magnitude
        std = x.std(dim=0)
        return Spread(x.mean(dim=0), std.clamp_min(1e-3 * std.max().clamp_min(1e-8)))
    if group.rows is not None:
        x = x[:, group.rows[0]]  # samples have one code in all rows
    mean = x.mean(dim=0)
    return Spread(mean, _root_mean_square(x - mean).expand_as(mean))


def _root_mean_square(x: Tensor) -> Tensor:
    return x.square().mean().sqrt().clamp_min(1e-8)
