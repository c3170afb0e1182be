"""EditGAN's pixel classifiers (``.pth``, one file a member) as our ``reference`` head, and back.

Layout of nv-tlabs/editGAN_release: ``{"model_state_dict": {"module.layers.N.…"}}`` with N = 0, 3, 6 for the linear
layers and 2, 5 for the batch normalisations after the hidden ones. Columns of the first layer follow the generator's
maps, coarse to fine, its constant first: the order of ours. Nothing in a file names classes, maps or the generator.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from networks.checkpoints.atomic import atomic_path
from networks.checkpoints.bundle import require_finite
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.foreign import is_torch
from networks.checkpoints.pickles import read_torch
from networks.protocol import Generator
from networks.segmentation import Head, ReferenceHead, head_for

SUFFIX = ".pth"
ENTRY = "model_state_dict"
NAME = re.compile(r"(?:module\.)?layers\.(\d\.\w+)")   # DataParallel adds the first word
LINEAR = {"first": 0, "second": 3, "third": 6}         # our name -> the place in their network
NORMS = {"first_norm": 2, "second_norm": 5}
STATISTICS = ("weight", "bias", "running_mean", "running_var")
LARGEST = 512    # pixels a side that the original classifies at most; of a larger generator it reduces the maps

Member = Mapping[str, Tensor]   # "0.weight", ... of one network: a Sequential's state


def is_classifier(path: Path) -> bool:
    """Whether a file or a family of files (see :func:`member_files`) holds such networks."""
    files = member_files(path)
    return bool(files) and bool(_state(files[0]))


def member_files(path: Path) -> list[Path]:
    """The files of an ensemble, by the last number in their names; none if there are none.

    Args:
        path: one file; a folder of them; or the name they have without their numbers, so that ``car_model.pth`` stands
            for ``car_model_0.pth``, ``car_model_1.pth``, ...

    Raises:
        GanvasError: if two of them have the same number: they are of different trainings.
    """
    if path.is_file():
        return [path]
    files = path.glob(f"*{SUFFIX}") if path.is_dir() else path.parent.glob(f"{path.stem}_*{SUFFIX}")
    numbered: dict[int, Path] = {}
    for file in sorted(files):
        numbers = re.findall(r"\d+", file.stem)
        number = int(numbers[-1]) if numbers else -1
        if number in numbered:
            raise GanvasError(f"{numbered[number]} and {file.name} are the same member of an ensemble: keep the files "
                              "of one training in a folder.")  # fmt: skip
        numbered[number] = file
    return [numbered[number] for number in sorted(numbered)]


def read_classifiers(path: Path, generator: Generator) -> ReferenceHead:
    """The ensemble as a head on ``generator``: the same logits, up to rounding.

    Args:
        path: see :func:`member_files`.
        generator: the one that it was trained on; its maps must be as many and as wide.

    Returns:
        In evaluation mode, frozen.

    Raises:
        GanvasError: if a file is missing, unusable, or of another generator or another size than the others.
    """
    files = member_files(path)
    if not files:
        raise GanvasError(f"there is no file {path}, nor {path.stem}_0{SUFFIX} beside it; check the path.")
    members = [_state(file) for file in files]
    for file, member in zip(files, members, strict=True):
        _check(file, member, generator)
        if member["6.bias"].shape != members[0]["6.bias"].shape:
            raise GanvasError(f"{file} has {len(member['6.bias'])} classes, and {files[0].name} "
                              f"{len(members[0]['6.bias'])}: give the files of one training.")  # fmt: skip
    return head_of_members(members, generator).requires_grad_(False)


@torch.no_grad()
def head_of_members(members: Sequence[Member], generator: Generator) -> ReferenceHead:
    """A ``reference`` head with the weights of trained members, in evaluation mode."""
    grid = {"grid": LARGEST} if generator.img_resolution > LARGEST else {}
    classes = len(members[0]["6.bias"])
    head = head_for(generator, "reference", classes, constants=True, members=len(members), **grid)
    for name, place in LINEAR.items():
        getattr(head, name).copy_(torch.stack([m[f"{place}.weight"] for m in members]))
        getattr(head, f"{name}_bias").copy_(torch.stack([m[f"{place}.bias"] for m in members]))
    for name, place in NORMS.items():
        for part in STATISTICS:
            getattr(getattr(head, name), part).copy_(torch.cat([m[f"{place}.{part}"] for m in members]))
    return head.eval()


@torch.no_grad()
def members_of_head(head: ReferenceHead) -> list[dict[str, Tensor]]:
    """The way back: each member's own network. Maps that the head does not read get columns of zeros."""
    found = []
    for i in range(head.members):
        member = {}
        for name, place in LINEAR.items():
            member[f"{place}.weight"] = getattr(head, name)[i].float().clone()
            member[f"{place}.bias"] = getattr(head, f"{name}_bias")[i].float().clone()
        for name, place in NORMS.items():
            norm = getattr(head, name)
            for part in STATISTICS:
                member[f"{place}.{part}"] = getattr(norm, part).view(head.members, -1)[i].float().clone()
            member[f"{place}.num_batches_tracked"] = norm.num_batches_tracked.clone()
        member["0.weight"] = _with_zeros(head, member["0.weight"])
        found.append(member)
    return found


