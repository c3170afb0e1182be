"""Captions say what is true, and contrasts do not; what cannot be seen is neither."""

from __future__ import annotations

import numpy as np
import pytest

from datamodules.avatar_attributes import avatar_attributes
from datamodules.avatar_claims import CLAIMS, PHRASES, UNSEEN, claims_of
from datamodules.avatar_sentences import plain_text, sentence, write_captions
from datamodules.avatars import render_avatars
from networks.checkpoints.errors import GanvasError

PARTS = {
    "style": "avataaars", "background": "#ffe6e6", "mouth": "smile", "eyes": "wink", "eyebrows": "angry",
    "top": "winterHat02", "hatColor": "#ff5c5c", "hairColor": None, "facialHair": "beardMedium",
    "facialHairColor": "#c93305", "accessories": "sunglasses", "accessoriesColor": "#262e33",
    "clothes": "hoodie", "clothesColor": "#929598", "skinColor": "#ffdbb4",
}  # fmt: skip


@pytest.fixture(scope="module")
def avatars(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, ...]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANVAS_CACHE", str(tmp_path_factory.mktemp("cache")))
        return render_avatars(24, "heldout", 0, 16, progress=False).attributes


def said(table: np.ndarray) -> set[tuple[str, str]]:
    return {(CLAIMS[k].attribute, CLAIMS[k].value) for k in np.flatnonzero(table)}


def test_claims_follow_from_the_parts() -> None:
    [true], [false] = claims_of("avataaars", [PARTS])
    assert {("smile", "yes"), ("any hat", "yes"), ("hat colour", "red"), ("beard", "yes"), ("hair colour", "red"),
            ("skin", "fair"), ("glasses", "sunglasses")} <= said(true)  # fmt: skip
    assert {("smile", "no"), ("beard", "no"), ("glasses", "none")} <= said(false)
    assert not any(attribute == "eyes" for attribute, _ in said(true | false))   # hidden by sunglasses
    assert not (true & false).any()


def test_every_value_that_a_judge_tells_has_words() -> None:
    for attribute in avatar_attributes("avataaars"):
        assert all(PHRASES[attribute.name][value] for value in attribute.values)
    assert {(claim.attribute, claim.value) for claim in CLAIMS} == {(a, v) for a in PHRASES for v in PHRASES[a]}


def test_unseen_texts_are_unseen() -> None:
    words = {word for claim in CLAIMS for phrase in claim.phrases for word in phrase.replace("-", " ").split()}
    for attribute, value, text in UNSEEN:
        assert value in PHRASES[attribute]
        assert {word for word in text.replace("-", " ").split() if word not in words}, text


def test_captions_are_true_and_contrasts_are_not(avatars: tuple[dict, ...]) -> None:
    found = write_captions("avataaars", avatars, written=3, borrowed=5, seed=0)
    assert found.own.shape == found.contrasts.shape == (24, 8)
    assert len(set(zip(found.texts, map(bytes, found.claims), strict=True))) == len(found.texts)
    false_of = found.false[:, None]
    assert not (found.claims[found.own] & false_of).any()
    assert (found.claims[found.contrasts[:, :3]] & false_of).any(2).all()
    # One thing is changed, unless it drags others along, as a beard drags "no facial hair".
    short = found.claims[found.own[:, 1]].sum(1)
    assert (found.claims[found.contrasts[:, 1]].sum(1) == short).all()


def test_words_follow_from_the_seed(avatars: tuple[dict, ...]) -> None:
    one, again, other = (write_captions("avataaars", avatars, 2, 3, seed) for seed in (1, 1, 2))
    assert [one.texts[k] for k in one.own.flat] == [again.texts[k] for k in again.own.flat]
    assert [one.texts[k] for k in one.own[:, 1]] != [other.texts[k] for k in other.own[:, 1]]


def test_what_is_rare_is_said_more_often_than_seen(avatars: tuple[dict, ...]) -> None:
    true, _ = claims_of("avataaars", avatars)
    found = write_captions("avataaars", avatars, 8, 8, seed=0)
    said = found.claims[found.own[:, 1:]].sum((0, 1)) / true.sum(0).clip(1)   # how often, for each avatar it is true of
    shares = true.mean(0)
    assert said[(shares > 0) & (shares < 0.1)].mean() > 1.5 * said[shares > 0.5].mean()


def test_sentences_are_english() -> None:
    assert plain_text("open-mouthed") == "an open-mouthed person"
    forms = {sentence(["bald", "with a beard", "with tan skin", "wearing glasses"], form) for form in range(40)}
    assert len(forms) > 20
    assert any("with a beard and tan skin" in text for text in forms)
    assert any(text == "bald, a beard, tan skin, glasses" for text in forms)
    assert not any("  " in text or text != text.strip() or " a a" in text for text in forms)


def test_a_style_without_words_is_one_sentence(avatars: tuple[dict, ...]) -> None:
    with pytest.raises(GanvasError, match="no words for the avatar style 'micah'; use avataaars"):
        write_captions("micah", avatars, 2)
