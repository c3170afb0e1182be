"""Inversion finds codes, keeps the best, treats each image on its own, and goes on where it stopped."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import Tensor

from editors import invert as module
from editors.images import inside
from editors.inversion_cache import InversionCache
from editors.invert import InversionSettings, invert
from editors.noise_maps import autocorrelation
from editors.target import Target
from networks.checkpoints.encoders import save_encoder
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.generators import load_generator, save_generator
from networks.checkpoints.latents import load_latent, save_latent
from networks.latent import Latent
from networks.metrics import psnr
from networks.stylegan2 import Generator, LeanEncoder
from tests.editors.conftest import tiny_generator

FAST = InversionSettings(steps=3, samples=16, batch=4)


@pytest.fixture
def images(generator) -> Tensor:
    """Four images that the generator can make, from codes that its search for a start does not hold."""
    return generator.render(generator.sample(4, seed=99)).clamp(-1, 1)


@pytest.fixture
def optimised(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The names of the images of each optimisation that runs."""
    calls: list[list[str]] = []
    original = module._Problem.optimise

    def counted(self, target, begin, names, bar):
        calls.append(list(names))
        return original(self, target, begin, names, bar)

    monkeypatch.setattr(module._Problem, "optimise", counted)
    return calls


def test_codes_come_back_in_w_plus_with_what_they_render_to(generator, critic, images) -> None:
    found = invert(generator, images, FAST, critic)
    assert found.latent.space == "w+"
    assert found.latent.tensors["ws"].shape == (4, generator.num_ws, generator.w_dim)
    assert found.latent.generator_hash == generator.hash
    torch.testing.assert_close(found.reconstruction, generator.render(found.latent).clamp(-1, 1))
    torch.testing.assert_close(found.psnr, psnr(found.reconstruction, images))


@pytest.fixture
def encoder(generator, tmp_path, monkeypatch: pytest.MonkeyPatch) -> LeanEncoder:
    """An encoder of the generator, in a folder that ``GANVAS_ZOO`` names."""
    monkeypatch.setenv("GANVAS_ZOO", str(tmp_path))
    size = generator.img_resolution
    network = LeanEncoder(size, generator.w_dim, channels=[4] * (size.bit_length() - 3))
    save_encoder(tmp_path / "encoder.safetensors", network, generator.hash, {})
    return network


@pytest.mark.parametrize(("start", "taken"), [("auto", True), ("encoder", True), ("nearest", False), ("mean", False)])
def test_the_search_starts_from_the_encoder(start, taken, generator, critic, images, encoder) -> None:
    begun = invert(generator, images, replace(FAST, start=start, steps=0), critic).latent.tensors["ws"]
    codes = encoder(images)[:, None].expand(-1, generator.num_ws, -1)
    assert torch.allclose(begun, codes, atol=1e-5) is taken


def test_another_encoder_gives_another_result(generator, critic, images, optimised, tmp_path, encoder) -> None:
    cache = InversionCache(tmp_path / "cache")
    for _ in range(2):
        invert(generator, images[:1], FAST, critic, cache=cache)
    assert len(optimised) == 1
    with torch.no_grad():
        encoder.out.bias += 1
    save_encoder(tmp_path / "encoder.safetensors", encoder, generator.hash, {})
    invert(generator, images[:1], FAST, critic, cache=cache)
    assert len(optimised) == 2


def test_a_missing_encoder_is_named_where_it_is_insisted_on(generator, critic, images) -> None:
    with pytest.raises(GanvasError, match=r"no encoder of this generator .* start=nearest"):
        invert(generator, images, replace(FAST, start="encoder"), critic)


def test_more_steps_come_closer_in_pixels_and_perception(generator, critic, images) -> None:
    few, many = (invert(generator, images[:2], replace(FAST, steps=n, start="mean"), critic) for n in (1, 50))
    assert (many.psnr > few.psnr + 3).all()
    assert (many.distance < few.distance).all()


