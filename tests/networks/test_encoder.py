"""The encoder into W+: shapes, where it starts, and independence of the batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from networks.checkpoints.bundle import read_bundle
from networks.checkpoints.encoders import encoder_from_bundle, save_encoder
from networks.encoder import WPlusEncoder
from networks.latent_statistics import w_statistics
from networks.stylegan2 import Generator

TINY = {"width": 8, "hidden": 16}


def encoder(resolution: int = 32, **arguments: Any) -> WPlusEncoder:
    torch.manual_seed(0)
    rows = 2 * (resolution.bit_length() - 1) - 2
    return WPlusEncoder(resolution, num_ws=rows, w_dim=6, **{**TINY, **arguments}).eval()


def awake(network: WPlusEncoder) -> WPlusEncoder:
    """With heads that do not start at zero."""
    for head in network.heads:
        torch.nn.init.normal_(head[-1].weight, std=0.1)
    return network


@pytest.mark.parametrize("resolution", [32, 64, 512, 1024])
def test_every_row_of_every_resolution_gets_a_code(resolution: int) -> None:
    network = awake(encoder(resolution, img_channels=1))
    with torch.no_grad():
        ws = network(torch.rand(2, 1, resolution, resolution) * 2 - 1)
    assert ws.shape == (2, 2 * (resolution.bit_length() - 1) - 2, 6)
    assert (ws[0] - ws[1]).abs().amin(dim=1).max() > 0
    assert (ws.std(dim=2) > 0).all()


def test_it_starts_at_the_mean_of_w() -> None:
    network = encoder()
    network.w_mean.normal_()
    assert torch.equal(network(torch.randn(3, 3, 32, 32)), network.w_mean.expand(3, -1, -1))


@torch.no_grad()
def test_a_code_depends_on_its_image_alone() -> None:
    network, images = awake(encoder()), torch.randn(4, 3, 32, 32)
    alone = torch.cat([network(x[None]) for x in images])
    torch.testing.assert_close(network(images), alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(network.train()(images), alone, rtol=1e-4, atol=1e-5)  # nothing differs in training


def test_a_few_million_parameters_suffice_for_a_large_generator() -> None:
    with torch.device("meta"):
        network = WPlusEncoder(1024, num_ws=18, w_dim=512)
    assert sum(p.numel() for p in network.parameters()) < 10e6


def test_a_bundle_brings_it_back(tmp_path: Path) -> None:
    network = awake(encoder())
    network.w_mean.normal_()
    path = save_encoder(tmp_path / "e.safetensors", network, "abc", {})
    again = encoder_from_bundle(read_bundle(path))
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(again(images), network(images))


@pytest.mark.parametrize(
    ("resolution", "arguments"), [(16, {}), (64, {"channels": [8, 8]}), (48, {}), (512, {"channels": [8] * 7})]
)
def test_what_does_not_fit_is_refused(resolution: int, arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="img_resolution must be at least 32, and channels"):
        encoder(resolution, **arguments)


@torch.no_grad()
def test_in_w_all_rows_have_one_code(tmp_path: Path) -> None:
    network = awake(encoder(space="w"))
    network.w_mean.normal_()
    images = torch.randn(2, 3, 32, 32)
    offsets = network(images) - network.w_mean
    torch.testing.assert_close(offsets, offsets[:, :1].expand_as(offsets))
    assert (offsets[0] - offsets[1]).abs().max() > 1e-3
    again = encoder_from_bundle(read_bundle(save_encoder(tmp_path / "e.safetensors", network, "abc", {})))
    assert torch.equal(again(images), network(images))
    with pytest.raises(ValueError, match="space must be w\\+ or w, got 's'"):
        encoder(space="s")


def test_a_bundle_without_a_space_is_of_w_plus(tmp_path: Path) -> None:
    network = awake(encoder())
    bundle = read_bundle(save_encoder(tmp_path / "e.safetensors", network, "abc", {}))
    del bundle.manifest["config"]["arguments"]["space"]
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(encoder_from_bundle(bundle)(images), network(images))


def test_an_image_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"img must be \[N, 3, 32, 32\], got \[1, 3, 64, 64\]"):
        encoder()(torch.zeros(1, 3, 64, 64))


def test_statistics_of_w() -> None:
    torch.manual_seed(0)
    G = Generator(16, z_dim=8, w_dim=8, mapping_layers=1, channel_base=64, channel_max=8)
    G.mapping.w_avg.fill_(0.1)
    found = w_statistics(G, samples=400)
    ws = G.sample(400, 0).tensors["ws"]
    torch.testing.assert_close(found.mean, torch.full((1, G.num_ws, 8), 0.1))
    torch.testing.assert_close(found.std, (ws - 0.1).square().mean().sqrt())
