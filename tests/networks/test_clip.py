"""One interface to every CLIP: how images are prepared, what is frozen, what is refused, and the losses by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from networks.checkpoints.errors import GanvasError
from networks.clip import (
    TEMPLATES,
    ClipIdentity,
    ClipMix,
    Preprocessing,
    area_resize,
    clip_distance,
    directional_distance,
    load_clip,
)
from networks.clip.contrastive import contrastive_loss
from networks.metrics.clip import retrieval, separation, zero_shot
from tests.clips import NONSENSE, HashedWords, tiny_clip


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# --- images


@pytest.mark.parametrize("size", [32, 64, 128, 256, 512])
def test_the_resize_is_what_styleclip_does(size: int) -> None:
    images = noise(1, 3, size, size)
    theirs = F.avg_pool2d(F.interpolate(images, scale_factor=7), size // 32)
    torch.testing.assert_close(area_resize(images, 224), theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [(48, 80), (100, 100), (20, 33)])
def test_any_size_keeps_the_mean(size: tuple[int, int]) -> None:
    images = noise(2, 3, *size)
    assert area_resize(images, 32).shape == (2, 3, 32, 32)
    torch.testing.assert_close(area_resize(images, 32).mean((2, 3)), images.mean((2, 3)))


def test_images_get_clips_mean_and_deviation_or_none_at_all() -> None:
    white = torch.ones(1, 3, 8, 8)
    fair = Preprocessing(8)(white)[0, :, 0, 0]
    torch.testing.assert_close(fair, (1 - torch.tensor(Preprocessing(8).mean)) / torch.tensor(Preprocessing(8).std))
    assert Preprocessing(8, legacy=True)(white).equal(white)


def test_what_is_no_image_is_named() -> None:
    with pytest.raises(ValueError, match=r"images must be floats \[N, 3, H, W\]"):
        tiny_clip().encode_images(torch.zeros(1, 1, 32, 32))


# --- the model


def test_vectors_are_unit_and_only_images_get_gradients() -> None:
    clip = tiny_clip()
    images = noise(3, 3, 64, 64).requires_grad_()
    seen, said = clip.encode_images(images), clip.encode_texts(["a cat", "a dog"])
    for vectors in (seen, said):
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(len(vectors)))
    clip_distance(seen, said[0]).sum().backward()
    assert images.grad.abs().amax((1, 2, 3)).min() > 0
    assert not said.requires_grad
    assert not any(p.requires_grad for p in clip.parameters())


def test_it_stays_frozen_inside_what_is_trained() -> None:
    clip, images = tiny_clip(), noise(4, 3, 32, 32)
    before = clip.encode_images(images)
    torch.nn.ModuleList([clip]).train()
    assert not any(module.training for module in clip.modules())
    torch.testing.assert_close(clip.encode_images(images), before)


def test_texts_are_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clip = tiny_clip()
    asked: list[str] = []
    encode = clip.text_tower.encode
    monkeypatch.setattr(clip.text_tower, "encode", lambda texts: asked.extend(texts) or encode(texts))
    first = clip.encode_texts(["a cat", "a dog", "a cat"])
    assert asked == ["a cat", "a dog"]
    assert clip.encode_texts(["a dog"])[0].equal(first[1])
    assert asked == ["a cat", "a dog"]
    assert clip.encode_texts([]).shape == (0, clip.dim)


def test_texts_encoded_in_inference_mode_serve_a_training_step() -> None:
    clip, images = tiny_clip(), noise(2, 3, 48, 48).requires_grad_()
    with torch.inference_mode():
        clip.encode_images(images)
        text = clip.encode_prompt("a cat")
    clip_distance(clip.encode_images(images), text).sum().backward()
    clip_distance(clip.encode_images(images), clip.encode_texts(["a cat"])[0]).sum().backward()


def test_a_prompt_is_the_mean_over_templates() -> None:
    clip = tiny_clip()
    mean = clip.encode_texts([t.replace("{}", "a cat") for t in TEMPLATES]).mean(0)
    torch.testing.assert_close(clip.encode_prompt("a cat"), mean / mean.norm())
    torch.testing.assert_close(clip.encode_prompt("a cat", ["{}"]), clip.encode_texts(["a cat"])[0])
    with pytest.raises(GanvasError, match=r"'a photo' needs one \{\} where the text goes"):
        clip.encode_prompt("a cat", ["a photo"])


def test_several_neutral_texts_count_by_their_mean() -> None:
    clip = tiny_clip()
    mean = (clip.encode_prompt("a cat") + clip.encode_prompt("a dog")) / 2
    torch.testing.assert_close(clip.encode_neutral("a cat | a dog"), mean)
    torch.testing.assert_close(clip.encode_neutral("a cat"), clip.encode_prompt("a cat"))
    (of_mix,) = ClipMix([clip]).encode_neutral("a cat|a dog")
    torch.testing.assert_close(of_mix, mean)
    with pytest.raises(GanvasError, match="says nothing"):
        clip.encode_neutral("a cat|")


@pytest.mark.parametrize(("text", "sentence"), [
    ("", "says nothing"), (" .,!", "says nothing"), ("a " * 40, "has 42 tokens, and tiny-32 reads 32: shorten it"),
    (f"{NONSENSE} {NONSENSE}", "knows no word of the text"),
])  # fmt: skip
def test_a_text_that_means_nothing_is_one_sentence(text: str, sentence: str) -> None:
    for encode in (lambda t: tiny_clip().encode_texts([t]), tiny_clip().encode_prompt):
        with pytest.raises(GanvasError, match=sentence):
            encode(text)


def test_a_single_unknown_word_is_warned_of_once() -> None:
    with pytest.warns(UserWarning, match=f"does not know {NONSENSE} in") as caught:
        tiny_clip().encode_prompt(f"a {NONSENSE} cat")
    assert len(caught) == 1


@pytest.mark.parametrize("text", [NONSENSE + " " + "x" * 100_000, "\U0001f600" * 3000, "word " * 3000])
def test_a_long_text_is_not_repeated_whole(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HashedWords, "unknown", lambda _, said: (said.split(), len(said.split())))
    with pytest.raises(GanvasError, match=r"\.\.\.'") as caught:
        tiny_clip().encode_prompt(text)
    assert len(str(caught.value)) < 200


def test_one_string_is_not_several() -> None:
    with pytest.raises(TypeError, match=r"give \[text\]"):
        tiny_clip().encode_texts("cat")


def test_an_identity_is_plain_data_and_tells_models_apart() -> None:
    one, other = tiny_clip(0).identity, tiny_clip(1).identity
    assert ClipIdentity.from_json(one.to_json()) == one == tiny_clip(0).identity
    assert one != other
    assert one != tiny_clip(0, resolution=64).identity
    with pytest.raises(GanvasError, match="does not say which CLIP"):
        ClipIdentity.from_json({"provider": "avatar"})


@pytest.mark.parametrize("spec", ["nope", "open_clip:ViT-B-32", "open_clip::x", "transformers:"])
def test_an_unknown_provider_is_one_sentence(spec: str) -> None:
    with pytest.raises(GanvasError, match=r"give avatar, a bundle's path, open_clip:MODEL:FILE"):
        load_clip(spec)


# --- several models


def test_a_mix_weighs_its_models() -> None:
    one, other = tiny_clip(0), tiny_clip(1, resolution=64)
    mix, images = ClipMix([one, other], [3, 1]), noise(2, 3, 32, 32)
    distances = [clip_distance(m.encode_images(images), m.encode_prompt("a cat")) for m in (one, other)]
    found = mix.distance(images, mix.encode_prompt("a cat"))
    torch.testing.assert_close(found, 0.75 * distances[0] + 0.25 * distances[1])
    assert mix.identities == (one.identity, other.identity)
    for weights in ([1.0], [1.0, 0.0], [1.0, 1.0, 1.0]):
        with pytest.raises(ValueError, match="a positive weight for each model"):
            ClipMix([one, other], weights)


# --- losses


def test_distances_by_hand() -> None:
    a, b = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    assert clip_distance(a, a[0]).item() == pytest.approx(0, abs=1e-6)
    assert clip_distance(a, -a).item() == pytest.approx(2)
    assert directional_distance(b, a, b[0], a[0]).item() == pytest.approx(0, abs=1e-6)
    assert directional_distance(a, b, b[0], a[0]).item() == pytest.approx(2)
    assert directional_distance(a, a, b[0], a[0]).item() == pytest.approx(1)   # it did not move
    with pytest.raises(ValueError, match=r"features must be \[N, D\]"):
        clip_distance(a, torch.ones(3))


def test_a_true_text_of_another_image_does_not_count_against_an_image() -> None:
    vectors, scale = F.normalize(noise(3, 4), dim=1), torch.tensor(10.0)
    contrasts = F.normalize(noise(3, 4, seed=1), dim=1)
    everything = torch.ones(3, 3, dtype=torch.bool)
    logits = scale * vectors @ torch.cat([vectors, contrasts]).T
    by_hand = (F.cross_entropy(logits, torch.arange(3)) + F.cross_entropy(logits[:, :3].T, torch.arange(3))) / 2
    torch.testing.assert_close(contrastive_loss(vectors, vectors, contrasts, everything, everything, scale), by_hand)
    nothing = ~everything
    assert contrastive_loss(vectors, vectors, contrasts, nothing, nothing, scale) == 0
    with pytest.raises(ValueError, match=r"tables \[B, B\]"):
        contrastive_loss(vectors, vectors, contrasts, everything[:2], everything, scale)


# --- figures


def test_retrieval_by_hand() -> None:
    eye = torch.eye(10)
    assert retrieval(eye, eye) == {"text_r1": 1, "text_r5": 1, "image_r1": 1, "image_r5": 1}
    swapped = eye[[1, 0, *range(2, 10)]]
    assert retrieval(eye, swapped)["text_r1"] == pytest.approx(0.8)
    constant = F.normalize(torch.ones(10, 10), dim=1)
    assert retrieval(constant, constant)["text_r5"] == 0   # all alike is nothing found


def test_zero_shot_by_hand() -> None:
    images = torch.eye(3)
    values = torch.stack([torch.eye(3)[[1, 1]], torch.eye(3)[[0, 2]]])   # [2 values, 2 templates, 3]
    assert zero_shot(images, [values, values.flip(0)]).tolist() == [[1, 0], [0, 1], [1, 0]]


def test_separation_by_hand() -> None:
    scores = torch.tensor([0.9, 0.1, 0.5, 0.5, 7.0])
    true, false = torch.tensor([1, 0, 1, 0, 0]).bool(), torch.tensor([0, 1, 0, 1, 0]).bool()
    assert separation(scores, true, false) == pytest.approx((1 + 1 + 1 + 0.5) / 4)
    assert math.isnan(separation(scores, true, torch.zeros(5, dtype=torch.bool)))
