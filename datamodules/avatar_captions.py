"""One English sentence about an avatar, from its attributes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from types import MappingProxyType

Attributes = Mapping[str, str | None]

# Hair and headwear by "top"; {hair} and {hat} stand for the colour.
_TOPS = MappingProxyType({
    "bigHair": "long wavy {hair} hair", "bob": "a {hair} bob", "bun": "{hair} hair in a bun",
    "curly": "big {hair} curls", "curvy": "long wavy {hair} hair with light strands",
    "dreads": "long {hair} dreadlocks", "dreads01": "short {hair} dreadlocks", "dreads02": "spiky {hair} dreadlocks",
    "frida": "{hair} hair with flowers in it", "frizzle": "a {hair} quiff", "fro": "a {hair} afro",
    "froBand": "a {hair} afro with a headband", "longButNotTooLong": "shoulder-length {hair} hair",
    "miaWallace": "a {hair} bob with a fringe", "shaggy": "shaggy {hair} hair", "shaggyMullet": "a {hair} mullet",
    "shavedSides": "long {hair} hair shaved at one side", "shortCurly": "short curly {hair} hair",
    "shortFlat": "short {hair} hair", "shortRound": "short round {hair} hair", "shortWaved": "short wavy {hair} hair",
    "sides": "a bald head with {hair} hair at the sides", "straight01": "long {hair} hair swept aside",
    "straight02": "long straight {hair} hair", "straightAndStrand": "long straight {hair} hair with a fringe",
    "theCaesar": "cropped {hair} hair", "theCaesarAndSidePart": "cropped {hair} hair with a side parting",
    "hat": "a {hat} hat with a wide brim", "hijab": "a {hat} hijab", "turban": "a {hat} turban",
    "winterHat02": "a {hat} knitted hat with ear flaps", "winterHat03": "a {hat} and white bobble hat",
    "winterHat04": "a {hat} and white hat with cat ears", "winterHat1": "a {hat} and white trapper hat",
})
_MOUTHS = MappingProxyType({
    "concerned": "a worried", "default": "a grinning", "disbelief": "an astonished", "eating": "a munching",
    "grimace": "a grimacing", "sad": "a sad", "screamOpen": "a screaming", "serious": "a serious",
    "smile": "a smiling", "tongue": "a cheeky", "twinkle": "a gently smiling", "vomit": "a sick",
})
_EYES = MappingProxyType({
    "closed": "closed eyes", "cry": "tears", "eyeRoll": "rolling eyes", "happy": "laughing eyes",
    "hearts": "hearts for eyes", "side": "eyes turned aside", "squint": "narrowed eyes", "surprised": "wide open eyes",
    "wink": "a wink", "winkWacky": "a wild wink", "xDizzy": "dizzy eyes",   # "default" is not worth a word
})
_BROWS = MappingProxyType({
    "angry": "angry eyebrows", "angryNatural": "angry eyebrows", "flatNatural": "flat eyebrows",
    "frownNatural": "a frown", "raisedExcited": "raised eyebrows", "raisedExcitedNatural": "raised eyebrows",
    "sadConcerned": "sad eyebrows", "sadConcernedNatural": "sad eyebrows", "unibrowNatural": "a grey unibrow",
    "upDown": "one raised eyebrow", "upDownNatural": "one raised eyebrow",
})
_BEARDS = MappingProxyType({
    "beardLight": "a thin {hair} beard", "beardMedium": "a full {hair} beard", "beardMajestic": "a long {hair} beard",
    "moustacheFancy": "a curled {hair} moustache", "moustacheMagnum": "a thick {hair} moustache",
})
_GLASSES = MappingProxyType({
    "eyepatch": "an eyepatch", "kurt": "large dark sunglasses", "prescription01": "{frame} glasses",
    "prescription02": "thick {frame} glasses", "round": "round {frame} glasses", "sunglasses": "{frame} sunglasses",
    "wayfarers": "angular {frame} sunglasses",
})
_CLOTHES = MappingProxyType({
    "blazerAndShirt": "a {clothes} blazer over a shirt", "blazerAndSweater": "a {clothes} blazer over a sweater",
    "collarAndSweater": "a {clothes} sweater with a collar", "graphicShirt": "a {clothes} shirt with a picture",
    "hoodie": "a {clothes} hoodie", "overall": "{clothes} overalls", "shirtCrewNeck": "a {clothes} crew-neck shirt",
    "shirtScoopNeck": "a {clothes} scoop-neck shirt", "shirtVNeck": "a {clothes} V-neck shirt",
})
_SKINS = MappingProxyType({
    "#614335": "dark brown", "#ae5d29": "brown", "#d08b5b": "tan", "#edb98a": "light", "#ffdbb4": "fair",
    "#fd9841": "orange", "#f8d25c": "yellow",
})
_HAIR_COLORS = MappingProxyType({
    "#2c1b18": "black", "#4a312c": "dark brown", "#724133": "brown", "#a55728": "auburn", "#b58143": "light brown",
    "#d6b370": "blond", "#c93305": "red", "#ecdcbf": "platinum blond", "#e8e1e1": "white", "#f59797": "pink",
})
_COLORS = MappingProxyType({
    "black": (20, 20, 20), "charcoal": (45, 52, 62), "grey": (146, 149, 152), "light grey": (225, 225, 225),
    "white": (255, 255, 255), "red": (255, 60, 60), "brown": (120, 72, 40), "orange": (250, 150, 60),
    "yellow": (250, 225, 90), "cream": (255, 240, 200), "green": (60, 165, 80), "mint green": (167, 255, 196),
    "turquoise": (60, 200, 200), "light blue": (110, 205, 255), "blue": (75, 140, 225), "navy blue": (37, 80, 125),
    "slate blue": (60, 79, 92), "purple": (130, 80, 190), "lilac": (205, 185, 255), "pink": (255, 72, 142),
    "light pink": (255, 185, 200), "pale pink": (250, 215, 228), "pale lilac": (225, 210, 250),
    "pale blue": (198, 222, 247), "pale turquoise": (190, 242, 240), "pale green": (205, 242, 205),
    "pale yellow": (250, 246, 190), "peach": (250, 215, 190),
})
_HIDE_EYES = frozenset({"kurt", "sunglasses", "wayfarers"})


def color_name(color: str) -> str:
    """The English name nearest to ``"#rrggbb"``.

    Example:
        >>> color_name("#25557c")
        'navy blue'
    """
    rgb = bytes.fromhex(color[1:7])
    return min(_COLORS, key=lambda name: math.dist(rgb, _COLORS[name]))


def caption(attributes: Attributes) -> str:
    """One sentence about an avatar; the style ``avataaars`` in natural words, others by the names of their parts."""
    if attributes["style"] == "avataaars":
        return _avataaars(attributes)
    return _plain(attributes)


def _avataaars(attributes: Attributes) -> str:
    hair = attributes["hairColor"] or attributes["facialHairColor"]
    words = {
        "hair": _HAIR_COLORS.get(hair or "", "") or _named(hair),
        "hat": _named(attributes["hatColor"]),
        "frame": _named(attributes["accessoriesColor"]),
        "clothes": _named(attributes["clothesColor"]),
    }
    skin = attributes["skinColor"]
    said = [
        f"{_SKINS.get(skin or '', '') or _named(skin)} skin",
        _TOPS.get(attributes["top"] or "", "a bald head"),
        None if attributes["accessories"] in _HIDE_EYES else _EYES.get(attributes["eyes"] or ""),
        _BROWS.get(attributes["eyebrows"] or ""),
        _BEARDS.get(attributes["facialHair"] or ""),
        _GLASSES.get(attributes["accessories"] or ""),
        _CLOTHES.get(attributes["clothes"] or ""),
        f"a {_named(attributes['background'])} background",
    ]
    mouth = _MOUTHS.get(attributes["mouth"] or "", "a")
    sentence = f"{mouth} person with {_listed([s.format(**words) for s in said if s])}."
    return _with_articles(sentence)


def _plain(attributes: Attributes) -> str:
    said = []
    for name, variant in attributes.items():
        if variant is None or name in ("style", "background") or name.endswith("Color"):
            continue
        color = attributes.get(f"{name}Color")
        said.append(" ".join(filter(None, [_named(color), _spelt(name), _spelt(variant)])))
    said.append(f"a {_named(attributes['background'])} background")
    return _with_articles(f"a {attributes['style']} avatar with {_listed(said)}.")


def _named(color: str | None) -> str:
    return color_name(color) if color else ""


def _spelt(name: str) -> str:
    """``"facialHair"`` to ``"facial hair"``, ``"variant01"`` to ``"variant 1"``."""
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", name)
    return " ".join(w.lstrip("0") or "0" if w.isdigit() else w.lower() for w in words)


def _listed(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def _with_articles(sentence: str) -> str:
    """Single spaces, "an" before a vowel, a capital in front."""
    sentence = re.sub(r"\ba (?=[aeio])", "an ", re.sub(r" +", " ", sentence))
    return sentence[0].upper() + sentence[1:]