def test_the_search_finds_the_sample_that_the_image_is(generator, critic) -> None:
    samples = generator.sample(FAST.samples, FAST.seed)
    images = generator.render(samples[[3, 12]])
    found = invert(generator, images, replace(FAST, steps=1, delta=0.0), critic)
    torch.testing.assert_close(found.latent.tensors["ws"], samples.tensors["ws"][[3, 12]], rtol=1e-4, atol=1e-4)


def test_the_best_code_on_the_way_is_kept(generator, critic, images) -> None:
    begin = generator.sample(4, seed=5)
    wild = replace(FAST, rate=30.0, ramp_up=0.0, steps=5, delta=0.0)
    found = invert(generator, images, wild, critic, start=begin)
    problem = module._Problem(generator, replace(wild, space="w+"), critic)

    def loss(latent: Latent) -> Tensor:
        free = problem.space.free(latent)
        return problem.loss(free, latent, Target.of(images, None, generator), problem.likeness.see(images))

    assert (loss(found.latent) <= loss(begin) + 1e-5).all()


def test_an_image_does_not_see_its_batch(generator, critic, images) -> None:
    settings = replace(FAST, steps=4)
    together = invert(generator, images, replace(settings, batch=4), critic)
    alone = invert(generator, images, replace(settings, batch=1), critic)
    torch.testing.assert_close(together.latent.tensors["ws"], alone.latent.tensors["ws"], rtol=1e-3, atol=1e-3)


def test_w_keeps_one_code_for_all_layers(generator, critic, images) -> None:
    ws = invert(generator, images[:2], replace(FAST, space="w"), critic).latent.tensors["ws"]
    assert torch.equal(ws, ws[:, :1].expand_as(ws))


@pytest.mark.parametrize("steps", [0, 3])
def test_w_from_an_encoder_is_the_mean_of_its_rows(steps, generator, critic, images) -> None:
    begin = generator.sample(2, 5)
    begin = begin.replace(ws=begin.tensors["ws"] + torch.randn_like(begin.tensors["ws"]))
    settings = replace(FAST, space="w", steps=steps, rate=1e-6)
    ws = invert(generator, images[:2], settings, critic, start=begin).latent.tensors["ws"]
    torch.testing.assert_close(ws, begin.tensors["ws"].mean(1, keepdim=True).expand_as(ws), rtol=1e-4, atol=1e-4)


@pytest.fixture
def noisy(tmp_path: Path) -> Generator:
    """A generator whose noise shows."""
    generator = tiny_generator()
    for name, value in generator.named_parameters():
        if name.endswith("noise_strength") and "b4" not in name:
            value.data.fill_(0.2)
    return load_generator(save_generator(tmp_path / "noisy.safetensors", generator, {}))


WITH_NOISE = replace(FAST, steps=40, noise=True)


def other_noise(noisy: Generator) -> Tensor:
    """Images of codes that are rendered with noise that the generator does not store."""
    latent = replace(noisy.sample(2, seed=99), noise_seed=7)
    return noisy.render(latent).clamp(-1, 1)


def test_noise_maps_come_closer_and_belong_to_the_latent(noisy, critic, tmp_path) -> None:
    images = other_noise(noisy)
    begin = noisy.sample(2, seed=99)
    without = invert(noisy, images, replace(WITH_NOISE, noise=False), critic, start=begin)
    found = invert(noisy, images, WITH_NOISE, critic, start=begin)
    assert (found.psnr > without.psnr + 3).all()
    assert without.latent.noise == {}
    assert found.latent.noise.keys() == {"b8.conv0", "b8.conv1", "b16.conv0", "b16.conv1"}
    torch.testing.assert_close(found.reconstruction, noisy.render(found.latent).clamp(-1, 1))
    path = save_latent(tmp_path / "latents.safetensors", found.latent)
    torch.testing.assert_close(noisy.render(load_latent(path)[0]).clamp(-1, 1), found.reconstruction)
    for maps in found.latent.noise.values():
        torch.testing.assert_close(maps.mean((1, 2)), torch.zeros(2), atol=1e-5, rtol=0)
        torch.testing.assert_close(maps.square().mean((1, 2)), torch.ones(2), atol=1e-4, rtol=0)


