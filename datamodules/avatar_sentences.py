"""Many captions of one avatar: sentences that say some of what is true of it, and the same with one thing changed."""

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
    """Captions of N avatars, each text once; contrasts are an avatar's captions, changed so that they are false."""

    texts: tuple[str, ...]      # T of them
    claims: np.ndarray          # bool [T, K]: what each text claims
    own: np.ndarray             # int [N, C]: numbers of texts that are true of each avatar
    contrasts: np.ndarray       # int [N, C]: the same, each with one claim changed
    false: np.ndarray           # bool [N, K]: claims that are false of each avatar


def write_captions(
    style: str, avatars: Sequence[Parts], written: int, borrowed: int = 0, seed: int = 0
) -> CaptionSet:  # fmt: skip
    """Captions of avatars, and contrasts; the first of each avatar says everything.

    Args:
        style: of the avatars.
        avatars: as ``AvatarSet.attributes`` has them.
        written: captions written for each avatar.
        borrowed: captions of others that are true of it as well; their contrasts need not be false of it.
        seed: of the words.

    Raises:
        GanvasError: if nobody has found words for this style.
    """
    true, false = claims_of(style, avatars)
    chances = np.maximum(true.mean(0), 1 / len(avatars)) ** -0.5   # the rarer a claim, the rather it is said
    numbers: dict[Said, int] = {}
    pairs = np.zeros((2, len(avatars), written), int)
    for i, parts in enumerate(avatars):
        rng = np.random.default_rng([seed, i])
        for c in range(written):
            both = _everything(style, parts, rng) if c == 0 else _something(true[i], false[i], chances, rng)
            pairs[:, i, c] = [numbers.setdefault(said, len(numbers)) for said in both]
    claims = np.zeros((len(numbers), len(CLAIMS)), bool)
    for (_, claimed), row in zip(numbers, claims, strict=True):
        row[list(claimed)] = True
    if borrowed and written > 1:
        rng = np.random.default_rng([seed, len(avatars)])
        pairs = np.concatenate([pairs, _borrowed(pairs[:, :, 1:].reshape(2, -1), claims, true, borrowed, rng)], 2)
    return CaptionSet(tuple(text for text, _ in numbers), claims, *pairs, false)


def _borrowed(
    pairs: np.ndarray, claims: np.ndarray, true: np.ndarray, count: int, rng: np.random.Generator
) -> np.ndarray:
    """For each avatar ``count`` of the pairs ``[2, P]`` whose caption is true of it, ``[2, N, count]``.

    Captions that fit few avatars come more often than by chance, or red hair would be named as rarely as it is seen.
    """
    said, untrue = claims[pairs[0]].astype(np.float32), (~true).astype(np.float32)
    fits = sum((said @ row == 0).astype(int) for row in untrue)   # [P]: of how many it is true, its own at least
    found = []
    for row in untrue:
        fitting = np.flatnonzero(said @ row == 0)
        weights = fits[fitting] ** -0.5
        found.append(pairs[:, rng.choice(fitting, count, p=weights / weights.sum())])
    return np.stack(found, 1)


def _everything(style: str, parts: Parts, rng: np.random.Generator) -> tuple[Said, Said]:
    """The whole description, and that of the avatar with another value of one attribute."""
    [true], [false] = claims_of(style, [parts])
    fine = {told.name: told for told in ATTRIBUTES[style]}
    other = CLAIMS[rng.choice([k for k in np.flatnonzero(false) if CLAIMS[k].attribute in fine])]
    told = fine[other.attribute]
    changed = {**parts, told.parts[0]: told.values[other.value][0]}
    [now], _ = claims_of(style, [changed])
    return (caption(parts), _numbers(true)), (caption(changed), _numbers(now))


def _something(
    true: np.ndarray, false: np.ndarray, chances: np.ndarray, rng: np.random.Generator
) -> tuple[Said, Said]:  # fmt: skip
    """A sentence of a few claims that are true, and the same with one of them false; each claim has its chance."""
    sayable = np.flatnonzero(true)
    weights = chances[sayable]
    count = min(1 + rng.choice(len(SHARES), p=SHARES), len(sayable))
    said = rng.choice(sayable, count, replace=False, p=weights / weights.sum())
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
    return _with_article(f"{opening}{text.strip()}")


def plain_text(phrase: str) -> str:
    """A person of whom this phrase is said.

    Example:
        >>> plain_text("smiling"), plain_text("with a beard")
        ('a smiling person', 'a person with a beard')
    """
    return _with_article(f"a person {phrase}" if phrase.split()[0] in LEADING else f"a {phrase} person")


def _with_article(text: str) -> str:
    return re.sub(r"\ba (?=[aeiou])", "an ", text)


def _joined(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def _numbers(claimed: np.ndarray) -> tuple[int, ...]:
    return tuple(map(int, np.flatnonzero(claimed)))
