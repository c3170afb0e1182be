"""What an avatar's parts say of it, as labels: smile, glasses, hair, colours and the like, a table for each style.

A part that another one covers has no label: nobody sees the eyes behind sunglasses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from networks.checkpoints.attributes import UNKNOWN, Attribute
from networks.checkpoints.errors import GanvasError

Parts = Mapping[str, str | None]   # what draw_avatar says of an avatar


@dataclass(frozen=True)
class AvatarAttribute:
    """One attribute of a style, told from its parts."""

    name: str
    parts: tuple[str, ...]                                             # the first that is drawn decides
    values: Mapping[str, tuple[str | None, ...]]                       # value -> variants or colours; None: not drawn
    hidden_by: Mapping[str, tuple[str, ...]] = field(default_factory=dict)   # part -> its variants that cover this

    def label(self, parts: Parts) -> int:
        """The value's number, or ``UNKNOWN`` where it cannot be seen."""
        if any(parts[other] in variants for other, variants in self.hidden_by.items()):
            return UNKNOWN
        seen = next((parts[name] for name in self.parts if parts[name] is not None), None)
        for number, variants in enumerate(self.values.values()):
            if seen in variants:
                return number
        return UNKNOWN


_SMILES, _OPEN = ("smile", "twinkle", "default"), ("smile", "default", "screamOpen", "concerned", "disbelief")
_MOUTHS = {
    "smile": "smile", "gentle smile": "twinkle", "grin": "default", "serious": "serious", "sad": "sad",
    "scream": "screamOpen", "concerned": "concerned", "disbelief": "disbelief", "grimace": "grimace",
}  # fmt: skip
_HATS = ("hat", "winterHat02", "winterHat03", "winterHat1", "turban", "hijab")
_LONG = ("longButNotTooLong", "straight01", "straight02", "straightAndStrand", "bob", "miaWallace", "curly", "shaggy",
         "shaggyMullet")  # fmt: skip
_SHORT = ("shortCurly", "shortFlat", "shortRound", "shortWaved", "theCaesar", "theCaesarAndSidePart", "dreads01",
          "frizzle")  # fmt: skip
_OPAQUE = ("sunglasses", "wayfarers", "kurt")

_AVATAAARS = (
    AvatarAttribute("smile", ("mouth",), {
        "no": tuple(v for v in _MOUTHS.values() if v not in _SMILES), "yes": _SMILES,
    }),
    AvatarAttribute("open mouth", ("mouth",), {
        "no": tuple(v for v in _MOUTHS.values() if v not in _OPEN), "yes": _OPEN,
    }),
    AvatarAttribute("mouth", ("mouth",), {name: (variant,) for name, variant in _MOUTHS.items()}),
    AvatarAttribute("glasses", ("accessories",), {
        "none": (None,), "glasses": ("prescription01", "prescription02", "round"), "sunglasses": _OPAQUE,
    }),
    AvatarAttribute("facial hair", ("facialHair",), {
        "none": (None,), "short beard": ("beardLight", "beardMedium"), "long beard": ("beardMajestic",),
        "moustache": ("moustacheFancy", "moustacheMagnum"),
    }),
    AvatarAttribute(
        "long hair", ("top",), {"no": (*_SHORT, "sides", "bun", "fro"), "yes": _LONG}, hidden_by={"top": _HATS},
    ),
    AvatarAttribute("hair", ("top",), {
        "bald": ("sides",), "short": _SHORT, "bun": ("bun",), "bob": ("bob", "miaWallace"),
        "shaggy": ("shaggy", "shaggyMullet"), "curls": ("curly", "fro"),
        "long": ("longButNotTooLong", "straight01", "straight02", "straightAndStrand"), "covered": _HATS,
    }),
    AvatarAttribute("hair colour", ("hairColor", "facialHairColor"), {
        "black": ("#2c1b18",), "dark brown": ("#4a312c",), "brown": ("#724133",), "auburn": ("#a55728",),
        "light brown": ("#b58143",), "blond": ("#d6b370",), "red": ("#c93305",), "platinum": ("#ecdcbf",),
        "white": ("#e8e1e1",),
    }),
    AvatarAttribute("hat", ("top",), {
        "none": (*_LONG, *_SHORT, "sides", "bun", "fro"), "hat": ("hat",),
        "winter hat": ("winterHat02", "winterHat03", "winterHat1"), "turban": ("turban",), "hijab": ("hijab",),
    }),
    AvatarAttribute("skin", ("skinColor",), {
        "dark brown": ("#614335",), "brown": ("#ae5d29",), "tan": ("#d08b5b",), "light": ("#edb98a",),
        "fair": ("#ffdbb4",),
    }),
    AvatarAttribute("eyes", ("eyes",), {
        "open": ("default",), "laughing": ("happy",), "narrowed": ("squint",), "aside": ("side",),
        "closed": ("closed",), "wide": ("surprised",), "wink": ("wink",),
    }, hidden_by={"accessories": _OPAQUE}),
    AvatarAttribute("eyebrows", ("eyebrows",), {
        "relaxed": ("default", "defaultNatural", "flatNatural"), "raised": ("raisedExcited",), "sad": ("sadConcerned",),
        "angry": ("angry", "angryNatural"), "one raised": ("upDown",),
    }, hidden_by={"accessories": ("kurt",)}),
    AvatarAttribute("clothes", ("clothes",), {
        "blazer": ("blazerAndShirt", "blazerAndSweater"), "sweater": ("collarAndSweater",), "hoodie": ("hoodie",),
        "overall": ("overall",), "shirt": ("shirtCrewNeck", "shirtScoopNeck", "shirtVNeck"),
    }),
    AvatarAttribute("clothes colour", ("clothesColor",), {
        "black": ("#262e33",), "slate": ("#3c4f5c",), "navy": ("#25557c",), "blue": ("#5199e4",),
        "light blue": ("#65c9ff",), "grey": ("#929598",), "light grey": ("#e6e6e6",), "white": ("#ffffff",),
        "red": ("#ff5c5c",), "pink": ("#ff488e",), "mint": ("#a7ffc4",),
    }),
)  # fmt: skip

