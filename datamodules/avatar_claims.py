"""What a text can say of an avatar, in many words, and whether it is true.

A claim is a value of an attribute: "wearing glasses" claims that ``glasses`` is ``glasses``. The attributes are those of
``avatar_attributes`` and a few coarser ones that people speak of. Each claim has several phrases; one that begins with
a word of ``LEADING`` stands behind the noun ("a person with a beard"), any other before it ("a bearded person").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from datamodules.avatar_attributes import ATTRIBUTES, AvatarAttribute, Parts
from networks.checkpoints.attributes import UNKNOWN
from networks.checkpoints.errors import GanvasError

STYLE = "avataaars"   # the one that somebody has found words for
LEADING = ("with", "without", "wearing", "who", "whose", "in", "dressed", "looking")

_FINE = ATTRIBUTES[STYLE]
_BARE = next(told.values["none"] for told in _FINE if told.name == "hat")
_HATS = ("hat", "winterHat02", "winterHat03", "winterHat1")

# What people say that is coarser than the attributes a judge tells, or beside them.
_COARSER = (
    AvatarAttribute("beard", ("facialHair",), {
        "no": (None, "moustacheFancy", "moustacheMagnum"), "yes": ("beardLight", "beardMedium", "beardMajestic"),
    }),
    AvatarAttribute("any hat", ("top",), {"no": _BARE, "yes": _HATS}),
    AvatarAttribute("hat colour", ("hatColor",), {
        "black": ("#262e33",), "slate grey": ("#3c4f5c",), "navy blue": ("#25557c",), "blue": ("#5199e4",),
        "grey": ("#929598",), "red": ("#ff5c5c",), "pink": ("#ff488e",),
    }),
)  # fmt: skip


def _hair(*colours: str) -> tuple[str, ...]:
    return tuple(f"with {colour} hair" for colour in colours)


def _clothes(*colours: str) -> tuple[str, ...]:
    return tuple(form.format(c) for c in colours for form in ("dressed in {}", "wearing {} clothes", "in {}"))


# Attribute -> value -> phrases, the first the plainest. Where one value means nothing to people, it has none.
PHRASES: Mapping[str, Mapping[str, tuple[str, ...]]] = MappingProxyType({
    "smile": {
        "no": ("not smiling", "who does not smile", "without a smile", "with an unsmiling mouth"),
        "yes": ("smiling", "happy", "cheerful", "with a smile", "who is smiling", "with a happy face"),
    },
    "open mouth": {
        "no": ("with a closed mouth", "with the mouth shut", "with closed lips"),
        "yes": ("with an open mouth", "with the mouth open", "open-mouthed"),
    },
    "mouth": {
        "smile": ("with a big open smile", "laughing", "with a broad smile", "beaming", "with a toothy smile"),
        "gentle smile": ("gently smiling", "with a gentle smile", "with a faint smile", "with a closed-mouth smile"),
        "grin": ("grinning", "with a grin", "who grins"),
        "serious": ("serious", "with a serious mouth", "with a neutral expression", "stern", "with a straight mouth"),
        "sad": ("sad", "unhappy", "with a sad mouth", "gloomy", "who looks sad", "with drooping lips"),
        "scream": ("screaming", "shouting", "yelling", "who is screaming", "with a wide open screaming mouth"),
        "concerned": ("concerned", "worried", "with a worried mouth", "who looks worried"),
        "disbelief": ("astonished", "amazed", "who cannot believe it", "with a round astonished mouth"),
        "grimace": ("grimacing", "with a grimace", "with clenched teeth", "with gritted teeth"),
    },
    "glasses": {
        "none": ("without glasses", "wearing no glasses", "with bare eyes", "with nothing over the eyes"),
        "glasses": ("wearing glasses", "with glasses", "with spectacles", "wearing eyeglasses", "bespectacled"),
        "sunglasses": ("wearing sunglasses", "with sunglasses", "with dark glasses", "wearing shades"),
    },
    "facial hair": {
        "none": ("clean-shaven", "with no facial hair", "with a smooth chin", "without facial hair"),
        "short beard": ("with a short beard", "with a trimmed beard", "with a stubbly beard"),
        "long beard": ("with a long beard", "with a huge beard", "with a long bushy beard"),
        "moustache": ("with a moustache", "with a mustache", "wearing a moustache", "moustached"),
    },
    "long hair": {
        "no": ("without long hair", "whose hair is not long"),
        "yes": ("with long hair", "long-haired", "whose hair is long"),
    },
    "hair": {
        "bald": ("bald", "with no hair", "with a bald head", "without hair", "balding", "hairless"),
        "short": ("with short hair", "short-haired", "with a short haircut", "with cropped hair"),
        "bun": ("with hair in a bun", "with a bun", "with hair tied up", "with a topknot"),
        "bob": ("with a bob", "with a bob haircut", "with chin-length hair"),
        "shaggy": ("with shaggy hair", "with messy hair", "with tousled hair"),
        "curls": ("with big curls", "curly-haired", "with curly hair", "with an afro"),
        "long": ("with long straight hair", "with long flowing hair", "with long smooth hair"),
        "covered": ("with covered hair", "whose hair is hidden"),
    },
    "hair colour": {
        "black": (*_hair("black", "jet-black"), "black-haired"),
        "dark brown": (*_hair("dark brown", "very dark brown", "chestnut"), "with dark hair"),
        "brown": (*_hair("brown", "medium brown"), "brown-haired", "brunette"),
        "auburn": _hair("auburn", "reddish brown", "copper brown"),
        "light brown": _hair("light brown", "sandy", "dark blond"),
        "blond": (*_hair("blond", "blonde", "golden", "yellow"), "blond"),
        "red": (*_hair("red", "ginger", "orange"), "red-haired", "ginger", "red-headed"),
        "platinum": _hair("platinum", "platinum blond", "very light blond", "pale blond"),
        "white": (*_hair("white", "grey", "silver"), "white-haired", "grey-haired"),
    },
    "hat": {
        "none": ("without a hat", "bareheaded", "wearing no hat", "with nothing on the head"),
        "hat": ("with a brimmed hat", "wearing a hat with a brim", "wearing a fedora", "with a wide hat"),
        "winter hat": ("with a winter hat", "wearing a woolly hat", "wearing a beanie", "wearing a knitted cap"),
        "turban": ("with a turban", "wearing a turban"),
        "hijab": ("with a hijab", "wearing a hijab", "wearing a headscarf", "veiled"),
    },
    "skin": {
        "dark brown": ("with dark brown skin", "dark-skinned", "with very dark skin", "with deep brown skin"),
        "brown": ("with brown skin", "brown-skinned", "whose skin is brown"),
        "tan": ("with tan skin", "tanned", "with tanned skin", "with olive skin"),
        "light": ("with light skin", "light-skinned", "with beige skin"),
        "fair": ("with fair skin", "pale", "with pale skin", "fair-skinned", "with very light skin"),
    },
    "eyes": {
        "open": ("with open eyes", "with ordinary eyes", "with round open eyes"),
        "laughing": ("with laughing eyes", "with happy eyes", "with eyes closed in laughter"),
        "narrowed": ("with narrowed eyes", "squinting", "with half-closed eyes"),
        "aside": ("with eyes turned aside", "looking aside", "looking to the side"),
        "closed": ("with closed eyes", "sleeping", "with the eyes shut", "with eyes shut"),
        "wide": ("with wide open eyes", "wide-eyed", "surprised", "startled", "with surprised eyes"),
        "wink": ("winking", "with a wink", "with one eye closed"),
    },
    "eyebrows": {
        "relaxed": ("with relaxed eyebrows", "with calm eyebrows", "with ordinary eyebrows"),
        "raised": ("with raised eyebrows", "with lifted eyebrows", "with high eyebrows"),
        "sad": ("with sad eyebrows", "with worried eyebrows", "with sorrowful eyebrows"),
        "angry": ("with angry eyebrows", "angry", "with a frown", "furious", "who looks angry"),
        "one raised": ("with one raised eyebrow", "with an eyebrow raised", "sceptical"),
    },
    "clothes": {
        "blazer": ("wearing a blazer", "wearing a jacket", "in a suit jacket"),
        "sweater": ("wearing a sweater with a collar", "wearing a pullover", "wearing a jumper"),
        "hoodie": ("wearing a hoodie", "in a hooded sweatshirt", "in a hoodie"),
        "overall": ("wearing overalls", "in dungarees"),
        "shirt": ("wearing a shirt", "wearing a T-shirt", "in a plain shirt"),
    },
    "clothes colour": {
        "black": _clothes("black"), "slate": _clothes("slate grey", "dark grey"), "navy": _clothes("navy blue"),
        "blue": _clothes("blue"), "light blue": _clothes("light blue", "sky blue"), "grey": _clothes("grey"),
        "light grey": _clothes("light grey"), "white": _clothes("white"), "red": _clothes("red"),
        "pink": _clothes("pink"), "mint": _clothes("mint green", "light green"),
    },
    "beard": {
        "no": ("without a beard", "beardless", "with no beard"),
        "yes": ("with a beard", "bearded", "who has a beard"),
    },
    "any hat": {
        "no": ("hatless", "who wears no hat"),
        "yes": ("wearing a hat", "with a hat", "who wears a hat"),
    },
    "hat colour": {
        colour: (f"wearing a {colour} hat", f"with a {colour} hat") for colour in _COARSER[-1].values
    },
})  # fmt: skip

# Texts whose words occur in no phrase above: (attribute, value, text). They test what the text tower brings along.
UNSEEN = (
    ("smile", "yes", "a joyful person"), ("smile", "yes", "somebody delighted"), ("mouth", "sad", "a miserable person"),
    ("glasses", "sunglasses", "a person behind tinted lenses"), ("glasses", "none", "a person needing no goggles"),
    ("beard", "yes", "a person with whiskers on the cheeks"), ("hair", "bald", "a person with a shaved scalp"),
    ("hair colour", "red", "a person with copper coloured locks"), ("hair colour", "black", "a raven-haired person"),
    ("hat", "winter hat", "a person dressed for snow"), ("hat", "hijab", "a Muslim lady"),
    ("mouth", "scream", "a roaring person"), ("eyebrows", "angry", "an enraged person"),
    ("clothes", "hoodie", "a rapper's sweatshirt"), ("skin", "dark brown", "an African person"),
)  # fmt: skip


@dataclass(frozen=True)
class Claim:
    """A value of an attribute, and how people say it."""

    attribute: str
    value: str
    phrases: tuple[str, ...]


CLAIMS: tuple[Claim, ...] = tuple(
    Claim(told.name, value, PHRASES[told.name][value]) for told in (*_FINE, *_COARSER) for value in told.values
)


def claims_of(style: str, avatars: Sequence[Parts]) -> tuple[np.ndarray, np.ndarray]:
    """Which claims hold of avatars and which are false, ``bool [N, len(CLAIMS)]`` both.

    Neither is said of what cannot be seen: eyes behind sunglasses are not closed, and not open.

    Raises:
        GanvasError: if nobody has found words for this style.
    """
    if style != STYLE:
        raise GanvasError(f"There are no words for the avatar style {style!r}; use {STYLE}, or add phrases to "
                          "datamodules/avatar_claims.py.")  # fmt: skip
    true = np.zeros((len(avatars), len(CLAIMS)), bool)
    known = np.zeros_like(true)
    first = 0
    for told in (*_FINE, *_COARSER):
        labels = np.array([told.label(parts) for parts in avatars])
        columns = slice(first, first + len(told.values))
        true[:, columns] = labels[:, None] == np.arange(len(told.values))
        known[:, columns] = (labels != UNKNOWN)[:, None]
        first = columns.stop
    return true, known & ~true
