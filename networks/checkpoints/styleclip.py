"""Mappers of the original StyleCLIP (``.pt`` of orpatashnik/StyleCLIP), in and out.

A file holds the mapper as ``mapper.*`` beside the whole generator as ``decoder.*``, and the arguments of the run as
``opts``. Which levels there are is read off the keys: the arguments of the program that reads a file overwrite those
that it was trained with.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from networks.checkpoints.atomic import atomic_path
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.foreign import is_torch
from networks.checkpoints.pickles import read_torch
from networks.checkpoints.rosinality import generator_entries
from networks.latent_edit import LatentEdit
from networks.levels import LEVELS, level_rows
from networks.mapper import STYLECLIP, Group, Mapper, MapperEdit, Part
from networks.mapper.network import module_name
from networks.protocol import Generator

FORM = "StyleCLIP mapper"
PREFIX, DECODER = "mapper.", "decoder."
THEIRS = {"coarse": "course_mapping", "medium": "medium_mapping", "fine": "fine_mapping"}  # the first is theirs, too
DEPTH = STYLECLIP.depth
KEY = re.compile(r"(?:(\w+)\.)?mapping\.([1-9])\.(weight|bias)")
STYLE = re.compile(r"mapper_(\d+)")


def is_styleclip(path: Path) -> bool:
    """Whether the file is a checkpoint with a mapper of StyleCLIP."""
    return is_torch(path) and any(name.startswith(PREFIX) for name in _state(read_torch(path, "a mapper")))


def read_styleclip(path: Path, generator: Generator | None = None) -> tuple[LatentEdit, dict[str, Any]]:
    """The mapper in a file as an edit, and what the file says of it: its text, where there is one.

    Args:
        path: the file.
        generator: the one that it belongs to; None: taken from the file alone, and the edit names none.

    Raises:
        GanvasError: if the file is missing or unusable, holds no whole mapper, or is of another generator.
    """
    if not path.is_file():
        raise GanvasError(f"there is no file {path}; check the path.")
    checkpoint = read_torch(path, "a mapper")
    state = _state(checkpoint)
    networks = _networks(path, state)
    groups = _groups(path, networks, lambda: _num_ws(path, state, generator))
    mapper = Mapper("s" if next(iter(groups)).rows is None else "w+", list(groups), STYLECLIP)
    mapper.load_state_dict({
        **mapper.state_dict(),  # a mean of 0 and a unit of 1
        **{f"networks.{module_name(group.name)}.{ours}": networks[theirs][name]
           for group, theirs in groups.items() for name, ours in _layers().items()},
    })  # fmt: skip
    opts = checkpoint.get("opts")
    text = opts.get("description") if isinstance(opts, Mapping) else None
    text = text if isinstance(text, str) and text else path.stem
    owner = None if generator is None else generator.hash
    edit = LatentEdit(mapper.space, generator_hash=owner, name=text, module=MapperEdit.by(mapper))
    _require_fit(path, edit, generator)
    return edit, {"text": text, "levels": [group.name for group in groups]}


def write_styleclip(path: Path, edit: LatentEdit, generator: Generator | None = None) -> tuple[str, ...]:
    """Write a mapper as the original's programs read it.

    Args:
        path: the ``.pt`` to write.
        edit: by one mapper of the original's kind.
        generator: goes into the file, as its programs want; None: left out.

    Returns:
        Sentences on what is missing in the file.

    Raises:
        GanvasError: if the edit cannot be written in this format, or the file cannot.
    """
    mapper = _only_mapper(path, edit)
    names = {group.name: _their_name(path, mapper, group) for group in mapper.groups}
    state = {
        f"{PREFIX}{names[group.name]}{name}": mapper.state_dict()[f"networks.{module_name(group.name)}.{ours}"].cpu()
        for group in mapper.groups for name, ours in _layers().items()
    }  # fmt: skip
    opts = {
        "description": edit.name, "work_in_stylespace": mapper.space == "s",
        "mapper_type": "SingleMapper" if "all" in names else "LevelsMapper",
        **{f"no_{level}_mapper": level not in names for level in LEVELS},
    }  # fmt: skip
    if generator is not None:
        state |= {DECODER + name: t for name, t in generator_entries(path, generator).items()}
        opts["stylegan_size"] = generator.img_resolution
    with atomic_path(path) as temporary:
        torch.save({"state_dict": state, "opts": opts}, temporary)
    return () if generator is not None else ("no generator is inside, which the original's programs want: give "
                                             "generator=FILE to put it there",)  # fmt: skip


def _state(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    entries = checkpoint.get("state_dict")
    entries = entries if isinstance(entries, Mapping) else {}
    return {str(name): t for name, t in entries.items() if isinstance(t, Tensor)}


def _layers() -> dict[str, str]:
    """Their names of a network's weights -> ours. Their layer 0 is the normalisation."""
    places = [*(f"layers.{i}" for i in range(DEPTH - 1)), "head"]
    return {
        f"mapping.{i + 1}.{kind}": f"{place}.{kind}" for i, place in enumerate(places) for kind in ("weight", "bias")
    }


