"""Many captions of one avatar: sentences that mention some of what is true of it, and the same with one thing changed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from datamodules.avatar_attributes import ATTRIBUTES, Parts
from datamodules.avatar_captions import caption
from datamodules.avatar_claims import CLAIMS, LEADING, claims_of

NOUNS = ("person", "person", "face", "avatar", "character", "man", "woman", "cartoon character", "head")
OPENINGS = ("", "", "", "a picture of ", "a photo of ", "a portrait of ", "an image of ", "a drawing of ", "this is ")
LISTS = 0.15        # share of captions that are a list of words, as tags are
SHARES = (0.3, 0.25, 0.2, 0.15, 0.1)   # of sentences with 1, 2, ... claims

Said = tuple[str, tuple[int, ...]]   # a text, and the numbers of the claims that it makes


@dataclass(frozen=True)
class CaptionSet:
    """Captions of N avatars, each text once. Contrasts are the avatar's captions, changed so that they are false of it."""

    texts: tuple[str, ...]      # T of them
    claims: np.ndarray          # bool [T, K]: what each text claims
    own: np.ndarray             # int [N, C]: numbers of the texts of each avatar
    contrasts: np.ndarray       # int [N, C]: the same, each with one claim changed
    false: np.ndarray           # bool [N, K]: claims that are false of each avatar


def write_captions(style: str, avatars: Sequence[Parts], each: int, seed: int) -> CaptionSet:
    """Captions of avatars, and contrasts; the first of each avatar says everything.

    Args:
        style: of the avatars.
        avatars: as ``AvatarSet.attributes`` has them.
        each: captions of an avatar.
        seed: of the words; those of avatar i depend on ``(seed, i)``.

    Raises:
        GanvasError: if nobody has found words for this style.
    """
    true, false = claims_of(style, avatars)
    numbers: dict[Said, int] = {}
    pairs = np.zeros((2, len(avatars), each), int)
    for i, parts in enumerate(avatars):
        rng = np.random.default_rng([seed, i])
        for c in range(each):
            both = _everything(style, parts, rng) if c == 0 else _something(true[i], false[i], rng)
            pairs[:, i, c] = [numbers.setdefault(said, len(numbers)) for said in both]
    claims = np.zeros((len(numbers), len(CLAIMS)), bool)
    for (_, claimed), row in zip(numbers, claims, strict=True):
        row[list(claimed)] = True
    return CaptionSet(tuple(text for text, _ in numbers), claims, *pairs, false)


def _everything(style: str, parts: Parts, rng: np.random.Generator) -> tuple[Said, Said]:
    """The whole description, and that of the avatar with another value of one attribute."""
    [true], [false] = claims_of(style, [parts])
    fine = {told.name: told for told in ATTRIBUTES[style]}
    other = CLAIMS[rng.choice([k for k in np.flatnonzero(false) if CLAIMS[k].attribute in fine])]
    told = fine[other.attribute]
    changed = {**parts, told.parts[0]: told.values[other.value][0]}
    [now], _ = claims_of(style, [changed])
    return (caption(parts), _numbers(true)), (caption(changed), _numbers(now))


def _something(true: np.ndarray, false: np.ndarray, rng: np.random.Generator) -> tuple[Said, Said]:
    """A sentence of a few claims that are true, and the same with one of them false."""
    sayable = [k for k in np.flatnonzero(true) if CLAIMS[k].phrases]
    said = rng.choice(sayable, min(1 + rng.choice(len(SHARES), p=SHARES), len(sayable)), replace=False)
    phrases = [rng.choice(CLAIMS[k].phrases) for k in said]
    form = int(rng.integers(2**32))   # the same form for both
    place = int(rng.integers(len(said)))
    others = [k for k in np.flatnonzero(false) if CLAIMS[k].attribute == CLAIMS[said[place]].attribute]
    other = rng.choice(others)
    wrong = [*phrases[:place], rng.choice(CLAIMS[other].phrases), *phrases[place + 1 :]]
    claimed = [*said[:place], other, *said[place + 1 :]]
    return (sentence(phrases, form), tuple(sorted(map(int, said)))), (
        sentence(wrong, form), tuple(sorted(map(int, claimed)))
    )


def sentence(phrases: Sequence[str], form: int) -> str:
    """Phrases as one text: words before the noun, then what stands behind it, or a list of tags.

    Args:
        phrases: of claims; see :mod:`datamodules.avatar_claims`.
        form: seed of the noun, of the opening and of whether it is a list.

    Example:
        >>> sentence(["bald", "with a beard", "wearing glasses", "with tan skin"], 3)
        'a bald person with a beard and tan skin, wearing glasses'
    """
    rng = np.random.default_rng(form)
    noun, opening, as_list = rng.choice(NOUNS), rng.choice(OPENINGS), rng.random() < LISTS
    if as_list:
        return ", ".join(re.sub(r"^(with|wearing|in|dressed in|who is) (?=.)", "", phrase) for phrase in phrases)
    before = [phrase for phrase in phrases if phrase.split()[0] not in LEADING]
    behind: dict[str, list[str]] = {}
    for phrase in phrases:
        if phrase not in before:
            leading, _, rest = phrase.partition(" ")
            behind.setdefault(leading, []).append(rest)
    text = " ".join(["a", *before, noun, ", ".join(f"{word} {_joined(rests)}" for word, rests in behind.items())])
    return re.sub(r"\ba (?=[aeiou])", "an ", f"{opening}{text.strip()}")


def _joined(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def _numbers(claimed: np.ndarray) -> tuple[int, ...]:
    return tuple(map(int, np.flatnonzero(claimed)))