def test_the_weight_keeps_noise_from_showing_the_image(noisy, critic) -> None:
    images = torch.linspace(-1, 1, 16).expand(1, 3, 16, 16)  # a ramp, which no noise is
    loose, held = (
        invert(noisy, images, replace(WITH_NOISE, noise_weight=w, start="mean"), critic).latent for w in (0.0, 1.0)
    )
    assert autocorrelation(held.noise) < 0.1 * autocorrelation(loose.noise)


def test_an_inversion_with_noise_is_cached_whole_and_each_image_on_its_own(noisy, critic, optimised, tmp_path) -> None:
    images, cache = other_noise(noisy), InversionCache(tmp_path / "cache")
    settings = replace(WITH_NOISE, steps=4)
    first = invert(noisy, images, settings, critic, cache=cache).latent
    again = invert(noisy, images, replace(settings, batch=1), critic, cache=cache).latent
    assert len(optimised) == 1
    alone = invert(noisy, images[1:], settings, critic).latent
    for name, tensor in first.tensors.items():
        assert torch.equal(again.tensors[name], tensor)
        torch.testing.assert_close(alone.tensors[name][0], tensor[1], rtol=1e-3, atol=1e-3)
    assert invert(noisy, images, replace(settings, noise=False), critic, cache=cache).latent.noise == {}


def test_noise_of_a_generator_that_has_none_is_refused(generator, critic, images) -> None:
    with pytest.raises(GanvasError, match=r"noise=true, but this generator has no noise .* use noise=false"):
        invert(generator, images, replace(FAST, noise=True), critic)


def test_the_weight_of_noise_changes_nothing_without_noise() -> None:
    assert FAST.of_result() == replace(FAST, noise_weight=3.0).of_result()
    noise = replace(FAST, noise=True)
    assert noise.of_result() != replace(noise, noise_weight=3.0).of_result()


