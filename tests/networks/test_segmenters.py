"""Networks of a library are labellers like our own: logits of each pixel, a bundle, one sentence for what is wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from networks.checkpoints.errors import GanvasError
from networks.segmenter_library import LibrarySegmenter
from networks.segmenters import label_images, load_segmenter, save_segmenter
from networks.unet import UNet


def tiny(**changes: object) -> LibrarySegmenter:
    torch.manual_seed(0)
    return LibrarySegmenter(**{"num_classes": 5, "encoder": "mobilenet_v2", **changes})


def test_one_logit_a_class_and_pixel() -> None:
    assert tiny().eval()(torch.zeros(2, 3, 32, 64)).shape == (2, 5, 32, 64)


@pytest.mark.parametrize("network", [tiny, lambda: UNet(5, (8, 8))], ids=["library", "unet"])
def test_a_bundle_gives_either_network_back(tmp_path: Path, network) -> None:
    made = network().eval()
    loaded, manifest = load_segmenter(save_segmenter(tmp_path / "s.safetensors", made, {"metrics": {"miou": 0.5}}))
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert type(loaded) is type(made)
    assert torch.equal(loaded(images), made(images))
    assert label_images(loaded, images, batch=2).shape == (3, 32, 32)
    assert manifest["config"] == made.config
    assert not loaded.training


def test_a_bundle_from_before_there_were_two_networks_is_a_u_net() -> None:
    network, manifest = load_segmenter("zoo/segmenter_avatars64.safetensors")
    assert "network" not in manifest
    assert isinstance(network, UNet)


def test_what_the_library_does_not_know_is_one_sentence() -> None:
    for changes in ({"encoder": "resnet7"}, {"architecture": "vnet"}):
        with pytest.raises(GanvasError, match="there is no network architecture=") as refused:
            tiny(**changes)
        assert "\n" not in str(refused.value)


def test_a_missing_library_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    with pytest.raises(GanvasError, match=r"pip install 'ganvas\[distill\]'`, or choose task/network=unet"):
        tiny()


def test_wrong_sizes_are_named() -> None:
    with pytest.raises(ValueError, match=r"multiples of 32, got \[1, 3, 48, 32\]"):
        tiny()(torch.zeros(1, 3, 48, 32))
