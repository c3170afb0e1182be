"""Codes that a text asks for: what moves, in which unit, and that each image and text is on its own."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from editors.text_optimise import STYLECLIP, TextOptimiser, TextSettings
from networks.checkpoints.edits import load_edit, save_edit
from networks.checkpoints.errors import GanvasError
from networks.clip import ClipMix, ClipModel
from networks.latent_statistics import w_statistics
from networks.mapper.wish import Wish
from networks.preservation import Preservation, Preserved, Seen
from networks.protocol import Generator
from networks.stylegan2 import Generator as StyleGan2
from tests.clips import NONSENSE, tiny_clip

FAST = TextSettings(steps=6, rate=0.3, patience=6)
TEXTS = ("red hair", "a hat")


@pytest.fixture(scope="module")
def generator() -> Generator:
    torch.manual_seed(0)
    network = StyleGan2(16, z_dim=8, w_dim=8, mapping_layers=2, channel_base=128, channel_max=8)
    network.hash = "a" * 64
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def clip() -> ClipModel:
    return tiny_clip()


@pytest.mark.parametrize("space", ["w+", "s"])
def test_every_pair_is_as_if_it_were_alone(space: str, generator: Generator, clip: ClipModel) -> None:
    latent, settings = generator.sample(3, 0), replace(FAST, space=space)
    together = TextOptimiser(generator, clip, replace(settings, batch=4)).edit(latent, TEXTS, "hair")
    assert together.distance.shape == (2, 3)
    assert (together.distance < together.distance_before).all()
    alone = TextOptimiser(generator, clip, settings).edit(latent[2], TEXTS[1:], "hair")
    for name, codes in alone.after[0].tensors.items():
        torch.testing.assert_close(together.after[1].tensors[name][2:], codes, rtol=1e-3, atol=1e-4)


def test_the_unit_of_a_step_is_the_spread_of_the_codes(generator: Generator, clip: ClipModel) -> None:
    """One step of Adam is as long as the rate, wherever the gradient points."""
    latent, one = generator.sample(2, 0), TextSettings(steps=1, rate=0.1, ramp_up=0, ramp_down=0, l2=0)
    step = _first_step(generator, clip, latent, one)
    assert step.abs().max().item() == pytest.approx(0.1 * w_statistics(generator).std.item(), rel=1e-3)
    raw = _first_step(generator, clip, latent, replace(one, units="raw"))
    assert raw.abs().max().item() == pytest.approx(0.1, rel=1e-3)


def _first_step(generator, clip, latent, settings) -> torch.Tensor:
    from editors.text_optimise import _Problem

    editor = TextOptimiser(generator, clip, settings)
    wish = Wish.of(editor.mix, TEXTS[:1], "hair")
    problem = _Problem(editor, wish, latent, torch.zeros(2, dtype=torch.int64), "ab")
    free = [torch.zeros_like(latent.tensors["ws"]).requires_grad_()]
    adam = torch.optim.Adam(free, lr=settings.schedule().rate_at(0))
    problem.loss(free).sum().backward()
    adam.step()
    return (problem.moved(free).tensors["ws"] - latent.tensors["ws"]).detach()


def test_lengths_are_means_in_deviations_or_the_original_sum(generator: Generator, clip: ClipModel) -> None:
    from editors.text_optimise import _Problem

    latent = generator.sample(1, 0)
    for settings, expected in ((FAST, 4.0), (replace(FAST, levels=("fine",)), 4.0),
                               (replace(FAST, units="raw"), 4.0 * 6 * 8)):  # fmt: skip
        editor = TextOptimiser(generator, clip, settings)
        wish = Wish.of(editor.mix, TEXTS, "hair")
        problem = _Problem(editor, wish, latent, torch.zeros(1, dtype=torch.int64), "a")
        assert problem.length([torch.full((1, 6, 8), 2.0)]).item() == pytest.approx(expected)


def test_levels_that_are_not_named_stay(generator: Generator, clip: ClipModel) -> None:
    latent = generator.sample(2, 0)
    found = TextOptimiser(generator, clip, replace(FAST, levels=("medium",))).edit(latent, TEXTS[:1], "hair")
    moved = (found.after[0].tensors["ws"] - latent.tensors["ws"]).abs().amax((0, 2))
    assert (moved > 0).tolist() == [False, False, True, True, False, False]
    styled = TextOptimiser(generator, clip, replace(FAST, space="s")).edit(latent, TEXTS[:1], "hair")
    moved = {path: not torch.equal(t, styled.before.tensors[path]) for path, t in styled.after[0].tensors.items()}
    assert {path for path, it in moved.items() if not it} == {"b4.torgb", "b8.torgb", "b16.torgb"}


class Pixels(Preservation):
    """Mean squared difference of all pixels."""

    def remember(self, seen: Seen) -> dict[str, torch.Tensor]:
        return {"image": seen.images}

    def forward(self, seen: Seen, kept, which=None) -> torch.Tensor:
        return (seen.images - kept["image"]).square().flatten(1).mean(1)


def test_what_is_to_stay_has_a_price(generator: Generator, clip: ClipModel) -> None:
    latent = generator.sample(3, 0)
    free = TextOptimiser(generator, clip, FAST).edit(latent, TEXTS[:1], "hair")
    preserved = Preserved({"pixels": Pixels()}, {"pixels": 1e3})
    held = TextOptimiser(generator, clip, replace(FAST, batch=2), preserved).edit(latent, TEXTS[:1], "hair")
    change = [(generator.render(each.after[0]) - generator.render(latent)).abs().mean() for each in (free, held)]
    assert change[1] < change[0]


def test_each_image_has_its_own_edit_and_they_have_a_mean(generator: Generator, clip: ClipModel, tmp_path) -> None:
    latent = generator.sample(2, 0)
    found = TextOptimiser(generator, clip, replace(FAST, space="s")).edit(latent, TEXTS, "hair")
    own = found.edit(text=1, image=0)
    assert (own.name, own.space) == ("a hat", "s")
    assert own.generator_hash == generator.hash
    for name, codes in own.apply(found.before[0]).tensors.items():
        torch.testing.assert_close(codes, found.after[1].tensors[name][:1], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found.at(1.0, 1).tensors[name], found.after[1].tensors[name])
    mean = found.edit(text=1)
    for name, step in mean.delta.items():
        torch.testing.assert_close(step, (own.delta[name] + found.edit(1, 1).delta[name]) / 2, rtol=1e-4, atol=1e-5)
    kept = load_edit(save_edit(tmp_path / "edit.safetensors", mean))
    assert all(torch.equal(kept.delta[name], step) for name, step in mean.delta.items())


def test_several_models_look_together(generator: Generator, clip: ClipModel) -> None:
    """Each alone is not what the two agree on."""
    latent, both = generator.sample(2, 0), ClipMix([clip, tiny_clip(1)], [3.0, 1.0])
    alone = TextOptimiser(generator, clip, FAST).edit(latent, TEXTS[:1], "hair")
    mixed = TextOptimiser(generator, both, FAST).edit(latent, TEXTS[:1], "hair")
    assert not torch.allclose(alone.after[0].tensors["ws"], mixed.after[0].tensors["ws"], atol=1e-3)
    assert (mixed.distance < mixed.distance_before).all()


def test_the_original_is_a_setting(generator: Generator, clip: ClipModel) -> None:
    found = TextOptimiser(generator, clip, replace(STYLECLIP, steps=3)).edit(generator.sample(1, 0), TEXTS[:1])
    assert found.distance.item() <= found.distance_before.item()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"space": "z"}, "space=z must be one of w"), ({"units": "inch"}, "units=inch"), ({"rate": 0.0}, "rate=0.0 must"),
     ({"levels": ()}, "must be some of coarse"), ({"l2": -1.0}, "l2=-1.0 must be at least 0")],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(wrong: dict, said: str) -> None:
    with pytest.raises(GanvasError, match=said):
        TextSettings(**wrong)


def test_bad_texts_and_codes_are_one_sentence(generator: Generator, clip: ClipModel) -> None:
    editor, latent = TextOptimiser(generator, clip, FAST), generator.sample(1, 0)
    for texts, said in (([], "there is no text"), ([""], "says nothing"), ([NONSENSE], "knows no word"),
                        (["a " * 100], "shorten it")):  # fmt: skip
        with pytest.raises(GanvasError, match=said):
            editor.edit(latent, texts, "hair")
    with pytest.raises(GanvasError, match="belong to generator"):
        editor.edit(replace(latent, generator_hash="b" * 64), TEXTS, "hair")
    with pytest.raises(GanvasError, match="cannot be brought into w"):
        editor.edit(generator.in_styles(latent), TEXTS, "hair")
    with pytest.raises(GanvasError, match="leave nothing of the text"):
        TextSettings(clip=0.0, directional=0.0)