def write_classifiers(path: Path, head: Head) -> list[Path]:
    """Write ``STEM_0.pth``, ``STEM_1.pth``, ... for ``path`` ``STEM.pth``, as EditGAN's programs load them.

    Raises:
        GanvasError: if the original's network cannot be this head, or a file cannot be written.
    """
    if not isinstance(head, ReferenceHead):
        raise GanvasError(f"{path} cannot be written: EditGAN's classifiers see a pixel's features alone, in two "
                          f"hidden layers, and a head of kind '{head.kind}' does not; train one with "
                          "task/head=reference.")  # fmt: skip
    if head.nearest:
        raise GanvasError(f"{path} cannot be written: EditGAN enlarges its maps bilinearly to segment, and this head "
                          "was trained on repeated pixels; train it with task.head.upsampling=bilinear.")  # fmt: skip
    if head.grid > LARGEST:
        raise GanvasError(f"{path} cannot be written: EditGAN classifies at most {LARGEST}x{LARGEST} pixels, and this "
                          f"head {head.grid}x{head.grid}; train it on a smaller generator.")  # fmt: skip
    paths = [path.with_name(f"{path.stem}_{i}{SUFFIX}") for i in range(head.members)]
    for target, member in zip(paths, members_of_head(head), strict=True):
        with atomic_path(target) as temporary:
            torch.save({ENTRY: {f"module.layers.{name}": value for name, value in member.items()}}, temporary)
    return paths


def _state(path: Path) -> dict[str, Tensor]:
    """The network in a file, under the names of :data:`Member`; empty if it holds something else."""
    checkpoint = read_torch(path, "a pixel classifier") if is_torch(path) else {}
    entry = checkpoint.get(ENTRY)
    if not isinstance(entry, Mapping):
        return {}
    named = ((NAME.fullmatch(name), value) for name, value in entry.items() if isinstance(name, str))
    return {match[1]: value for match, value in named if match and isinstance(value, Tensor)}


def _check(path: Path, member: Member, generator: Generator) -> None:
    """Refuse what is no such network, or none of this generator."""
    wanted = [f"{place}.{part}" for place in LINEAR.values() for part in ("weight", "bias")]
    wanted += [f"{place}.{part}" for place in NORMS.values() for part in STATISTICS]
    missing = [name for name in wanted if name not in member]
    if missing:
        what = f"a network without layers.{missing[0]}" if member else "no pixel classifier"
        raise GanvasError(f"{path} holds {what}; give a classifier that EditGAN's train_interpreter.py wrote.")
    width = sum(channels for channels, _ in generator.feature_shapes.values())
    first, last = member["0.weight"].shape, member["6.weight"].shape
    if len(first) != 2 or first[1] != width:
        raise GanvasError(f"{path} reads {first[-1]} channels, and the generator's maps have {width}: give the "
                          "generator that it was trained on.")  # fmt: skip
    wide, narrow = ReferenceHead.hidden_widths(last[0])
    shapes = {"0.weight": (wide, width), "3.weight": (narrow, wide), "6.weight": (last[0], narrow)}
    shapes |= {f"{place}.bias": shapes[f"{place}.weight"][:1] for place in LINEAR.values()}
    shapes |= {f"{place}.{part}": (size,) for place, size in ((2, wide), (5, narrow)) for part in STATISTICS}
    for name, shape in shapes.items():
        if tuple(member[name].shape) != shape:
            raise GanvasError(f"{path} has layers.{name} of {list(member[name].shape)}, and EditGAN's classifier of "
                              f"{last[0]} classes {list(shape)}: export it again.")  # fmt: skip
    require_finite(dict(member), path)


def _with_zeros(head: ReferenceHead, weight: Tensor) -> Tensor:
    """The first layer ``[O, D]`` over all maps of the generator, those that the head leaves out included."""
    columns, shapes = head.columns(), head.arguments["feature_shapes"]
    parts = [
        weight[:, columns[name]] if name in columns else weight.new_zeros(len(weight), channels)
        for name, (channels, _) in shapes.items()
    ]  # fmt: skip
    return torch.cat(parts, dim=1)