@pytest.mark.parametrize("size", [4, 8, 32])
def test_autocorrelation_is_that_of_the_paper(size: int) -> None:
    noise = torch.randn(2, size, size, generator=torch.Generator().manual_seed(0))
    expected = torch.zeros(2)
    for n in range(2):
        level = noise[n].double().numpy()
        while True:
            r = len(level)
            for dx, dy in ((1, 0), (0, 1)):
                pairs = [level[y][x] * level[(y - dy) % r][(x - dx) % r] for y in range(r) for x in range(r)]
                expected[n] += (sum(pairs) / r**2) ** 2
            if r <= 8:
                break
            level = level.reshape(r // 2, 2, r // 2, 2).mean((1, 3)) * 2
    torch.testing.assert_close(autocorrelation({"a": noise}), expected, rtol=1e-4, atol=1e-8)


def test_a_heavy_delta_stays_at_the_mean(generator, critic, images) -> None:
    far, near = (invert(generator, images, replace(FAST, start="mean", delta=d), critic) for d in (0.0, 1e3))
    mean = generator.w_avg
    spread = [(x.latent.tensors["ws"] - mean).square().mean() for x in (far, near)]
    assert spread[1] < 0.1 * spread[0]


def test_bytes_and_floats_are_the_same_image(generator, critic, images) -> None:
    as_bytes = ((images[:2] + 1) * 127.5).round().to(torch.uint8)
    a = invert(generator, as_bytes, replace(FAST, steps=2), critic)
    b = invert(generator, as_bytes.float() / 127.5 - 1, replace(FAST, steps=2), critic)
    assert torch.equal(a.latent.tensors["ws"], b.latent.tensors["ws"])


def test_a_second_run_computes_nothing_and_new_images_only_themselves(
    generator, critic, images, optimised, tmp_path
) -> None:
    cache = InversionCache(tmp_path)
    first = invert(generator, images[:2], FAST, critic, cache=cache)
    again = invert(generator, images[:2], replace(FAST, batch=1), critic, cache=cache)
    assert len(optimised) == 1
    assert torch.equal(first.latent.tensors["ws"], again.latent.tensors["ws"])
    invert(generator, images[[3, 1, 2, 0]], FAST, critic, cache=cache, names=["d", "b", "c", "a"])
    assert optimised[1:] == [["d", "c"]]


def test_a_stopped_run_goes_on_to_the_same_result(generator, critic, images, monkeypatch, tmp_path) -> None:
    settings = replace(FAST, batch=2)
    whole = invert(generator, images, settings, critic)
    original, calls = module._Problem.optimise, []

    def stop_at_second(self, *args):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(self, *args)

    monkeypatch.setattr(module._Problem, "optimise", stop_at_second)
    with pytest.raises(KeyboardInterrupt):
        invert(generator, images, settings, critic, cache=InversionCache(tmp_path))
    resumed = invert(generator, images, settings, critic, cache=InversionCache(tmp_path))
    assert len(calls) == 1 + 1 + 1
    assert torch.equal(resumed.latent.tensors["ws"], whole.latent.tensors["ws"])


def test_a_damaged_cache_file_is_made_again(generator, critic, images, optimised, tmp_path) -> None:
    cache = InversionCache(tmp_path)
    first = invert(generator, images[:1], FAST, critic, cache=cache)
    (file,) = tmp_path.rglob("*.safetensors")
    file.write_bytes(file.read_bytes()[:50])
    again = invert(generator, images[:1], FAST, critic, cache=cache)
    assert len(optimised) == 2
    assert torch.equal(first.latent.tensors["ws"], again.latent.tensors["ws"])


@pytest.mark.parametrize("change", [{"steps": 4}, {"critic": "lpips-vgg"}, {"seed": 1}, {"pixel": 2.0}, {"space": "w"}])
def test_settings_that_change_the_result_change_the_key(change: dict) -> None:
    image = torch.zeros(3, 4, 4)
    key = InversionCache.key("g", image, FAST.of_result())
    assert key != InversionCache.key("g", image, replace(FAST, **change).of_result())
    assert key == InversionCache.key("g", image, replace(FAST, batch=1).of_result())
    assert key != InversionCache.key("h", image, FAST.of_result())
    assert key != InversionCache.key("g", image + 1, FAST.of_result())
    assert key != InversionCache.key("g", image, FAST.of_result(), start={"ws": torch.zeros(1)})


def test_the_cache_lies_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path))
    assert InversionCache().folder == tmp_path / "inversions"


def test_codes_of_another_generator_are_no_start(generator, critic, images) -> None:
    foreign = replace(generator.sample(4, 0), generator_hash="f" * 64)
    with pytest.raises(GanvasError, match="these latents belong to generator ffffffffffff, not to"):
        invert(generator, images, FAST, critic, start=foreign)


def test_divergence_names_the_step_and_the_image(generator, critic, images) -> None:
    broken = replace(FAST, rate=1e30, ramp_up=0.0)
    with pytest.raises(GanvasError, match=r"inversion of a\.png diverged at step [1-9]\d*.*lower the rate"):
        invert(generator, images[:2], broken, critic, names=["a.png", "b.png"])


def test_images_of_other_channels_are_refused(generator, critic) -> None:
    with pytest.raises(GanvasError, match="of 3 channels and got 4"):
        invert(generator, torch.zeros(1, 4, 16, 16), FAST, critic)


def test_nan_images_are_refused(generator, critic) -> None:
    with pytest.raises(GanvasError, match="NaN or infinite"):
        invert(generator, torch.full((1, 3, 16, 16), math.nan), FAST, critic)


