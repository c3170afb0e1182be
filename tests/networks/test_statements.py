"""Statements in groups: which of them texts speak of, what contradicts a text, and what an edit leaves as it is."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from torch.nn import functional as F

from datamodules.avatar_claims import PHRASES
from datamodules.avatar_sentences import plain_text
from networks.checkpoints.errors import GanvasError
from networks.clip import ClipMix
from networks.mapper.statements import Contrasts, Statements
from tests.clips import DIM, NONSENSE, tiny_clip

GROUPS = {"hair": ["red", "black", "blond"], "mood": ["sad", "glad"]}


def axes() -> Statements:
    """Each statement is an axis of its own, of two models with the axes in another order."""
    eye = torch.eye(5)
    return Statements(tuple(GROUPS), ((eye[:3], eye[3:]), (eye.flip(0)[:3], eye.flip(0)[3:])))


def people(n: int = 400) -> list[torch.Tensor]:
    """Features of images, each with a colour of hair and a mood, drawn independently."""
    draws = torch.Generator().manual_seed(0)
    hair, mood = torch.randint(3, [n], generator=draws), torch.randint(2, [n], generator=draws)
    x = F.one_hot(hair, 5).float() + F.one_hot(mood + 3, 5).float()
    x = F.normalize(x + 0.05 * torch.randn(n, 5, generator=draws), dim=1)
    return [x, x.flip(1)]


def contrasts(*texts: torch.Tensor) -> Contrasts:
    target = torch.stack(texts)
    neutral = torch.full([len(texts), 5], 0.2)
    ways = [target - neutral, target.flip(1) - neutral]
    return Contrasts.of(axes(), people(), [target, target.flip(1)], ways, (0.5, 0.5))


def test_a_text_speaks_of_the_group_that_tells_its_images() -> None:
    eye = torch.eye(5)
    found = contrasts(eye[0], eye[4], F.normalize(eye[0] + 0.05 * eye[3], dim=0))
    assert [found.groups_of(k) for k in range(3)] == [["hair"], ["mood"], ["hair"]]
    assert found.only(1).groups_of(0) == ["mood"]


def test_what_contradicts_a_text_is_of_its_group_and_says_something_else() -> None:
    eye = torch.eye(5)
    found = contrasts(eye[0], F.normalize(eye[0] + eye[2], dim=0))
    torch.testing.assert_close(found.choices[0][0], torch.stack([eye[0], eye[1], eye[2]]))
    assert len(found.choices[0][1]) == 2                      # blond agrees as much as red does, and is left out
    torch.testing.assert_close(found.choices[0][1][1], eye[1])


def test_distances_say_whether_the_text_fits_and_what_else_has_changed() -> None:
    eye = torch.eye(5)
    found = contrasts(eye[0], eye[4])

    def image(hair: int, mood: int) -> list[torch.Tensor]:
        x = F.normalize(eye[hair] + eye[mood + 3], dim=0)[None]
        return [x, x.flip(1)]

    def told(before: list[torch.Tensor], after: list[torch.Tensor], text: int = 0) -> tuple[float, float]:
        terms = found.distances(after, before, torch.tensor([text]))
        return float(terms["contrast"]), float(terms["unsaid"])

    black_sad, red_sad, red_glad, black_glad = image(1, 0), image(0, 0), image(0, 1), image(1, 1)
    scale = axes().scale / math.sqrt(2)
    assert told(black_sad, black_sad) == pytest.approx((scale, 0), abs=1e-4)     # it says black: log p = -scale
    assert told(black_sad, red_sad) == pytest.approx((0, 0), abs=1e-4)          # as asked, and nothing else
    fits, other = told(black_sad, red_glad)
    assert fits == pytest.approx(0, abs=1e-4)
    assert other == pytest.approx(scale, rel=1e-4)                              # sadness has gone: KL is `scale`
    assert told(black_sad, red_glad, text=1)[1] > 1                             # another text says nothing of hair
    assert told(black_sad, black_glad, text=1) == pytest.approx((0, 0), abs=1e-4)


def test_texts_do_not_mix_in_a_batch() -> None:
    eye, (before, _) = torch.eye(5), people(6)
    found, which = contrasts(eye[0], eye[4]), torch.tensor([0, 1, 0, 1, 1, 0])
    both = found.distances([before.roll(1, 0), before.roll(1, 0).flip(1)], [before, before.flip(1)], which)
    for i, k in enumerate(which.tolist()):
        one = [x[i : i + 1] for x in (before.roll(1, 0), before)]
        alone = found.only(k).distances([one[0], one[0].flip(1)], [one[1], one[1].flip(1)], torch.tensor([0]))
        for name, x in alone.items():
            torch.testing.assert_close(both[name][i], x[0])


def test_statements_may_be_said_in_several_ways() -> None:
    mix = ClipMix([tiny_clip(0), tiny_clip(1)])
    found = Statements.of(mix, {"hair": ["red hair|ginger hair", "black hair"], "hat": ["a hat", "no hat"]}, ["{}"])
    assert found.names == ("hair", "hat")
    said = F.normalize(mix.models[1].encode_texts(["red hair", "ginger hair"]).mean(0), dim=0)
    torch.testing.assert_close(found.vectors[1][0][0], said)
    assert found.vectors[0][1].shape == (2, DIM)
    with pytest.raises(GanvasError, match="knows no word"):
        Statements.of(mix, {"hair": ["red hair", NONSENSE]})


def test_gradients_reach_the_edited_images_alone() -> None:
    before = [x[:4] for x in people()]
    after = [x.clone().requires_grad_() for x in before]
    terms = contrasts(torch.eye(5)[0]).distances(after, before, torch.zeros(4).long())
    sum(x.sum() for x in terms.values()).backward()
    assert all(x.grad is not None and x.grad.abs().sum() > 0 for x in after)


def test_groups_may_be_given() -> None:
    eye, x = torch.eye(5), people()
    target, neutral = eye[:1], torch.full([1, 5], 0.2)
    texts, ways = [target, target.flip(1)], [target - neutral, target.flip(1) - neutral]
    found = Contrasts.of(axes(), x, texts, ways, (0.5, 0.5), [["mood", "hair"]])
    assert found.groups_of(0) == ["hair", "mood"]
    torch.testing.assert_close(found.choices[0][0][0], eye[0])
    with pytest.raises(ValueError, match="skin"):
        Contrasts.of(axes(), x, texts, ways, (0.5, 0.5), [["skin"]])


def test_what_ships_for_avatars_are_the_words_of_their_captions() -> None:
    file = Path(__file__).parents[2] / "conf" / "task" / "statements" / "avatars.yaml"
    for name, *statements in OmegaConf.to_container(OmegaConf.load(file))["statements"]:
        said = [[plain_text(phrase) for phrase in phrases] for phrases in PHRASES[name].values()]
        assert len(statements) == len(said)
        for statement, ways in zip(statements, said, strict=True):
            assert statement.split("|") == ways[:3], name