def _networks(path: Path, state: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Their networks by the name that stands before their layers, each whole."""
    found: dict[str, dict[str, Tensor]] = {}
    for name, t in state.items():
        if not name.startswith(PREFIX):
            continue
        parts = KEY.fullmatch(name.removeprefix(PREFIX))
        if parts is None:
            raise GanvasError(f"{path} has {name}, which is no part of a mapper: get the file from its authors again.")
        network, layer, kind = parts.groups()
        found.setdefault(network or "", {})[f"mapping.{layer}.{kind}"] = t.float()
    if not found:
        raise GanvasError(f"{path} holds no mapper (`{PREFIX}*`): give a checkpoint of StyleCLIP's mapper training.")
    for network, layers in found.items():
        width = len(layers.get("mapping.1.bias", ()))
        shapes = {name: (width, width) if name.endswith("weight") else (width,) for name in _layers()}
        wrong = [name for name, shape in shapes.items() if tuple(layers.get(name, torch.empty(0)).shape) != shape]
        if wrong or layers.keys() - shapes.keys():
            what = (wrong or sorted(layers.keys() - shapes.keys()))[0]
            raise GanvasError(f"{path} holds {network or 'the mapper'} without a usable {what}: a level has {DEPTH} "
                              "layers of one width; copy the file again.")  # fmt: skip
    return found


def _groups(path: Path, networks: Mapping[str, Any], num_ws: Any) -> dict[Group, str]:
    """What each of their networks moves -> its name there."""
    width = {name: len(layers["mapping.1.bias"]) for name, layers in networks.items()}
    if all(STYLE.fullmatch(name) for name in networks):
        numbers = {int(name.rpartition("_")[2]): name for name in networks}
        return {Group(_style(i), _style(i), width[name]): name for i, name in sorted(numbers.items())}
    if set(networks) == {"mapping"}:
        return {Group("all", "ws", width["mapping"], (0, num_ws()), num_ws()): "mapping"}
    if not set(networks) <= set(THEIRS.values()):
        raise GanvasError(f"{path} holds mappers called {', '.join(sorted(networks))}, of which Ganvas knows "
                          f"{', '.join(THEIRS.values())}: it is no file of StyleCLIP's.")  # fmt: skip
    rows, found = level_rows(num_ws()), {}
    for level in LEVELS:
        if THEIRS[level] in networks:
            span = (rows[level].start, rows[level].stop)
            found[Group(level, "ws", width[THEIRS[level]], span, num_ws())] = THEIRS[level]
    return found


def _style(number: int) -> str:
    """The path of their n-th style: one convolution and ToRGB at 4x4, then two convolutions and ToRGB."""
    if number < 2:
        return ("b4.conv1", "b4.torgb")[number]
    block, layer = divmod(number - 2, 3)
    return f"b{8 << block}.{('conv0', 'conv1', 'torgb')[layer]}"


def _num_ws(path: Path, state: Mapping[str, Tensor], generator: Generator | None) -> int:
    if generator is not None:
        return len(generator.sample(1, seed=0).tensors["ws"][0])
    layers = sum(name.startswith(f"{DECODER}noises.noise_") for name in state)
    if not layers:
        raise GanvasError(f"{path} does not say how many layers its generator has: give generator=FILE.")
    return layers + 1


def _require_fit(path: Path, edit: LatentEdit, generator: Generator | None) -> None:
    """Refuse a mapper of other codes than the generator's."""
    if generator is None:
        return
    latent = generator.sample(1, seed=0)
    try:
        edit.apply(latent if edit.space == "w+" else generator.in_styles(latent))
    except (ValueError, AttributeError) as error:
        raise GanvasError(f"{path} is a mapper of another generator: {error}.") from error


def _only_mapper(path: Path, edit: LatentEdit) -> Mapper:
    parts: tuple[Part, ...] = ()
    if isinstance(edit.module, MapperEdit) and len(edit.module.stages) == 1:
        parts = edit.module.stages[0]
    if len(parts) != 1 or parts[0].strength != 1 or parts[0].mapper.recipe != STYLECLIP:
        raise GanvasError(f"{path} cannot be written: StyleCLIP's format holds one mapper of its own kind at strength "
                          "1 (task=mapper_styleclip); write a bundle (.safetensors) instead.")  # fmt: skip
    mapper = parts[0].mapper
    for network in mapper.networks.values():
        if network.mean.any() or not (network.unit == 1).all():
            raise GanvasError(f"{path} cannot be written: StyleCLIP's mappers do not know where a generator's codes "
                              "lie; write a bundle (.safetensors) instead.")  # fmt: skip
    return mapper


def _their_name(path: Path, mapper: Mapper, group: Group) -> str:
    """What stands before the layers of a group's network in their file."""
    if group.name == "all" and mapper.space == "w+":
        return "mapping."
    if mapper.space == "w+":
        return f"{THEIRS[group.name]}."
    for number in range(64):
        if _style(number) == group.name:
            return f"mapper_{number}."
    raise GanvasError(f"{path} cannot be written: StyleCLIP's format has no mapper of {group.name}; write a bundle "
                      "(.safetensors) instead.")  # fmt: skip
