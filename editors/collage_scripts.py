"""Collages as data: a list of what is painted and pasted, with names of files.

- {paint: micah, mask: face.png, strength: 1, feather: 0.02, layers: all}
- {map: classes.png, classes: [micah, personas]}
- {map: regions.png, classes: ["0003", "0007"], codes: samples/latents.safetensors}
- {paste: other.safetensors, item: 3, mask: hat.png, layers: [block2, block3], right: 0.1, mirror: true}
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from editors.collage import CollageEditor
from networks.checkpoints.classes import IGNORE, ClassList
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.masks import read_mask, read_soft_mask
from networks.collage import Paint, Paste, Transform
from networks.collage.program import ALL, FIRST, REST, Layers
from networks.latent import Latent, item_names

UNCHANGED = "(as it is)"   # what the id 0 of a class map stands for
COMMON = ("mask", "strength", "feather", "layers")
KEYS = {  # kind of step -> what else it may say
    "paint": (*COMMON, "codes"), "map": ("classes", "codes", "strength", "feather", "layers"),
    "paste": (*COMMON, "item", "right", "down", "scale", "mirror", "painted"),
}  # fmt: skip

Codes = tuple[Latent, tuple[str, ...]]   # and their names


@dataclass(frozen=True)
class Sources:
    """What the files of a script are for the pictures that are edited.

    Args:
        codes: those of a file, with their names.
        fit: a mask or a map ``[H, W]`` brought to the generator's size, for the picture of that number.
        files: a mask or a folder of them -> the file of each picture, or one for all.
        count: pictures.
        folder: that names of files are relative to.
    """

    codes: Callable[[Path], Codes]
    fit: Callable[[np.ndarray, int, Path], np.ndarray]
    files: Callable[[Path], Sequence[Path]]
    count: int
    folder: Path = Path()


def collage_steps(data: Sequence[Mapping[str, Any]], editor: CollageEditor, sources: Sources) -> list[Paint | Paste]:
    """The steps of a script.

    Raises:
        GanvasError: if a step cannot be read, or what it names is not there.
    """
    made = {"paint": _paint, "map": _map, "paste": _paste}
    return [step for each in data for step in made[_kind(each, KEYS)](each, editor, sources)]


def parse_layers(value: Any) -> Layers:
    """Layers as a script or a command says them: one of the words, names, or names with weights.

    Example:
        >>> parse_layers(["block2.b1", "block2.b2:0.5"])
        {'block2.b1': 1.0, 'block2.b2': 0.5}

    Raises:
        GanvasError: if a weight is no number from 0 to 1, or there is no name.
    """
    if isinstance(value, Mapping):
        named = [(str(name), weight) for name, weight in value.items()]
    else:
        words = [value] if isinstance(value, str) else list(value)
        if len(words) == 1 and words[0] in (ALL, FIRST, REST):
            return words[0]
        named = [(name, weight or 1.0) for name, _, weight in (str(word).partition(":") for word in words)]
    if not named:
        raise GanvasError(f"layers must be {ALL}, {FIRST}, {REST}, or names of layers")
    return {name: _number(f"layer {name}", weight, 0, 1) for name, weight in named}


def map_classes(editor: CollageEditor, names: Sequence[str], items: Sequence[str] = ()) -> ClassList:
    """What the ids and colours of a class map stand for: 0 is left as it is, then come the classes.

    Args:
        editor: whose classes they are.
        names: which; () for all, in their order.
        items: or what else they are of: the items of a file of codes.

    Raises:
        GanvasError: if there are too many, or one is named twice.
    """
    chosen = tuple(names) or tuple(items) or editor.classes
    if not chosen:
        raise GanvasError("this generator has no classes: paint its regions with codes=FILE")
    if not items and (unknown := [name for name in chosen if name not in editor.classes]):
        raise GanvasError(f"there is no class {unknown[0]!r}; there are {', '.join(editor.classes)}")
    try:
        return ClassList.of_names((UNCHANGED, *chosen))
    except ValueError as error:
        raise GanvasError(f"a class map cannot show these classes ({error}): name fewer, each once") from error


def _paint(data: Mapping[str, Any], editor: CollageEditor, sources: Sources) -> list[Paint]:
    name, what = str(data["paint"]), str(data["paint"])
    chosen: str | Latent = _item(_path(data["codes"], sources), what, sources) if "codes" in data else what
    return [editor.paint(chosen, _mask(data, sources), *_common(data), name)]


def _map(data: Mapping[str, Any], editor: CollageEditor, sources: Sources) -> list[Paint]:
    named = data.get("classes", [])
    names = [named] if isinstance(named, str) else list(map(str, named))
    path = _path(data["codes"], sources) if data.get("codes") else None
    items: tuple[str, ...] = ()
    if path is not None:
        codes, called = sources.codes(path)
        items = item_names(len(codes), called)
    classes = map_classes(editor, names, items)
    what: Sequence[str | Latent] = classes.names[1:]
    if path is not None:
        what = [_item(path, name, sources) for name in classes.names[1:]]
    ids = _per_picture(_path(data["map"], sources), sources, lambda file: read_mask(file, classes))
    ids[ids == IGNORE] = 0
    return editor.paint_map(ids, what, *_common(data), classes.names[1:])


def _paste(data: Mapping[str, Any], editor: CollageEditor, sources: Sources) -> list[Paste]:
    path = _path(data["paste"], sources)
    reference = _item(path, data.get("item"), sources)
    numbers = (_number(key, data.get(key, default)) for key, default in (("right", 0), ("down", 0), ("scale", 1)))
    try:
        transform = Transform(*numbers, _flag(data.get("mirror", False)))
    except ValueError as error:
        raise GanvasError(f"the step {dict(data)}: {error}") from error
    painted = [
        step for each in data.get("painted", []) if _kind(each, {"paint": KEYS["paint"]})
        for step in _paint(each, editor, sources)
    ]  # fmt: skip
    name = path.stem if data.get("item") is None else f"{path.stem} {data['item']}"
    return [editor.paste(reference, _mask(data, sources), *_common(data), transform, painted, name)]


def _kind(data: Any, known: Mapping[str, Sequence[str]]) -> str:
    """What a step does; all that it says must belong to that."""
    kinds = [kind for kind in known if isinstance(data, Mapping) and kind in data]
    if len(kinds) != 1:
        raise GanvasError(f"the step {data} must have one of {', '.join(known)}")
    if unknown := sorted(data.keys() - {kinds[0], *known[kinds[0]]}):
        raise GanvasError(f"the step {dict(data)} has {unknown[0]}, which {kinds[0]} does not know; it knows "
                          f"{', '.join(known[kinds[0]])}")  # fmt: skip
    return kinds[0]


def _common(data: Mapping[str, Any]) -> tuple[float, float, Layers]:
    numbers = {"strength": 1, "feather": 0}
    strength, feather = (_number(key, data.get(key, default), 0, 1) for key, default in numbers.items())
    return strength, feather, parse_layers(data.get("layers", ALL))


def _number(key: str, value: Any, low: float = -math.inf, high: float = math.inf) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not low <= number <= high or math.isinf(number):
        between = "" if math.isinf(low) else f" from {low} to {high}"
        raise GanvasError(f"{key}={value} must be a number{between}")
    return number


def _flag(value: Any) -> bool:
    if str(value).lower() not in ("true", "false"):
        raise GanvasError(f"mirror={value} must be true or false")
    return str(value).lower() == "true"


def _path(value: Any, sources: Sources) -> Path:
    return sources.folder / str(value)


def _mask(data: Mapping[str, Any], sources: Sources) -> Tensor | None:
    """``[1 or N, R, R]``; None without a mask."""
    if data.get("mask") is None:
        return None
    return _per_picture(_path(data["mask"], sources), sources, read_soft_mask)


def _per_picture(path: Path, sources: Sources, read: Callable[[Path], np.ndarray]) -> Tensor:
    """What a file says for all pictures, or the files of a folder for each: ``[1 or N, R, R]``."""
    files = sources.files(path)
    if len(files) > 1:
        fitted = [sources.fit(read(file), i, path) for i, file in enumerate(files)]
    else:
        given = read(files[0])
        fitted = [sources.fit(given, i, path) for i in range(sources.count)]
        if all(np.array_equal(each, fitted[0]) for each in fitted):
            fitted = fitted[:1]
    return torch.from_numpy(np.stack(fitted))


def _item(path: Path, item: Any, sources: Sources) -> Latent:
    """The codes of a file, or one of them by its name or number."""
    latent, names = sources.codes(path)
    if item is None:
        if len(latent) not in (1, sources.count):
            raise GanvasError(f"{path} holds {len(latent)} pictures for the {sources.count} that are edited: say which "
                              "by item=")  # fmt: skip
        return latent
    known, text = item_names(len(latent), names), str(item)
    if text in known:
        return latent[known.index(text)]
    if text.isdecimal() and int(text) < len(latent):
        return latent[int(text)]
    raise GanvasError(f"{path} has no item {text}: it has {known[0]} to {known[-1]}, or 0 to {len(latent) - 1}")
