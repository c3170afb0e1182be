"""What an avatar may look like: the chosen parts, their shares and colours, as data.

DiceBear draws every part and colour of a style with equal chance. For ``avataaars`` that is a poor class of images to
learn: glasses and beards are rare, and hearts for eyes are as common as eyes. ``AvatarDistribution`` says instead how
often each part is drawn; what it does not name is left to the style.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from networks.checkpoints.errors import GanvasError

Shares = Mapping[str, float]  # name -> share; shares need not add up to one


@dataclass(frozen=True)
class AvatarDistribution:
    """How often each part and colour of a style is drawn.

    Parts and colours without an entry are drawn by DiceBear from the avatar's seed, as the style defines them.
    """

    parts: Mapping[str, Shares] = field(default_factory=dict)          # component -> {variant: share}
    probabilities: Mapping[str, float] = field(default_factory=dict)   # component -> chance that it is drawn, 0..1
    colors: Mapping[str, Shares] = field(default_factory=dict)         # colour name -> {"#rrggbb": share}
    same_color: Mapping[str, str] = field(default_factory=dict)        # colour name -> the one it always equals
    apart: Mapping[str, str] = field(default_factory=dict)             # colour name -> one drawn before, to differ from
    apart_by: float = 40.0                                             # RGB distance (of 0..441) that counts as unlike
    crop: tuple[float, float, float, float] | None = None              # view box x, y, width, height; None: all of it
    background_saturation: tuple[float, float] = (0.08, 0.32)          # of the uniform pastel background, HSV
    background_value: tuple[float, float] = (0.88, 1.00)


_AVATAAARS = AvatarDistribution(
    parts={
        # Left out: see-through (bigHair, shavedSides), strands or spikes finer than a pixel at 64 (curvy, dreads,
        # dreads02), and a single odd ornament (frida, froBand, winterHat04).
        "top": {
            "bob": 4, "bun": 4, "curly": 4, "fro": 4, "longButNotTooLong": 4, "miaWallace": 4, "straight01": 4,
            "straight02": 4, "straightAndStrand": 4, "shaggy": 4, "shaggyMullet": 2, "shortCurly": 5, "shortFlat": 6,
            "shortRound": 6, "shortWaved": 6, "theCaesar": 5, "theCaesarAndSidePart": 4, "dreads01": 3, "frizzle": 3,
            "sides": 3,
            "hat": 5, "winterHat02": 4, "winterHat03": 5, "winterHat1": 4, "turban": 2, "hijab": 2,
        },
        # Left out: hearts, xDizzy, cry, eyeRoll, winkWacky.
        "eyes": {
            "default": 50, "happy": 12, "squint": 10, "side": 8, "closed": 8, "surprised": 8, "wink": 4,
        },
        # Left out: the one grey unibrow, and twins that differ by less than a pixel at 64.
        "eyebrows": {
            "default": 30, "defaultNatural": 15, "flatNatural": 12, "raisedExcited": 12, "sadConcerned": 10,
            "angry": 8, "angryNatural": 6, "upDown": 7,
        },
        # Left out: eating (no lips, only cheeks), tongue, vomit.
        "mouth": {
            "smile": 30, "twinkle": 16, "default": 12, "serious": 15, "sad": 12, "screamOpen": 5, "concerned": 4,
            "disbelief": 3, "grimace": 3,
        },
        "facialHair": {
            "beardLight": 30, "beardMedium": 30, "beardMajestic": 12, "moustacheFancy": 14, "moustacheMagnum": 14,
        },
        # Left out: eyepatch.
        "accessories": {
            "prescription01": 22, "prescription02": 22, "round": 22, "sunglasses": 12, "wayfarers": 14, "kurt": 8,
        },
        # The crop shows little more than the neckline, so the graphic on a shirt would not be seen.
        "clothes": {
            "blazerAndShirt": 12, "blazerAndSweater": 12, "collarAndSweater": 14, "hoodie": 14, "overall": 8,
            "shirtCrewNeck": 16, "shirtScoopNeck": 12, "shirtVNeck": 12,
        },
    },
    probabilities={"accessories": 0.35, "facialHair": 0.30},   # 0.10 each in the style itself
    colors={
        # Left out: the yellow and the orange skin, and pink hair.
        "skin": {"#614335": 18, "#ae5d29": 18, "#d08b5b": 18, "#edb98a": 24, "#ffdbb4": 22},
        "hair": {
            "#2c1b18": 24, "#4a312c": 18, "#724133": 14, "#a55728": 12, "#b58143": 9, "#d6b370": 9, "#c93305": 6,
            "#ecdcbf": 4, "#e8e1e1": 4,
        },
        "clothes": {
            "#262e33": 10, "#3c4f5c": 10, "#25557c": 12, "#5199e4": 12, "#65c9ff": 8, "#929598": 8, "#e6e6e6": 8,
            "#ffffff": 8, "#ff5c5c": 9, "#ff488e": 7, "#a7ffc4": 8,
        },
        "hat": {
            "#262e33": 14, "#3c4f5c": 12, "#25557c": 16, "#5199e4": 16, "#929598": 12, "#ff5c5c": 16, "#ff488e": 14,
        },
        "accessories": {"#262e33": 60, "#25557c": 14, "#3c4f5c": 14, "#ff5c5c": 12},
    },
    same_color={"facialHair": "hair"},
    apart={"hair": "skin"},   # auburn hair on brown skin has no visible outline: nobody could label it
    crop=(36.0, 10.0, 208.0, 208.0),   # the head fills the frame; shoulders are cut
)

DISTRIBUTIONS: Mapping[str, AvatarDistribution] = MappingProxyType({
    "avataaars": _AVATAAARS,
    # Drawn as these styles are, but cut so that the head lies where a generator of avataaars has it.
    "toon-head": AvatarDistribution(crop=(64.0, 85.0, 640.0, 640.0)),
    "personas": AvatarDistribution(crop=(4.0, 1.5, 56.0, 56.0)),
    "micah": AvatarDistribution(crop=(52.0, 0.0, 300.0, 300.0)),   # seen half from the side
})

# What the same person may change from one picture to the next.
EXPRESSIONS: Mapping[str, tuple[str, ...]] = MappingProxyType({"avataaars": ("mouth", "eyes", "eyebrows")})


def distribution_of(style: str) -> AvatarDistribution:
    """The distribution of a style: its own table where there is one, else everything as the style defines it."""
    return DISTRIBUTIONS.get(style, AvatarDistribution())


def avatar_rng(style: str, split: str, seed: int, index: int) -> np.random.Generator:
    """The random numbers of one avatar, from nothing but its address, so that splits never share a stream."""
    digest = hashlib.sha256(f"ganvas/{style}/{split}/{seed}/{index}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "little"))


def draw_options(distribution: AvatarDistribution, rng: np.random.Generator) -> dict[str, Any]:
    """Draw the DiceBear options of one avatar.

    Returns:
        Options for ``dicebear.Avatar``, without ``backgroundColor``: that is drawn by ``draw_background``.
    """
    options: dict[str, Any] = {}
    for part, shares in distribution.parts.items():
        options[f"{part}Variant"] = _draw(shares, rng)
        shown = rng.random() < distribution.probabilities.get(part, 1.0)
        options[f"{part}Probability"] = 100 if shown else 0
    for name, shares in distribution.colors.items():
        if name in distribution.apart:
            [other] = options[f"{distribution.apart[name]}Color"]
            shares = {c: s for c, s in shares.items() if _distance(c, other) >= distribution.apart_by}
        options[f"{name}Color"] = [_draw(shares, rng)]
    for name, other in distribution.same_color.items():
        options[f"{name}Color"] = options[f"{other}Color"]
    # Last, so that DiceBear's own draws (parts without a table) follow the avatar's address too.
    options["seed"] = rng.bytes(12).hex()
    return options


def draw_expression(style: str, rng: np.random.Generator) -> dict[str, str]:
    """Another expression: the options of an avatar that the same person may have in another picture.

    Raises:
        GanvasError: if nobody has said which parts of this style are its expression.
    """
    if style not in EXPRESSIONS:
        raise GanvasError(f"Nobody has said which parts of the avatar style {style!r} are its expression; use one of: "
                          f"{', '.join(EXPRESSIONS)}, or add it to datamodules/avatar_parts.py.")
    parts = distribution_of(style).parts
    return {f"{part}Variant": _draw(parts[part], rng) for part in EXPRESSIONS[style]}


def draw_background(distribution: AvatarDistribution, rng: np.random.Generator) -> str:
    """A uniform pastel background, ``"#rrggbb"``."""
    hue = rng.random() * 6.0
    saturation = rng.uniform(*distribution.background_saturation)
    value = rng.uniform(*distribution.background_value)
    # HSV to RGB: channel k is value * (1 - saturation * ramp), the ramp falling to 0 around its own hue.
    ramp = [min(max(abs((hue - centre + 3.0) % 6.0 - 3.0) - 1.0, 0.0), 1.0) for centre in (0.0, 2.0, 4.0)]
    return "#" + "".join(f"{round(255 * value * (1.0 - saturation * r)):02x}" for r in ramp)


def _distance(a: str, b: str) -> float:
    return math.dist(bytes.fromhex(a[1:]), bytes.fromhex(b[1:]))


def _draw(shares: Shares, rng: np.random.Generator) -> str:
    names, weights = list(shares), np.fromiter(shares.values(), dtype=float)
    edges = np.cumsum(weights / weights.sum())
    return names[min(int(np.searchsorted(edges, rng.random(), side="right")), len(names) - 1)]
