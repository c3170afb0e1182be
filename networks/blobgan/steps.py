"""Steps of an edit of blobs as words and as data: each is an operation on layouts from one closed table.

``move 3 0.2 0`` or ``{do: move, blobs: [3], right: 0.2, down: 0}``. Where a step takes something from another scene it
names scene and blob, ``1:5``; without a scene it is the edited scene itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from networks.blobgan import operations
from networks.blobgan.layout import Layout
from networks.blobgan.operations import FEATURES
from networks.checkpoints.errors import GanvasError

MEAN = "mean"  # the scene of this name is the generator's mean layout


class Reference(NamedTuple):
    """A blob of another scene, or of the edited one."""

    scene: str | None
    blob: int

    def __str__(self) -> str:
        return str(self.blob) if self.scene is None else f"{self.scene}:{self.blob}"


@dataclass(frozen=True)
class Stage:
    """The edited scenes, and those that steps take from: each one scene, or as many as are edited."""

    layout: Layout
    scenes: dict[str, Layout] = field(default_factory=dict)

    def other(self, scene: str | None) -> Layout:
        """The scene of this name; None: the edited ones."""
        if scene is None:
            return self.layout
        if scene not in self.scenes:
            known = f"; there are {', '.join(self.scenes)}" if self.scenes else ": give the scenes to take from"
            raise GanvasError(f"there is no scene `{scene}` to take from{known}")
        found = self.scenes[scene]
        if len(found) not in (1, len(self.layout)):
            raise GanvasError(f"the scene `{scene}` to take from is one for each of {len(found)} scenes, and "
                              f"{len(self.layout)} are edited: give those that the edit was made for")  # fmt: skip
        return found


@dataclass(frozen=True)
class BlobStep:
    """One operation with its arguments, as :data:`OPERATIONS` names them."""

    action: str
    arguments: dict[str, Any]
    strength: float = 1.0    # how much of it is done: 0 nothing, 1 all, 0.5 half of the way

    @classmethod
    def parse(cls, given: str | Mapping[str, Any]) -> BlobStep:
        """A step from its words or its data.

        Raises:
            GanvasError: if there is no such operation, or its arguments are not those that it takes.
        """
        action, values, strength = _words(given) if isinstance(given, str) else _data(given)
        operation = _operation(action, given)
        needed = [name for name in operation.takes if not name.endswith("?")]
        names = [name.removesuffix("?") for name in operation.takes]
        if isinstance(values, list):
            values = dict(zip(names, values, strict=False)) if len(values) <= len(names) else {"": values}
        if not set(needed) <= values.keys() or not values.keys() <= set(names):
            raise GanvasError(f"the step `{given}` must read `{usage(action)}`")
        try:
            arguments = {name: READ.get(name, _number)(value) for name, value in values.items()}
            return cls(action, arguments, _number(strength))
        except (TypeError, ValueError, OverflowError) as error:
            raise GanvasError(f"the step `{given}` must read `{usage(action)}`: {error}") from error

    def data(self) -> dict[str, Any]:
        """As plain data, which :meth:`parse` reads back."""
        plain = {
            name: str(value) if isinstance(value, Reference) else list(value) if isinstance(value, tuple) else value
            for name, value in self.arguments.items()
        }  # fmt: skip
        return {"do": self.action, **plain, **({} if self.strength == 1 else {"strength": self.strength})}

    def takes_from(self) -> list[str]:
        """The names of the scenes that it needs beside the edited ones."""
        a = self.arguments
        named = [a.get("scene"), a["from"].scene if "from" in a else None, MEAN if self.action == "truncate" else None]
        return [name for name in named if name is not None]

    def run(self, stage: Stage, strength: float = 1.0) -> Stage:
        """What the step makes of scenes.

        Raises:
            GanvasError: if it names a blob or a scene that is not there.
        """
        k = stage.layout.k
        arguments = dict(self.arguments)
        if "blobs" in arguments:
            blobs = arguments["blobs"] = list(range(k)) if arguments["blobs"] == ALL else list(arguments["blobs"])
            self._require(blobs, k, "the scenes have")
        if "blob" in arguments:
            self._require([arguments["blob"]], k, "the scenes have")
        if isinstance(reference := arguments.get("from"), Reference):
            theirs = stage.other(reference.scene)
            self._require([reference.blob], theirs.k, f"scene {reference.scene or 'itself'} has")
        return OPERATIONS[self.action].change(stage, arguments, self.strength * strength)

    def _require(self, blobs: Sequence[int], k: int, whose: str) -> None:
        absent = [blob for blob in blobs if blob >= k]
        if absent:
            raise GanvasError(f"the step {self.data()} names blob {absent[0]}, and {whose} blobs 0 to {k - 1}")


def usage(action: str) -> str:
    """How a step of this kind is written; what may be left out is in brackets.

    Example:
        >>> usage("duplicate")
        'duplicate BLOBS RIGHT DOWN [TO]'
    """
    names = (f"[{name[:-1].upper()}]" if name.endswith("?") else name.upper() for name in OPERATIONS[action].takes)
    return " ".join([action, *names])


# How arguments are read.

ALL = "all"


def _operation(action: Any, given: Any) -> Operation:
    if not isinstance(action, str) or action not in OPERATIONS:
        raise GanvasError(f"the step `{given}` asks for {action}; blobs can {', '.join(OPERATIONS)}")
    return OPERATIONS[action]


def _words(text: str) -> tuple[str, list[Any] | dict[str, Any], Any]:
    words = text.split()
    if not words:
        raise GanvasError("a step is empty; write one as `move 3 0.2 0`")
    return words[0], words[1:], 1.0


def _data(given: Mapping[str, Any]) -> tuple[str, dict[str, Any], Any]:
    if not isinstance(given, Mapping) or "do" not in given:
        raise GanvasError(f"the step `{given}` is neither words nor data with `do`")
    values = {str(name): value for name, value in given.items() if name not in ("do", "strength")}
    return given["do"], values, given.get("strength", 1.0)


def _number(value: Any) -> float:
    number = float(value)
    if isinstance(value, bool) or not math.isfinite(number):
        raise ValueError(f"{value} is no number to reckon with")
    return number


def _blob(value: Any) -> int:
    number = int(value)
    if isinstance(value, bool) or float(value) != number or number < 0:
        raise ValueError(f"{value} is no number of a blob")
    return number


def _blobs(value: Any) -> tuple[int, ...] | str:
    if value == ALL:
        return ALL
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, Sequence) else [value]
    blobs = tuple(_blob(part) for part in parts)
    if not blobs or len(set(blobs)) != len(blobs):
        raise ValueError(f"{value} names no blob, or one twice")
    return blobs


def _reference(value: Any) -> Reference:
    scene, _, blob = str(value).rpartition(":")
    return Reference(scene or None, _blob(blob))


def _factor(value: Any) -> float:
    number = _number(value)
    if number <= 0:
        raise ValueError(f"a factor must be above 0, got {value}")
    return number


def _to(value: Any) -> operations.Place:
    return value if value in ("front", "back") else _blob(value)


READ: dict[str, Callable[[Any], Any]] = {
    "blobs": _blobs, "blob": _blob, "from": _reference, "scene": str, "factor": _factor,
    "to": _to,
}  # fmt: skip  # the other arguments are numbers


# The operations. Each takes the stage, the step's arguments, and how much of it is done.

Change = Callable[[Stage, dict[str, Any], float], Stage]


def _alone(change: Callable[[Layout, dict[str, Any], float], Layout]) -> Change:
    """An operation that needs the edited scenes only."""
    return lambda stage, a, s: Stage(change(stage.layout, a, s), stage.scenes)


def _take(*names: str) -> Change:
    def change(stage: Stage, a: dict[str, Any], s: float) -> Stage:
        rows, other = [blob + 1 for blob in a["blobs"]], stage.other(a["from"].scene)
        layout = operations.take_features(stage.layout, rows, other, [a["from"].blob + 1], names, s)
        return Stage(layout, stage.scenes)

    return change


def _swap(stage: Stage, a: dict[str, Any], s: float) -> Stage:
    mine, (scene, theirs) = a["blob"], a["from"]
    layout, other = stage.layout, stage.other(scene)
    if len(other) != len(layout):  # each edited scene changes a copy of its own
        other = Layout(**{name: t.expand(len(layout), *t.shape[1:]) for name, t in other.tensors().items()})
    changed = operations.take_features(layout, [mine + 1], other, [theirs + 1], FEATURES, s)
    if scene is None:
        return Stage(operations.take_features(changed, [theirs + 1], layout, [mine + 1], FEATURES, s), stage.scenes)
    given = operations.take_features(other, [theirs + 1], layout, [mine + 1], FEATURES, s)
    return Stage(changed, {**stage.scenes, scene: given})


def _background(stage: Stage, a: dict[str, Any], s: float) -> Stage:
    layout = operations.take_features(stage.layout, [0], stage.other(a["scene"]), [0], FEATURES, s)
    return Stage(layout, stage.scenes)


def _transfer(stage: Stage, a: dict[str, Any], s: float) -> Stage:
    other = stage.other(a["scene"])
    rows = list(range(min(stage.layout.k, other.k) + 1))
    return Stage(operations.take_features(stage.layout, rows, other, rows, ("style",), s), stage.scenes)


def _match(stage: Stage, a: dict[str, Any], s: float) -> Stage:
    return Stage(operations.match_styles(stage.layout, stage.other(a["scene"]), s), stage.scenes)


def _surround(stage: Stage, a: dict[str, Any], s: float) -> Stage:
    return Stage(operations.surround(stage.layout, a["blobs"], stage.other(a["scene"]), s), stage.scenes)


def _truncate(stage: Stage, a: dict[str, Any], s: float) -> Stage:
    return Stage(operations.approach(stage.layout, stage.other(MEAN), s * (1 - a["truncation"])), stage.scenes)


@dataclass(frozen=True)
class Operation:
    """A row of the table."""

    change: Change
    takes: tuple[str, ...] = ()   # names of its arguments in the order of words; with `?` one that may be left out


OPERATIONS: dict[str, Operation] = {
    "move": Operation(
        _alone(lambda x, a, s: operations.move(x, a["blobs"], s * a["right"], s * a["down"])),
        ("blobs", "right", "down"),
    ),
    "place": Operation(_alone(lambda x, a, s: operations.place(x, a["blobs"], a["x"], a["y"], s)), ("blobs", "x", "y")),
    "resize": Operation(_alone(lambda x, a, s: operations.resize(x, a["blobs"], s * a["by"])), ("blobs", "by")),
    "remove": Operation(_alone(lambda x, a, s: operations.remove(x, a["blobs"], s)), ("blobs",)),
    "rotate": Operation(
        _alone(lambda x, a, s: operations.rotate(x, a["blobs"], s * a["degrees"])), ("blobs", "degrees")
    ),
    "stretch": Operation(
        _alone(lambda x, a, s: operations.stretch(x, a["blobs"], a["factor"], s)), ("blobs", "factor")
    ),
    "duplicate": Operation(
        _alone(lambda x, a, s: operations.duplicate(x, a["blobs"], a["right"], a["down"], a.get("to"), s)),
        ("blobs", "right", "down", "to?"),
    ),
    "reorder": Operation(_alone(lambda x, a, s: operations.reorder(x, a["blobs"], a["to"], s)), ("blobs", "to")),
    "restyle": Operation(_take("style"), ("blobs", "from")),
    "replace": Operation(_take(*FEATURES), ("blobs", "from")),
    "swap": Operation(_swap, ("blob", "from")),
    "background": Operation(_background, ("scene",)),
    "empty": Operation(_alone(lambda x, _, s: operations.remove(x, list(range(x.k)), s))),
    "transfer": Operation(_transfer, ("scene",)),
    "match": Operation(_match, ("scene",)),
    "surround": Operation(_surround, ("blobs", "scene")),
    "truncate": Operation(_truncate, ("truncation",)),
}