def test_another_resolution_is_resized(generator, critic, images) -> None:
    large = images[:1].repeat_interleave(2, 2).repeat_interleave(2, 3)
    found = invert(generator, large, replace(FAST, steps=1), critic)
    torch.testing.assert_close(found.target, images[:1], rtol=0, atol=1 / 127)   # 8 bits


@pytest.mark.parametrize("start", ["nearest", "mean"])
def test_what_lies_in_the_margin_changes_no_pixel(generator, critic, images, start: str) -> None:
    windows = torch.tensor([[4, 0, 8, 16], [0, 3, 16, 10]])
    settings = replace(FAST, start=start, perceptual=0.0)   # the critic looks across the edge; both sides show it alike
    black, white = (
        invert(generator, framed(images[:2], windows, value), settings, critic, windows=windows) for value in (-1, 1)
    )
    torch.testing.assert_close(black.reconstruction, white.reconstruction, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(black.psnr, white.psnr, rtol=1e-3, atol=1e-3)


def test_figures_are_those_of_the_picture(generator, critic, images) -> None:
    windows = torch.tensor([[4, 0, 8, 16]])
    found = invert(generator, framed(images[:1], windows, 1.0), replace(FAST, perceptual=0.0), critic, windows=windows)
    rows = slice(4, 12)
    expected = psnr(found.reconstruction[:, :, rows], images[:1, :, rows])
    torch.testing.assert_close(found.psnr, expected)
    whole = invert(generator, framed(images[:1], windows, 1.0), replace(FAST, perceptual=0.0), critic)
    assert found.psnr > whole.psnr


def test_pictures_that_are_not_square_know_their_margin(generator, critic, images, tmp_path, optimised) -> None:
    windows, cache = torch.tensor([[4, 0, 8, 16]]), InversionCache(tmp_path / "cache")
    wide = invert(generator, images[:1, :, 4:12], FAST, critic, cache=cache)
    assert (wide.target[:, :, :4] == -1).all()
    again = invert(generator, wide.target, FAST, critic, cache=cache, windows=windows)
    assert torch.equal(again.latent.tensors["ws"], wide.latent.tensors["ws"])
    assert len(optimised) == 1
    invert(generator, wide.target, FAST, critic, cache=cache)   # the black rows are part of this picture
    assert len(optimised) == 2


def test_windows_go_with_squares(generator, critic) -> None:
    with pytest.raises(ValueError, match=r"windows \[N, 4\] go with images of the generator's size"):
        invert(generator, torch.zeros(1, 3, 8, 16), FAST, critic, windows=torch.tensor([[4, 0, 8, 16]]))


def framed(images: Tensor, windows: Tensor, value: float) -> Tensor:
    """The images with ``value`` in their margins."""
    return torch.where(inside(windows, images.shape[-1]), images, torch.tensor(float(value)))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"space": "s"}, r"space must be one of auto, w\+, w, layout, z"), ({"start": "far"}, "start must be"),
        ({"steps": -1}, "steps"), ({"size_rate": 0}, "size_rate must be greater than 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(change: dict, sentence: str) -> None:
    with pytest.raises(GanvasError, match=sentence):
        replace(FAST, **change)


@given(steps=st.integers(1, 400), up=st.floats(0, 1), down=st.floats(0, 1))
@hypothesis_settings(deadline=None, max_examples=50)
def test_the_rate_rises_and_falls_and_is_never_zero(steps: int, up: float, down: float) -> None:
    settings = InversionSettings(steps=steps, ramp_up=up, ramp_down=down)
    schedule = settings.schedule()
    ramp = [schedule.rate_at(step) for step in range(steps)]
    assert all(0 < r <= settings.rate for r in ramp)
    highest = ramp.index(max(ramp))
    assert ramp[: highest + 1] == sorted(ramp[: highest + 1])
    assert ramp[highest:] == sorted(ramp[highest:], reverse=True)
