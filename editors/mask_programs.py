"""Edits of masks as data: grow, shrink, scale, shift, remove or replace a class, without drawing by hand.

A program is a list of steps, as words (``grow hair 0.05; remove glasses``) or as plain data (``{do: grow, class: hair,
by: 0.05}``). Lengths are shares of the image's side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from networks.checkpoints.classes import IGNORE, ClassList
from networks.checkpoints.errors import GanvasError


@dataclass(frozen=True)
class MaskStep:
    """One change of a mask."""

    action: str                        # a key of ACTIONS
    name: str                          # the class that it changes
    numbers: tuple[float, ...] = ()    # as the action asks
    other: str | None = None           # replace: the class to put there

    @classmethod
    def parse(cls, words: str | Mapping[str, Any]) -> MaskStep:
        """A step from its words or its data.

        Raises:
            GanvasError: if the action is unknown, or its arguments are too few, too many or no numbers.
        """
        given = _words(words) if isinstance(words, str) else _fields(words)
        action, name, *rest = given
        if action not in ACTIONS:
            raise GanvasError(f"`{words}` asks for {action}; a mask can {', '.join(ACTIONS)}")
        if action == "replace":
            if len(rest) != 1:
                raise GanvasError(f"`{words}` must read `replace CLASS OTHER`")
            return cls(action, name, other=str(rest[0]))
        wanted = ACTIONS[action].numbers
        try:
            numbers = tuple(float(value) for value in rest)
        except (TypeError, ValueError) as error:
            raise GanvasError(f"`{words}` has a word where a number should be; it reads `{usage(action)}`") from error
        if len(numbers) != len(wanted) or not all(map(math.isfinite, numbers)):
            raise GanvasError(f"`{words}` must read `{usage(action)}`")
        return cls(action, name, numbers)

    def apply(self, mask: np.ndarray, classes: ClassList) -> np.ndarray:
        """The mask after this step.

        Args:
            mask: uint8 ``[H, W]``.
            classes: names of the ids.

        Raises:
            GanvasError: if there is no such class, or the mask does not show it.
        """
        where = mask == classes.id_of(self.name)
        if not where.any():
            raise GanvasError(f"there is no {self.name} in the mask to {self.action}; choose another image or class")
        other = None if self.other is None else classes.id_of(self.other)
        return ACTIONS[self.action].change(mask, where, self.numbers, other)


@dataclass(frozen=True)
class MaskProgram:
    """Steps, one after another: called with a mask, it gives the wished one."""

    steps: tuple[MaskStep, ...]

    def __call__(self, mask: np.ndarray, classes: ClassList) -> np.ndarray:
        """``mask`` uint8 ``[H, W]`` after all steps.

        Raises:
            GanvasError: as :meth:`MaskStep.apply`.
        """
        for step in self.steps:
            mask = step.apply(mask, classes)
        return mask


def parse_program(program: str | Sequence[str | Mapping[str, Any]]) -> MaskProgram:
    """A program from its words, or from its steps in words or data.

    Example:
        >>> [step.action for step in parse_program("grow hair 0.05; remove facial-hair").steps]
        ['grow', 'remove']

    Raises:
        GanvasError: if a step cannot be read, or there is none.
    """
    parts = [part for part in program.split(";") if part.strip()] if isinstance(program, str) else list(program)
    if not parts:
        raise GanvasError("the mask program has no step; write one as `grow hair 0.05`")
    return MaskProgram(tuple(MaskStep.parse(part) for part in parts))


def usage(action: str) -> str:
    """How a step of this kind is written."""
    if action == "replace":
        return "replace CLASS OTHER"
    return " ".join([action, "CLASS", *ACTIONS[action].numbers])


def _words(text: str) -> list[Any]:
    words = text.split()
    if len(words) < 2:
        raise GanvasError(f"`{text.strip()}` names no action and class; write it as `grow hair 0.05`")
    return words


def _fields(data: Mapping[str, Any]) -> list[Any]:
    if not {"do", "class"} <= data.keys():
        raise GanvasError(f"the step {dict(data)} needs `do` and `class`")
    action = data["do"]
    if action not in ACTIONS:
        raise GanvasError(f"the step {dict(data)} asks for {action}; a mask can {', '.join(ACTIONS)}")
    names = ["with"] if action == "replace" else [number.lower() for number in ACTIONS[action].numbers]
    unknown = data.keys() - {"do", "class", *names}
    if unknown:
        raise GanvasError(f"the step {dict(data)} has {', '.join(sorted(unknown))}, which {action} does not know")
    return [action, data["class"], *(data[name] for name in names if name in data)]


# The changes. Each takes a mask, where its class is, the step's numbers, and another class's id.

Change = Callable[[np.ndarray, np.ndarray, tuple[float, ...], int | None], np.ndarray]


def _fill(mask: np.ndarray, hole: np.ndarray, own: np.ndarray) -> np.ndarray:
    """What is around a class grows into a ``hole`` in it: each pixel takes the nearest class that is not its own."""
    around = ~own & (mask != IGNORE)
    if not around.any():
        raise GanvasError("the class covers the whole mask, so nothing is left to take its place")
    nearest = ndimage.distance_transform_edt(~around, return_distances=False, return_indices=True)
    return np.where(hole, mask[tuple(nearest)], mask)


def _put(mask: np.ndarray, hole: np.ndarray, place: np.ndarray, k: int) -> np.ndarray:
    """Class ``k`` moves from ``hole`` to ``place``; margins stay."""
    filled = _fill(mask, hole, hole)
    filled[place & (mask != IGNORE)] = k
    return filled


def _grow(mask: np.ndarray, where: np.ndarray, numbers: tuple[float, ...], _: int | None) -> np.ndarray:
    near = ndimage.distance_transform_edt(~where) <= numbers[0] * len(mask)
    return np.where(near & (mask != IGNORE), mask[where][0], mask)


def _shrink(mask: np.ndarray, where: np.ndarray, numbers: tuple[float, ...], _: int | None) -> np.ndarray:
    framed = np.pad(where, 1, constant_values=True)  # the image's edge is no edge of the class
    deep = ndimage.distance_transform_edt(framed)[1:-1, 1:-1] > numbers[0] * len(mask)
    return _fill(mask, where & ~deep, where)


def _scale(mask: np.ndarray, where: np.ndarray, numbers: tuple[float, ...], _: int | None) -> np.ndarray:
    if numbers[0] <= 0:
        raise GanvasError(f"a class is scaled by a factor above 0, got {numbers[0]:g}")
    pieces, n = ndimage.label(where, structure=np.ones((3, 3)))
    place = np.zeros_like(where)
    grid = np.indices(mask.shape)
    for piece in range(1, n + 1):  # each eye about its own centre
        centre = np.array(ndimage.center_of_mass(pieces == piece))[:, None, None]
        source = np.rint((grid - centre) / numbers[0] + centre).astype(int)
        inside = ((source >= 0) & (source < np.array(mask.shape)[:, None, None])).all(0)
        clipped = np.clip(source, 0, np.array(mask.shape)[:, None, None] - 1)
        place |= inside & (pieces[tuple(clipped)] == piece)
    return _put(mask, where, place, mask[where][0])


def _shift(mask: np.ndarray, where: np.ndarray, numbers: tuple[float, ...], _: int | None) -> np.ndarray:
    right, down = (round(value * len(mask)) for value in numbers)
    place = np.zeros_like(where)
    rows, columns = np.nonzero(where)
    rows, columns = rows + down, columns + right
    kept = (rows >= 0) & (rows < len(mask)) & (columns >= 0) & (columns < mask.shape[1])
    place[rows[kept], columns[kept]] = True
    return _put(mask, where, place, mask[where][0])


def _remove(mask: np.ndarray, where: np.ndarray, _: tuple[float, ...], __: int | None) -> np.ndarray:
    return _fill(mask, where, where)


def _replace(mask: np.ndarray, where: np.ndarray, _: tuple[float, ...], other: int | None) -> np.ndarray:
    return np.where(where, np.uint8(other), mask)


@dataclass(frozen=True)
class _Action:
    change: Change
    numbers: tuple[str, ...] = ()      # names of what it needs, in order


ACTIONS: dict[str, _Action] = {
    "grow": _Action(_grow, ("BY",)),
    "shrink": _Action(_shrink, ("BY",)),
    "scale": _Action(_scale, ("FACTOR",)),
    "shift": _Action(_shift, ("RIGHT", "DOWN")),
    "remove": _Action(_remove),
    "replace": _Action(_replace),
}
