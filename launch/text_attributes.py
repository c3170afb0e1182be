"""Which attribute a text names, and which others go with it: what success and leakage of an edit by text mean."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from networks.checkpoints.attributes import Attribute, column_of
from networks.checkpoints.errors import GanvasError


@dataclass(frozen=True)
class Named:
    """What a text asks for, in a judge's words."""

    name: str                       # of the attribute
    values: tuple[str, ...]         # any of which is success
    affects: tuple[str, ...] = ()   # other attributes that cannot stay: they say the same, or hide it

    def __str__(self) -> str:
        return f"{self.name}={'|'.join(self.values)}"


_HATS = ("hat", "winter hat")
# A pattern that the text must contain -> what it names; the first that does counts. Of the avatars' judge, whose
# attributes `datamodules/avatar_attributes.py` lists.
_TABLE: tuple[tuple[str, Named], ...] = (
    (r"\bnot smil|\bserious|\bstraight[- ]faced", Named("smile", ("no",), ("mouth", "open mouth"))),
    (r"\bsmil|\bhappy|\bjoyful|\bcheerful", Named("smile", ("yes",), ("mouth", "open mouth"))),
    (r"\bsad\b|\bunhappy", Named("mouth", ("sad",), ("smile", "open mouth", "eyebrows"))),
    (r"\bsurpris|\bstartled", Named("eyes", ("wide",), ("eyebrows", "mouth", "open mouth", "smile"))),
    (r"\bsunglasses", Named("glasses", ("sunglasses",), ("eyes", "eyebrows"))),
    (r"\b(without|no) glasses", Named("glasses", ("none",), ("eyes", "eyebrows"))),
    (r"\bglasses", Named("glasses", ("glasses", "sunglasses"), ("eyes", "eyebrows"))),
    (r"\bred[- ]hair|\bred[- ]haired", Named("hair colour", ("red",))),
    (r"\bbl[oa]nde?\b", Named("hair colour", ("blond",))),
    (r"\bbald", Named("hair", ("bald",), ("long hair", "hair colour", "hat"))),
    (r"\bbeard", Named("facial hair", ("short beard", "long beard"))),
    (r"\bmoustache", Named("facial hair", ("moustache",))),
    (r"\b(hat|cap)\b", Named("hat", _HATS, ("hair", "long hair", "hair colour"))),
    (r"\blong hair", Named("long hair", ("yes",), ("hair",))),
)  # fmt: skip


def named_by(
    text: str, given: str | None, affects: Sequence[str], attributes: Sequence[Attribute]
) -> Named | None:  # fmt: skip
    """What ``text`` names among the attributes of a judge.

    Args:
        text: of the edit.
        given: ``attribute=value`` or ``attribute=value|value`` instead of the table; ``none`` for no attribute.
        affects: further attributes that it may change.
        attributes: the judge's.

    Returns:
        None if the table has nothing for it, or ``none`` is given.

    Raises:
        GanvasError: if there is no such attribute or value.
    """
    if given == "none":
        return None
    if given is not None:
        name, equals, values = given.partition("=")
        if not (name and equals and values):
            raise GanvasError(f"attribute={given} must read attribute=value, as smile=yes, or be none.")
        table = {named.name: named.affects for _, named in _TABLE}
        named = Named(name, tuple(values.split("|")), table.get(name, ()))
    else:
        known = {attribute.name for attribute in attributes}
        found = (named for pattern, named in _TABLE if named.name in known and re.search(pattern, text.lower()))
        named = next(found, None)
        if named is None:
            return None
    column = column_of(attributes, named.name)
    for value in named.values:
        attributes[column].index(value)
    for name in affects:
        column_of(attributes, name)
    return replace(named, affects=(*named.affects, *affects))
