"""Attributes that an image can have, and the values of each: what classifiers, labels and evaluations share.

No torch here: processes that render know them too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from networks.checkpoints.classes import IGNORE
from networks.checkpoints.errors import GanvasError

UNKNOWN = IGNORE  # the label of an attribute that an image hides: never trained on, never scored


@dataclass(frozen=True)
class Attribute:
    """One question about an image, and its possible answers.

    Raises:
        ValueError: if there are fewer than two values, or one twice.
    """

    name: str
    values: tuple[str, ...]

    def __post_init__(self) -> None:
        if not 2 <= len(set(self.values)) == len(self.values) < UNKNOWN:
            raise ValueError(f"{self.name} needs from 2 to {UNKNOWN - 1} different values, got {list(self.values)}")

    def index(self, value: str) -> int:
        """The label of ``value``.

        Raises:
            GanvasError: if there is no such value.
        """
        if value not in self.values:
            raise GanvasError(f"{self.name} is never {value!r}; it is one of {', '.join(self.values)}.")
        return self.values.index(value)


def column_of(attributes: Sequence[Attribute], name: str) -> int:
    """Which column of the labels holds the attribute of this name.

    Raises:
        GanvasError: if none does.
    """
    names = [attribute.name for attribute in attributes]
    if name not in names:
        raise GanvasError(f"there is no attribute {name!r}; there are {', '.join(names)}.")
    return names.index(name)


def attributes_to_json(attributes: Sequence[Attribute]) -> list[dict[str, Any]]:
    """As a manifest stores them."""
    return [{"name": a.name, "values": list(a.values)} for a in attributes]


def attributes_from_json(entries: Any) -> tuple[Attribute, ...]:
    """What :func:`attributes_to_json` gave.

    Raises:
        TypeError, KeyError, ValueError: if it did not.
    """
    return tuple(Attribute(str(entry["name"]), tuple(map(str, entry["values"]))) for entry in entries)
