"""Latents come back from their file with names, label and owner."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from networks.checkpoints.bundle import save_bundle
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.latents import load_latent, save_latent
from networks.latent import Latent


def test_round_trip(tmp_path: Path) -> None:
    latent = Latent("z", {"z": torch.randn(3, 4)}, torch.eye(3), generator_hash="abc", noise_seed=7)
    back, names = load_latent(save_latent(tmp_path / "a.safetensors", latent, ["x", "y", "ü"]))
    assert names == ("x", "y", "ü")
    assert (back.space, back.generator_hash, back.noise_seed) == ("z", "abc", 7)
    assert torch.equal(back.tensors["z"], latent.tensors["z"])
    assert torch.equal(back.label, latent.label)


def test_noise_maps_travel_with_the_codes(tmp_path: Path) -> None:
    latent = Latent("w+", {"ws": torch.randn(2, 3, 4)}).with_noise({"b8.conv0": torch.randn(2, 8, 8)})
    back, _ = load_latent(save_latent(tmp_path / "a.safetensors", latent))
    assert back.noise.keys() == {"b8.conv0"}
    assert torch.equal(back.noise["b8.conv0"], latent.noise["b8.conv0"])


def test_names_may_be_left_out_but_not_counted_wrong(tmp_path: Path) -> None:
    latent = Latent("w+", {"ws": torch.zeros(2, 3, 4)})
    assert load_latent(save_latent(tmp_path / "a.safetensors", latent))[1] == ()
    with pytest.raises(ValueError, match="2 latents need as many names, got 1"):
        save_latent(tmp_path / "a.safetensors", latent, ["x"])


def test_another_kind_or_contradictory_content_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GanvasError, match="kind 'segmentation', not of latents"):
        load_latent(save_bundle(tmp_path / "a.safetensors", {}, {"kind": "segmentation"}))
    one = {"kind": "latents", "space": "z", "names": ["x", "y"]}
    with pytest.raises(GanvasError, match="holds 1 latents and 2 names"):
        load_latent(save_bundle(tmp_path / "c.safetensors", {"z": torch.zeros(1, 4)}, one))
    uneven = {"s0": torch.zeros(2, 1), "s1": torch.zeros(3, 1)}
    with pytest.raises(GanvasError, match="do not fit their manifest"):
        load_latent(save_bundle(tmp_path / "b.safetensors", uneven, {"kind": "latents", "space": "s"}))
