"""The labeller keeps shapes and detail, and comes back from its bundle as it went in."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from networks.checkpoints.bundle import save_bundle
from networks.checkpoints.errors import GanvasError
from networks.segmenters import label_images, load_segmenter, save_segmenter
from networks.unet import UNet


def small(**changes: object) -> UNet:
    torch.manual_seed(0)
    return UNet(**{"num_classes": 5, "widths": (8, 16, 16), **changes})


@settings(deadline=None, max_examples=10)
@given(
    height=st.integers(1, 4), width=st.integers(1, 4), classes=st.integers(2, 12), patch=st.sampled_from([1, 2, 4]),
    widths=st.lists(st.sampled_from([8, 16]), min_size=1, max_size=3),
)  # fmt: skip
def test_one_logit_a_class_and_pixel(height: int, width: int, classes: int, patch: int, widths: list[int]) -> None:
    network = small(num_classes=classes, patch=patch, widths=widths)
    size = (height * network.multiple, width * network.multiple)
    assert network(torch.zeros(2, 3, *size)).shape == (2, classes, *size)


def test_every_weight_is_used_after_a_step() -> None:
    network = small()
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-2)
    for _ in range(2):  # the residual branches start at zero: what lies before their last layer moves from step two
        optimizer.zero_grad()
        network(torch.randn(2, 3, 32, 32)).square().mean().backward()
        optimizer.step()
    idle = [name for name, p in network.named_parameters() if p.grad is None or p.grad.abs().max() == 0]
    # A bias ahead of a normalisation over its own channel alone would be idle; none is here.
    assert idle == []


def test_detail_of_one_pixel_can_be_told_apart() -> None:
    """Two images that differ in one pixel of a block get different logits inside that block."""
    network = small()
    a = torch.zeros(1, 3, 16, 16)
    b = a.clone()
    b[..., 5, 5] = 1
    difference = (network(a) - network(b)).abs().sum(1)[0]
    assert difference[5, 5] > 0


def test_labels_do_not_depend_on_the_batch() -> None:
    network, images = small().eval(), torch.randn(5, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    masks = label_images(network, images, batch=2)
    assert masks.dtype == torch.uint8
    assert torch.equal(masks, network(images).argmax(1).to(torch.uint8))


def test_a_bundle_gives_the_network_back(tmp_path: Path) -> None:
    network = small(patch=1)
    classes = {"names": list("abcde"), "palette": [[i, 0, 0] for i in range(5)]}
    path = save_segmenter(tmp_path / "s.safetensors", network, {"classes": classes, "metrics": {"miou": 0.5}})
    loaded, manifest = load_segmenter(path)
    images = torch.randn(1, 3, 16, 16)
    assert torch.equal(loaded(images), network(images))
    assert manifest["classes"] == classes
    assert not loaded.training
    assert not any(p.requires_grad for p in loaded.parameters())


def test_unfit_bundles_are_refused(tmp_path: Path) -> None:
    other = save_bundle(tmp_path / "a.safetensors", {"x": torch.zeros(1)}, {"kind": "stylegan2"})
    with pytest.raises(GanvasError, match="kind 'stylegan2': give one of kind 'segmenter'"):
        load_segmenter(other)
    tensors, config = small().state_dict(), small().config
    broken = save_bundle(tmp_path / "b.safetensors", tensors, {"kind": "segmenter", "config": {**config, "patch": 1}})
    with pytest.raises(GanvasError, match="do not fit their manifest"):
        load_segmenter(broken)


def test_wrong_sizes_are_named() -> None:
    with pytest.raises(ValueError, match=r"multiples of 8, got \[1, 3, 20, 16\]"):
        small()(torch.zeros(1, 3, 20, 16))
    with pytest.raises(ValueError, match=r"\[N, 3, H, W\].*got \[3, 16, 16\]"):
        small()(torch.zeros(3, 16, 16))
    with pytest.raises(ValueError, match=r"widths must be multiples of 8, got \[12\]"):
        small(widths=[12])
