"""What channels do to images: two ways of measuring, what is kept of a stopped one, and the edit of a text."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from editors.text_directions import RelevanceSettings, _Scene, channel_directions, measure_relevance
from editors.text_relevance import relevance_of
from networks.channel_statistics import channel_statistics, convolution_paths
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.generators import load_generator, save_generator
from networks.checkpoints.relevance import find_relevance, load_relevance, save_relevance
from networks.clip import ClipModel
from networks.metrics.ranks import rank_correlation
from networks.protocol import Generator
from networks.relevance import global_direction, text_direction
from networks.stylegan2 import Generator as StyleGan2
from tests.clips import tiny_clip

FAST = {"images": 3, "samples": 64, "batch": 4}


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Generator:
    torch.manual_seed(0)
    network = StyleGan2(16, z_dim=8, w_dim=8, mapping_layers=2, channel_base=128, channel_max=8)
    path = tmp_path_factory.mktemp("generator") / "generator.safetensors"
    return load_generator(save_generator(path, network.eval(), {}))


@pytest.fixture(scope="module")
def clip() -> ClipModel:
    return tiny_clip()


def test_statistics_are_those_of_all_samples_whatever_the_parts(
    generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("networks.channel_statistics.DRAWN", 24)
    mean, std = channel_statistics(generator, 64, seed=3)
    styles = generator.in_styles(generator.sample(64, 3)).tensors
    assert list(mean) == list(styles)
    for path, own in styles.items():
        torch.testing.assert_close(mean[path], own.mean(0), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(std[path], own.std(0, unbiased=False), rtol=1e-4, atol=1e-6)


def test_a_block_above_the_finest_is_left_out(generator: Generator) -> None:
    assert convolution_paths(generator, 8) == ("b4.conv1", "b8.conv0", "b8.conv1")
    assert convolution_paths(generator)[-1] == "b16.conv1"
    with pytest.raises(GanvasError, match="no block of this generator has 2 pixels"):
        convolution_paths(generator, 2)


@torch.no_grad()
def test_exhaustive_is_one_channel_at_a_time_from_the_same_codes(generator: Generator, clip: ClipModel) -> None:
    """The definition, one render a channel, image and sign, with base codes that never change."""
    settings = RelevanceSettings(how="exhaustive", **FAST)
    found = measure_relevance(generator, clip, settings)
    scene = _Scene(generator, clip, settings)
    base = {path: t.clone() for path, t in scene.base.tensors.items()}
    for path, channel in (("b4.conv1", 0), ("b8.conv1", 5), ("b16.conv1", 7)):
        steps = []
        for image in range(3):
            seen = []
            for sign in (1, -1):
                styles = {name: t[image : image + 1].clone() for name, t in base.items()}
                styles[path][0, channel] = scene.mean[path][channel] + sign * 5.0 * scene.std[path][channel]
                rendered = generator.synthesis.from_styles(styles).clamp(-1, 1)
                seen.append(clip.encode_images(rendered)[0])
            change = seen[0] - seen[1]
            steps.append(change / change.norm())
        mean = torch.stack(steps).mean(0)
        torch.testing.assert_close(found.direction[path][channel], mean / mean.norm(), rtol=1e-3, atol=1e-4)
        alone = channel_directions(generator, clip, settings, [(path, channel)])
        torch.testing.assert_close(alone[0], found.direction[path][channel], rtol=1e-3, atol=1e-4)


def test_a_gradient_is_the_limit_of_small_steps(generator: Generator, clip: ClipModel) -> None:
    """Of codes near the mean, where the exhaustive way puts its channel."""
    near = {"truncation": 0.1, "step": 2.0, **FAST}
    exact = measure_relevance(generator, clip, RelevanceSettings(how="exhaustive", **near))
    slope = measure_relevance(generator, clip, RelevanceSettings(how="gradient", **near))
    text = text_direction(clip, "red hair", "hair")
    ours, theirs = (torch.cat(list(r.scores(text).values())) for r in (slope, exact))
    assert rank_correlation(ours, theirs) > 0.94
    agree = [(exact.direction[path] * t).sum(1) for path, t in slope.direction.items()]
    assert torch.cat(agree).mean() > 0.97
    assert all(param.grad is None for param in generator.parameters())


def test_a_channel_that_changes_nothing_has_no_direction(generator: Generator, clip: ClipModel, tmp_path: Path) -> None:
    network = load_generator(save_generator(tmp_path / "g.safetensors", generator, {}))
    network.synthesis.b16.conv1.affine.weight.data[2] = 0   # its style is the same for all codes
    found = measure_relevance(network, clip, RelevanceSettings(**FAST))
    assert found.std["b16.conv1"][2] < 1e-6
    assert not found.direction["b16.conv1"][2].any()
    assert found.direction["b16.conv1"][3].norm().item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("how", ["gradient", "exhaustive"])
def test_a_stopped_measurement_goes_on(
    how: str, generator: Generator, clip: ClipModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = RelevanceSettings(how=how, images=3, samples=64, batch=1)
    whole = measure_relevance(generator, clip, settings)
    encode, calls = clip.encode_images, []

    def stops(images):
        calls.append(len(images))
        if len(calls) == 2 and how == "gradient":
            raise KeyboardInterrupt
        return encode(images)

    monkeypatch.setattr(clip, "encode_images", stops)
    monkeypatch.setattr("editors.text_directions.TOGETHER", 3)
    if how == "gradient":
        with pytest.raises(KeyboardInterrupt):
            measure_relevance(generator, clip, settings, tmp_path)
        assert len(list(tmp_path.glob("*.safetensors"))) == 1
    again = measure_relevance(generator, clip, settings, tmp_path)
    kept = len(list(tmp_path.glob("*.safetensors")))
    calls.clear()
    measure_relevance(generator, clip, settings, tmp_path)
    assert not calls   # all of it was there
    (tmp_path / "b4.conv1.0.safetensors" if how == "exhaustive" else tmp_path / "0-1.safetensors").write_bytes(b"cut")
    mended = measure_relevance(generator, clip, settings, tmp_path)
    assert calls
    assert len(list(tmp_path.glob("*.safetensors"))) == kept
    for found in (again, mended):
        for path, direction in whole.direction.items():
            torch.testing.assert_close(found.direction[path], direction, rtol=1e-4, atol=1e-5)
    with pytest.raises(GanvasError, match="parts of another measurement"):
        measure_relevance(generator, clip, RelevanceSettings(how=how, images=2, samples=64, batch=1), tmp_path)


def test_relevance_travels_in_a_bundle_and_belongs_to_both(
    generator: Generator, clip: ClipModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "cache"))
    measured = measure_relevance(generator, clip, RelevanceSettings(**FAST))
    path = save_relevance(tmp_path / "relevance.safetensors", measured, {"licence": "CC0"})
    found = load_relevance(path)
    assert (found.generator_hash, found.clip, found.settings) == (generator.hash, clip.identity, measured.settings)
    assert all(torch.equal(found.direction[name], t) for name, t in measured.direction.items())
    monkeypatch.setenv("GANVAS_ZOO", str(tmp_path))
    assert find_relevance(generator.hash, clip.identity) == path
    assert find_relevance(generator.hash, tiny_clip(1).identity) is None
    assert relevance_of(generator, clip).settings == measured.settings   # found, not measured
    with pytest.raises(GanvasError, match=r"was measured with avatar:tiny-32 .* and the one given is avatar:tiny-32"):
        relevance_of(generator, tiny_clip(1), path)
    other = StyleGan2(16, z_dim=8, w_dim=8, mapping_layers=2, channel_base=128, channel_max=8)
    other = load_generator(save_generator(tmp_path / "other.safetensors", other.eval(), {}))
    with pytest.raises(GanvasError, match="belongs to generator"):
        relevance_of(other, clip, path)
    # Without a bundle it is measured, once.
    fresh = relevance_of(other, clip, settings=RelevanceSettings(**FAST))
    monkeypatch.setattr("editors.text_relevance.measure_relevance", None)
    again = relevance_of(other, clip, settings=RelevanceSettings(**FAST))
    assert all(torch.equal(again.direction[name], t) for name, t in fresh.direction.items())


def test_a_text_moves_the_channels_that_are_about_it(generator: Generator, clip: ClipModel) -> None:
    relevance = measure_relevance(generator, clip, RelevanceSettings(**FAST))
    text = text_direction(clip, "red hair", "hair")
    scores = relevance.scores(text)
    top = max(float(s.abs().max()) for s in scores.values())
    by_count = global_direction(relevance, text, alpha=3.0, channels=7, name="red hair")
    assert by_count.channels == 7
    delta = by_count.edit.delta
    assert sum(int((t != 0).sum()) for t in delta.values()) == 7
    assert by_count.edit.space == "s"
    assert set(delta) == set(generator.in_styles(generator.sample(1, 0)).tensors)   # so that such edits add
    in_deviations = max(float((t.abs() / relevance.std[path]).nan_to_num().max()) for path, t in delta.items())
    assert in_deviations == pytest.approx(3.0, rel=1e-4)
    assert all((delta[path] * scores[path] >= 0).all() for path in scores)
    by_beta = global_direction(relevance, text, alpha=3.0, beta=by_count.beta)
    assert all(torch.equal(by_beta.edit.delta[path], t) for path, t in delta.items())
    with pytest.raises(GanvasError, match=rf"beta=0\.99 leaves no channel: the most relevant of .* has {top:.3f}"):
        global_direction(relevance, text, beta=0.99)
    with pytest.raises(GanvasError, match=r"give one of beta= .* and channels="):
        global_direction(relevance, text, beta=0.1, channels=3)
    with pytest.raises(GanvasError, match="channels=0 must be from 1"):
        global_direction(relevance, text, channels=0)
    with pytest.raises(GanvasError, match="are the same to this CLIP"):
        text_direction(clip, "red hair", "red hair")


def test_the_edit_is_rendered_from_styles(generator: Generator, clip: ClipModel) -> None:
    relevance = measure_relevance(generator, clip, RelevanceSettings(**FAST))
    edit = global_direction(relevance, text_direction(clip, "red hair", "hair"), channels=20).edit
    latent = generator.in_styles(generator.sample(2, 1))
    assert torch.equal(generator.render(edit.apply(latent, 0.0)), generator.render(latent))
    assert not torch.equal(generator.render(edit.apply(latent, 1.0)), generator.render(latent))
    with pytest.raises(ValueError, match="moves codes in s, and these are in w"):
        edit.apply(generator.sample(2, 1))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"how": "guess"}, "must be gradient or exhaustive"), ({"images": 0}, "images=0 must be at least 1"),
     ({"step": 0.0}, "step=0.0 must be greater than 0")],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(wrong: dict, said: str) -> None:
    with pytest.raises(GanvasError, match=said):
        RelevanceSettings(**wrong)