# Of other styles, what means the same there, by the same names: a judge of avataaars can be asked about it.
_TOON_HEAD = (
    AvatarAttribute("smile", ("mouth",), {"no": ("agape", "angry", "sad"), "yes": ("laugh", "smile")}),
    AvatarAttribute("open mouth", ("mouth",), {"no": ("sad", "smile"), "yes": ("agape", "angry", "laugh")}),
    AvatarAttribute("facial hair", ("beard",), {
        "none": (None,), "short beard": ("chin", "chinMoustache", "fullBeard"), "long beard": ("longBeard",),
        "moustache": ("moustacheTwirl",),
    }),
)  # fmt: skip
_PERSONAS = (
    AvatarAttribute("smile", ("mouth",), {"no": ("frown", "surprise"), "yes": ("bigSmile", "smile", "smirk")}),
    AvatarAttribute("open mouth", ("mouth",), {"no": ("frown", "smile", "smirk"), "yes": ("bigSmile", "surprise")}),
    AvatarAttribute("glasses", ("eyes",), {
        "none": ("happy", "open", "sleep", "wink"), "glasses": ("glasses",), "sunglasses": ("sunglasses",),
    }),
    AvatarAttribute("facial hair", ("facialHair",), {
        "none": (None,), "short beard": ("beardMustache", "goatee"), "moustache": ("pyramid", "walrus"),
    }),
    AvatarAttribute("hat", ("hair",), {
        "none": ("bald", "balding", "bobBangs", "bobCut", "bunUndercut", "buzzcut", "curly", "curlyBun", "curlyHighTop",
                 "extraLong", "fade", "long", "mohawk", "pigtails", "shortCombover", "shortComboverChops", "sideShave",
                 "straightBun"),
        "winter hat": ("beanie",),
    }),
)  # fmt: skip
_MICAH = (
    AvatarAttribute("smile", ("mouth",), {
        "no": ("frown", "nervous", "pucker", "sad", "surprised"), "yes": ("laughing", "smile", "smirk"),
    }),
    AvatarAttribute("open mouth", ("mouth",), {
        "no": ("frown", "pucker", "sad", "smile", "smirk"), "yes": ("laughing", "surprised"),
    }),
    AvatarAttribute("glasses", ("glasses",), {"none": (None,), "glasses": ("round", "square")}),
    AvatarAttribute("facial hair", ("facialHair",), {"none": (None,), "short beard": ("beard",)}),
    AvatarAttribute("hat", ("hair",), {
        "none": ("dannyPhantom", "dougFunny", "fonze", "full", "mrClean", "mrT", "pixie"), "turban": ("turban",),
    }),
)  # fmt: skip

ATTRIBUTES: Mapping[str, tuple[AvatarAttribute, ...]] = MappingProxyType({
    "avataaars": _AVATAAARS, "toon-head": _TOON_HEAD, "personas": _PERSONAS, "micah": _MICAH,
})  # fmt: skip


def avatar_attributes(style: str) -> tuple[Attribute, ...]:
    """The attributes of a style, as a classifier knows them.

    Raises:
        GanvasError: if the style has no table of attributes.
    """
    return tuple(Attribute(told.name, tuple(told.values)) for told in _table(style))


def avatar_labels(style: str, avatars: Sequence[Parts]) -> np.ndarray:
    """The labels of avatars, ``uint8 [N, attributes]``: numbers of values, ``UNKNOWN`` where they cannot be seen.

    Args:
        style: of the avatars.
        avatars: as ``AvatarSet.attributes`` has them.

    Raises:
        GanvasError: if the style has no table of attributes.
    """
    return np.array([[told.label(parts) for told in _table(style)] for parts in avatars], np.uint8)


def _table(style: str) -> tuple[AvatarAttribute, ...]:
    if style not in ATTRIBUTES:
        raise GanvasError(f"The avatar style {style!r} has no table of attributes; use one of: "
                          f"{', '.join(ATTRIBUTES)}, or add a table to datamodules/avatar_attributes.py.")
    return ATTRIBUTES[style]
