"""The encoders of avatars that ship: they know held-out avatars by words, and one can judge the other's use."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from datamodules.labelled_attributes import AttributeImages, rendered_attributes
from networks.checkpoints.bundle import read_manifest
from networks.clip import ClipModel, load_clip

ZOO = Path(__file__).parents[2] / "zoo"
NAMES = ("clip_avatars64", "clip_judge_avatars64")


@pytest.fixture(scope="module")
def avatars(tmp_path_factory: pytest.TempPathFactory) -> AttributeImages:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANVAS_CACHE", str(tmp_path_factory.mktemp("cache")))
        return rendered_attributes(100, "heldout", 7, 64, "avataaars")


@pytest.fixture(scope="module")
def clips() -> dict[str, ClipModel]:
    return {name: load_clip(f"zoo/{name}.safetensors") for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("attribute", "texts"), [
    ("smile", ("a person who is not smiling", "a smiling person")),
    ("glasses", ("a person without glasses", "a person wearing glasses", "a person wearing sunglasses")),
    ("facial hair", ("a clean-shaven person", "a person with a short beard", "a person with a long beard",
                     "a person with a moustache")),
    ("hat", ("a person without a hat", "a person in a brimmed hat", "a person wearing a beanie",
             "a person wearing a turban", "a person wearing a hijab")),
])  # fmt: skip
def test_words_tell_avatars_apart(
    name: str, attribute: str, texts: tuple[str, ...], clips: dict[str, ClipModel], avatars: AttributeImages
) -> None:
    column = next(i for i, a in enumerate(avatars.attributes) if a.name == attribute)
    truth = torch.as_tensor(avatars.labels[:, column]).long()
    images = torch.as_tensor(avatars.images).float() / 127.5 - 1
    said = torch.stack([clips[name].encode_prompt(text) for text in texts])
    right = ((clips[name].encode_images(images) @ said.T).argmax(1) == truth).float().mean()
    assert right > truth.bincount().max() / len(truth) + 0.05   # more than always saying the commonest


def test_the_judge_is_another(clips: dict[str, ClipModel]) -> None:
    ours, judge = (clips[name] for name in NAMES)
    assert load_clip("avatar").identity == ours.identity != judge.identity
    assert type(ours.image_tower.trunk) is not type(judge.image_tower.trunk)
    manifests = [read_manifest(ZOO / f"{name}.safetensors") for name in NAMES]
    assert manifests[0]["trained_on"]["seed"] != manifests[1]["trained_on"]["seed"]


@pytest.mark.parametrize("name", NAMES)
def test_every_attribute_beats_its_majority(name: str) -> None:
    metrics = read_manifest(ZOO / f"{name}.safetensors")["metrics"]
    assert metrics["text_r1"] > 0.41   # frozen ImageNet features under the same text tower
    for attribute, score in metrics["by_attribute"].items():
        assert score["accuracy"] > score["majority"], attribute
