"""Mappers of the original StyleCLIP (``.pt`` of orpatashnik/StyleCLIP), in and out.

A file holds the mapper as ``mapper.*`` beside the whole generator as ``decoder.*``, and the arguments of the run as
``opts``. Which levels there are is read off the keys; one that the arguments speak of must be among them. In S there is
a network for each style but those of ToRGB. All such mappers learned with OpenAI's CLIP ViT-B/32, images as they were.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from networks.checkpoints.atomic import atomic_path
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.foreign import is_torch
from networks.checkpoints.pickles import read_torch
from networks.checkpoints.rosinality import generator_entries
from networks.clip import ClipIdentity, Preprocessing
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
STYLE = re.compile(r"mapper_(0|[1-9][0-9]{0,2})")
STYLES = 26   # of their largest generator, 1024x1024
# What their programs do to every mapper; the weights of that CLIP are in no file.
CLIP = ClipIdentity("openai", "ViT-B/32", "unknown", Preprocessing(224, legacy=True).to_json())
THEIR_RECIPE = {"clips": [CLIP.to_json()], "neutral": "", "templates": ["{}"]}
OURS = "ganvas"   # among the arguments: what our bundle said of the same, as JSON


def is_styleclip(path: Path) -> bool:
    """Whether the file is a checkpoint with a mapper of StyleCLIP."""
    return is_torch(path) and any(name.startswith(PREFIX) for name in _state(read_torch(path, "a mapper")))


def read_styleclip(path: Path, generator: Generator | None = None) -> tuple[LatentEdit, dict[str, Any]]:
    """The mapper in a file as an edit, and what is known of it, as a bundle says it; its text where the file has one.

    Args:
        path: the file.
        generator: the one that it belongs to; None: taken from the file alone, and the edit names none.

    Raises:
        GanvasError: if the file is missing or unusable, holds no whole mapper, or is of another generator.
    """
    if not path.is_file():
        raise GanvasError(f"there is no file {path}; check the path.")
    checkpoint = read_torch(path, "a mapper")
    state, opts = _state(checkpoint), checkpoint.get("opts")
    opts = opts if isinstance(opts, Mapping) else {}
    networks = _networks(path, state)
    groups = _groups(path, networks, _num_ws(path, state, generator), opts)
    mapper = Mapper("s" if next(iter(groups)).rows is None else "w+", list(groups), STYLECLIP)
    mapper.load_state_dict({
        **mapper.state_dict(),  # a mean of 0 and a unit of 1
        **{f"networks.{module_name(group.name)}.{ours}": networks[theirs][name]
           for group, theirs in groups.items() for name, ours in _layers().items()},
    })  # fmt: skip
    text = opts.get("description")
    text = text if isinstance(text, str) else ""
    owner = None if generator is None else generator.hash
    edit = LatentEdit(mapper.space, generator_hash=owner, name=text or path.stem, module=MapperEdit.by(mapper))
    _require_fit(path, edit, generator)
    about = {"levels": [group.name for group in groups], "step_scale": STYLECLIP.step_scale, **_recipe(opts)}
    return edit, about | ({"text": text} if text else {})


def write_styleclip(
    path: Path, edit: LatentEdit, generator: Generator | None = None, about: Mapping[str, Any] | None = None
) -> tuple[str, ...]:  # fmt: skip
    """Write a mapper as the original's programs read it.

    Args:
        path: the ``.pt`` to write.
        edit: by one mapper of the original's kind.
        generator: goes into the file, as its programs want; None: left out.
        about: the manifest of its bundle, of which the CLIPs and the neutral text are kept, as theirs may be others.

    Returns:
        Sentences on what is missing in the file.

    Raises:
        GanvasError: if the edit cannot be written in this format, or the file cannot.
    """
    mapper = _only_mapper(path, edit)
    names = {group.name: _their_name(path, mapper, group) for group in mapper.groups}
    if mapper.space == "s":
        _require_all_styles(path, names.values(), None if generator is None else _rows(path, generator))
    state = {
        f"{PREFIX}{names[group.name]}{name}": mapper.state_dict()[f"networks.{module_name(group.name)}.{ours}"].cpu()
        for group in mapper.groups for name, ours in _layers().items()
    }  # fmt: skip
    opts = {
        "description": edit.name, "work_in_stylespace": mapper.space == "s",
        "mapper_type": "SingleMapper" if "all" in names else "LevelsMapper",
        **{f"no_{level}_mapper": level not in names for level in LEVELS},
        OURS: json.dumps({key: about[key] for key in THEIR_RECIPE if key in about} if about else {}),
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


def _recipe(opts: Mapping[str, Any]) -> dict[str, Any]:
    """What images and texts the mapper learned with: what a file of ours says, or else what their programs do."""
    if OURS not in opts:
        return dict(THEIR_RECIPE)
    try:
        said = json.loads(str(opts[OURS]))
    except (ValueError, RecursionError):
        return {}
    return {key: said[key] for key in THEIR_RECIPE if key in said} if isinstance(said, dict) else {}


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
        if not torch.isfinite(t).all():
            raise GanvasError(f"{path} has values in {name} that are NaN or infinite: its training had failed by then, "
                              "so give an earlier checkpoint of it.")  # fmt: skip
        network, layer, kind = parts.groups()
        found.setdefault(network or "", {})[f"mapping.{layer}.{kind}"] = t.float()
    if not found:
        raise GanvasError(f"{path} holds no mapper (`{PREFIX}*`): give a checkpoint of StyleCLIP's mapper training.")
    for network, layers in found.items():
        bias = layers.get("mapping.1.bias", torch.empty(0))
        width = bias.numel() if bias.ndim == 1 else 0
        shapes = {name: (width, width) if name.endswith("weight") else (width,) for name in _layers()}
        wrong = [name for name, shape in shapes.items() if tuple(layers.get(name, torch.empty(0)).shape) != shape]
        if wrong or not width or layers.keys() - shapes.keys():
            what = (wrong or sorted(layers.keys() - shapes.keys()))[0] if width else "mapping.1.bias"
            raise GanvasError(f"{path} holds {network or 'the mapper'} without a usable {what}: a level has {DEPTH} "
                              "layers of one width; copy the file again.")  # fmt: skip
    return found


def _groups(
    path: Path, networks: Mapping[str, Mapping[str, Tensor]], num_ws: int | None, opts: Mapping[str, Any]
) -> dict[Group, str]:  # fmt: skip
    """What each of their networks moves -> its name there."""
    width = {name: len(layers["mapping.1.bias"]) for name, layers in networks.items()}
    if all(STYLE.fullmatch(name) for name in networks):
        _require_all_styles(path, networks, num_ws)
        numbers = {_number(name): name for name in networks}
        return {Group(_style(i), _style(i), width[name]): name for i, name in sorted(numbers.items())}
    if set(networks) != {"mapping"} and not set(networks) <= set(THEIRS.values()):
        raise GanvasError(f"{path} holds mappers called {', '.join(sorted(networks))}, of which Ganvas knows "
                          f"{', '.join(THEIRS.values())}: it is no file of StyleCLIP's.")  # fmt: skip
    if num_ws is None:
        raise GanvasError(f"{path} does not say how many layers its generator has: give generator=FILE.")
    if set(networks) == {"mapping"}:
        return {Group("all", "ws", width["mapping"], (0, num_ws), num_ws): "mapping"}
    if len(set(width.values())) > 1:
        widths = ", ".join(f"{name} {size}" for name, size in width.items())
        raise GanvasError(f"{path} holds levels of different widths ({widths}), and codes have one: copy it again.")
    return _levels(path, width, num_ws, opts)


def _levels(path: Path, width: Mapping[str, int], num_ws: int, opts: Mapping[str, Any]) -> dict[Group, str]:
    """The same of a mapper with a network for each level, of which those may be left out that its arguments do."""
    try:
        rows = level_rows(num_ws)
    except ValueError as error:
        raise GanvasError(f"{path} holds levels, and its generator has none: {error}.") from error
    found = {}
    for level, name in THEIRS.items():
        if name in width:
            found[Group(level, "ws", width[name], (rows[level].start, rows[level].stop), num_ws)] = name
        elif opts.get(f"no_{level}_mapper") is False:
            raise GanvasError(f"{path} has no {name}, and its arguments say no_{level}_mapper=False: the level {level} "
                              "is missing; copy the file again.")  # fmt: skip
    return found


def _number(name: str) -> int:
    return int(name.strip(".").rpartition("_")[2])


def _require_all_styles(path: Path, names: Iterable[str], num_ws: int | None) -> None:
    """Refuse a mapper in S with another network than one for each style, or for each but ToRGB's, as theirs has."""
    numbers = {_number(name) for name in names}
    # Of an unknown generator: that of the block that the last one is in.
    count = 2 + 3 * (math.ceil((max(numbers) - 1) / 3) if num_ws is None else num_ws // 2 - 1)
    most = STYLES if num_ws is None else count
    if max(numbers) >= most:
        raise GanvasError(f"{path} and mapper_{max(numbers)} do not fit: a generator has {most} styles, from 0 on; "
                          "give the mapper's own.")  # fmt: skip
    with_rgb = any(i % 3 == 1 for i in numbers)
    missing = [i for i in range(count) if i not in numbers and (with_rgb or i % 3 != 1)]
    if missing:
        raise GanvasError(f"for {path} mapper_{missing[0]}, of {_style(missing[0])}, is missing: StyleCLIP's files "
                          "have one for each style, those of ToRGB apart; give a whole mapper.")  # fmt: skip


def _style(number: int) -> str:
    """The path of their n-th style: one convolution and ToRGB at 4x4, then two convolutions and ToRGB."""
    if number < 2:
        return ("b4.conv1", "b4.torgb")[number]
    block, layer = divmod(number - 2, 3)
    return f"b{8 << block}.{('conv0', 'conv1', 'torgb')[layer]}"


def _num_ws(path: Path, state: Mapping[str, Tensor], generator: Generator | None) -> int | None:
    """Rows of W+ of the generator that is given and of the one inside; None where there is neither."""
    noises = sum(name.startswith(f"{DECODER}noises.noise_") for name in state)
    if noises and not noises % 2:
        raise GanvasError(f"{path} holds a generator with {noises} noise maps, and each has an odd number of them: "
                          "copy the file again.")  # fmt: skip
    inside = noises + 1 if noises else None
    given = None if generator is None else _rows(path, generator)
    if given and inside and given != inside:
        raise GanvasError(f"{path} is a mapper of another generator: the one inside has {inside} rows of W+, and the "
                          f"one given {given}; give its own.")  # fmt: skip
    return given or inside


def _rows(path: Path, generator: Generator) -> int:
    ws = generator.sample(1, seed=0).tensors.get("ws")
    if ws is None:
        raise GanvasError(f"{path} cannot be a mapper of this generator, which has no W+: give a StyleGAN2.")
    return ws.shape[1]


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
                          "1 (task=mapper_styleclip_legacy); write a bundle (.safetensors) instead.")  # fmt: skip
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
