"""A mixture of mappers: what is near a text is answered by its expert alone, all else by the general mapper."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from networks.checkpoints.edits import load_edit, save_edit
from networks.latent_edit import LatentEdit
from networks.mapper import Mapper, MapperEdit, MixtureMapper, Recipe, build_mapper
from networks.mapper.mixture import FAR, NEAR
from networks.mapper.network import Group
from networks.mapper.untrained import untrained

WIDTH, DIM, TEXTS = 3, 4, 2
GROUPS = [Group("a", "a", WIDTH), Group("b.conv", "b.conv", WIDTH)]


def mixture() -> MixtureMapper:
    """Of two texts, along the first two axes."""
    torch.manual_seed(0)
    general, *experts = (Mapper("s", GROUPS, Recipe(condition=width)) for width in (DIM, 0, 0))
    for each in (general, *experts):
        for network in each.networks.values():
            torch.nn.init.normal_(network.head.weight)
    return MixtureMapper(general, experts, 3 * torch.eye(DIM)[:TEXTS]).eval().requires_grad_(False)


def codes(n: int = 5) -> dict[str, Tensor]:
    torch.manual_seed(1)
    return {"a": torch.randn(n, WIDTH), "b.conv": torch.randn(n, WIDTH), "c": torch.randn(n, 1)}


def at_cosine(c: float, axis: int = 0) -> Tensor:
    """``[DIM]``, so near to a key and far from the other."""
    found = torch.zeros(DIM)
    found[axis], found[3] = c, math.sqrt(1 - c * c)
    return found


def wide(config: dict) -> dict:
    return {**config, "groups": [{**config["groups"][0], "width": -3}]}


def close(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert found.keys() == wanted.keys() == {"a", "b.conv"}
    for name, step in found.items():
        torch.testing.assert_close(step, wanted[name])


@given(c=st.floats(-1, 1), axis=st.integers(0, 1))
def test_the_nearest_expert_answers_as_far_as_it_is_near(c: float, axis: int) -> None:
    mapper, x, told = mixture(), codes(), at_cosine(c, axis).expand(5, -1)
    share = min(max((c - FAR) / (NEAR - FAR), 0), 1)
    own, general = mapper.experts[axis](x), mapper.general(x, told)
    close(mapper(x, told), {name: share * own[name] + (1 - share) * general[name] for name in own})


def test_each_row_is_answered_for_itself() -> None:
    mapper, x = mixture(), codes(4)
    told = torch.stack([at_cosine(1, 1), at_cosine(0.7), at_cosine(0), at_cosine(0.99)])
    found = mapper(x, told)
    for i in range(4):
        alone = mapper({name: t[i : i + 1] for name, t in x.items()}, told[i : i + 1])
        close({name: t[i : i + 1] for name, t in found.items()}, alone)


def test_what_texts_teach_reaches_their_experts_alone() -> None:
    mapper = mixture().requires_grad_(True)
    sum(step.sum() for step in mapper(codes(), at_cosine(1, 1).expand(5, -1)).values()).backward()
    for part, is_taught in ((mapper.general, False), (mapper.experts[0], False), (mapper.experts[1], True)):
        assert any(p.grad is not None for p in part.parameters()) is is_taught


def test_the_general_mapper_is_made_to_go_no_further_than_the_experts() -> None:
    mapper, x = mixture(), codes(50)
    for network in mapper.general.networks.values():
        network.head.weight.mul_(10)
    level = mapper.levelled(x)
    far = at_cosine(0).expand(50, -1)
    ratio = level(x, far)["a"] / mapper(x, far)["a"]
    torch.testing.assert_close(ratio, ratio.mean().expand_as(ratio))
    close(level(x, at_cosine(1).expand(50, -1)), mapper(x, at_cosine(1).expand(50, -1)))
    own = sum(expert.lengths(expert(x)).mean() for expert in level.experts)
    general = sum(level.general.lengths(level.general(x, key.expand(50, -1))).mean() for key in level.keys)
    torch.testing.assert_close(general, own)
    close(build_like(level)(x, far), level(x, far))
    assert level.levelled(x) is level or level.levelled(x).recipe.step_scale == pytest.approx(level.recipe.step_scale)
    for expert in mapper.experts:
        for network in expert.networks.values():
            torch.nn.init.zeros_(network.head.weight)
    assert mapper.levelled(x) is mapper   # experts that move nothing say nothing of how far


def build_like(mapper: MixtureMapper) -> MixtureMapper:
    again = build_mapper(json.loads(json.dumps(mapper.config)))
    again.load_state_dict(mapper.state_dict())
    assert isinstance(again, MixtureMapper)
    return again


@pytest.mark.parametrize(("c", "kind"), [(1.0, "expert"), (0.95, "expert"), (0.7, "both"), (0.2, "general")])
def test_an_edit_holds_what_its_text_asks(c: float, kind: str, tmp_path: Path) -> None:
    mapper, told = mixture(), at_cosine(c, 1)
    part, condition = mapper.answering(told)
    close(part(codes(), None if condition is None else condition.expand(5, -1)), mapper(codes(), told.expand(5, -1)))
    sizes = {"expert": mapper.experts[1], "general": mapper.general,
             "both": MixtureMapper(mapper.general, [mapper.experts[1]], mapper.keys[1:])}  # fmt: skip
    assert part.state_dict().keys() == sizes[kind].state_dict().keys()
    edit = LatentEdit("s", module=MapperEdit.by(mapper, told))
    again = load_edit(save_edit(tmp_path / "e.safetensors", edit)).module
    assert isinstance(again, MapperEdit)
    close(again.stages[0][0].steps(codes()), mapper(codes(), told.expand(5, -1)))
    random = untrained(again).stages[0][0]
    assert not torch.allclose(random.steps(codes())["a"], again.stages[0][0].steps(codes())["a"])


def test_the_configuration_and_the_weights_are_the_mixture() -> None:
    mapper = mixture()
    again = build_like(mapper)
    told = torch.stack([at_cosine(c) for c in (1, 0.8, 0.6, 0.1, -1)])
    close(again(codes(), told), mapper(codes(), told))
    torch.testing.assert_close(again.keys.norm(dim=1), torch.ones(TEXTS))


def test_half_precision_moves_no_gate() -> None:
    mapper, told = mixture(), torch.stack([at_cosine(0.7 + i / 1000) for i in range(5)])
    with torch.autocast("cpu", torch.bfloat16):
        nearest, share = mapper.gate(told)
    assert torch.equal(share, mapper.gate(told)[1])
    assert nearest.tolist() == [0] * 5


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda m: MixtureMapper(m.experts[0], list(m.experts), m.keys), "a general mapper that takes a condition"),
        (lambda m: MixtureMapper(m.general, [m.general], m.keys[:1]), "experts that take none"),
        (lambda m: MixtureMapper(m.general, [], m.keys[:0]), "0 experts need as many keys"),
        (lambda m: MixtureMapper(m.general, list(m.experts), m.keys[:, :2]), r"keys of width 4, got \[2, 2\]"),
        (lambda m: MixtureMapper(m.general, [Mapper("s", GROUPS[:1], Recipe())], m.keys[:1]), "move the same codes"),
        (lambda m: m(codes()), "a condition of width 4 is wanted"),
        (lambda m: m({"a": codes()["a"]}, at_cosine(1).expand(5, -1)), r"moves b.conv \[3\], and the codes have None"),
        (lambda m: MapperEdit.by(m), "a condition of width 4"),
        (lambda m: build_mapper({"general": m.general.config, "experts": 3}), "not describe a mixture"),
        (lambda m: build_mapper({"general": {}, "experts": []}), "does not describe a mapper"),
        (lambda m: build_mapper(3), r"does not describe a mapper \(int\)"),
        (lambda m: build_mapper({"general": 3, "experts": []}), "not describe a mixture"),
        (lambda m: build_mapper(wide(m.general.config)), "does not describe a mapper"),
        (lambda m: MapperEdit.by(m, torch.ones(7)), r"a condition of width 4 is wanted, got \[1, 7\]"),
    ],
)
def test_what_does_not_fit_is_refused(make, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make(mixture())
