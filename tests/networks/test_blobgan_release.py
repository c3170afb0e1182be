"""Held against BlobGAN's own code: names, shapes and a few numbers (blobgan.json says how made)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor

from networks.blobgan import BlobGenerator
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.generators import load_foreign, load_generator, save_generator
from networks.checkpoints.pickles import UnsafePickleError

RELEASE = json.loads(Path(__file__).with_name("blobgan.json").read_text())
KERNEL = torch.tensor([1.0, 3.0, 3.0, 1.0]).outer(torch.tensor([1.0, 3.0, 3.0, 1.0])) / 64
Z = torch.sin(torch.arange(16.0)).reshape(2, 8)


def state(network: str, times: float = 1.0) -> dict[str, Tensor]:
    """The weights that the numbers were made with, under the release's names."""
    found = {}
    for i, (name, shape) in enumerate(sorted(RELEASE[network].items())):
        if name.endswith(".kernel"):
            found[name] = KERNEL * (1 if network == "discriminator" else 4)
        else:
            wave = torch.sin(torch.arange(torch.Size(shape).numel(), dtype=torch.float64) * 0.7 + i)
            found[name] = (wave * times).float().reshape(shape)
    return found


@pytest.fixture
def checkpoint() -> dict[str, Any]:
    """A checkpoint as Lightning 1.5 writes it, with OmegaConf's containers among the settings."""
    parts = {"layout_net": state("layout_net", 40.0), "generator": state("generator")}
    parts |= {f"{name}_ema": values for name, values in parts.items()} | {"discriminator": state("discriminator")}
    settings = {"generator": OmegaConf.create({"size": 32, "size_in": 16}), "ab_norm": 0.02, "noise_dim": 8}
    return {
        "epoch": 3, "global_step": 10, "pytorch-lightning_version": "1.5.10", "optimizer_states": [{"state": {}}],
        "state_dict": {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()},
        "hyper_parameters": settings,
    }  # fmt: skip


@pytest.fixture
def generator(checkpoint: dict[str, Any], tmp_path: Path) -> BlobGenerator:
    return load_generator(written(checkpoint, tmp_path))


def written(checkpoint: Mapping[str, Any], folder: Path) -> Path:
    path = folder / "last.ckpt"
    torch.save(checkpoint, path)
    return path


def close(ours: Tensor, theirs: list[float], within: float) -> None:
    torch.testing.assert_close(ours.flatten(), torch.tensor(theirs), rtol=0, atol=within)


@torch.no_grad()
def test_layouts_are_the_releases(generator: BlobGenerator) -> None:
    layout, theirs = generator.layout_network(Z), RELEASE["layout"]
    close(layout.centre[..., 0], theirs["xs"], 1e-5)
    close(layout.centre[..., 1], theirs["ys"], 1e-5)
    close(layout.size, theirs["sizes"], 1e-5)
    close(layout.covariance() + 1e-5 * torch.eye(2), theirs["covs"], 1e-6)
    close(layout.structure[:, :, :3], theirs["features"], 1e-5)
    close(layout.style[:, :, :3], theirs["spatial_style"], 1e-5)


@torch.no_grad()
def test_the_pyramid_is_the_releases(generator: BlobGenerator) -> None:
    weights = generator.synthesis.weights(generator.layout_network(Z))
    assert list(weights) == [32, 16]
    for resolution, theirs in RELEASE["weights"].items():
        close(weights[int(resolution)].flatten()[::173][:12], theirs, 1e-5)


@torch.no_grad()
def test_images_are_the_releases(generator: BlobGenerator) -> None:
    maps = {path: torch.cos(0.3 * torch.arange(float(size**2)) + i).reshape(1, size, size).expand(2, -1, -1)
            for i, (path, (_, size)) in enumerate(generator.feature_shapes.items())}  # fmt: skip
    images = generator.synthesis(generator.layout_network(Z), (maps, "none"))
    close(images.flatten()[::509][:12], RELEASE["image"], 1e-4)
    assert images.std().item() == pytest.approx(RELEASE["image_std"], rel=1e-4)


@torch.no_grad()
def test_logits_are_the_releases(checkpoint: dict[str, Any], tmp_path: Path) -> None:
    D = load_foreign(written(checkpoint, tmp_path), "D")
    logits = D(torch.cos(0.01 * torch.arange(2 * 3 * 256.0)).reshape(2, 3, 16, 16))
    close(logits, RELEASE["logits"], 1e-4)


def test_the_mean_of_the_hidden_code_is_made(generator: BlobGenerator) -> None:
    z = torch.randn(2000, 8, generator=torch.Generator().manual_seed(5))
    spread = generator.layout_network.hidden(z)
    error = (spread.mean(dim=0) - generator.layout_network.hidden_avg).abs()
    assert (error < 0.15 * spread.std(dim=0) + 1e-6).all()


def test_an_imported_generator_survives_a_bundle(generator: BlobGenerator, tmp_path: Path) -> None:
    again = load_generator(save_generator(tmp_path / "g.safetensors", generator, {}))
    assert again.hash == generator.hash
    assert torch.equal(again.render(again.sample(2, 0)), generator.render(generator.sample(2, 0)))


def test_the_settings_say_what_no_shape_tells(checkpoint: dict[str, Any], tmp_path: Path) -> None:
    settings = checkpoint["hyper_parameters"]
    settings["ab_norm"] = 0.01
    first = load_generator(written(checkpoint, tmp_path))
    assert first.config["area"] == 0.01
    assert "aspect and angle were not trained" in first.source
    del checkpoint["hyper_parameters"]
    plain = load_generator(written(checkpoint, tmp_path))
    assert (plain.config["area"], plain.config["smallest"]) == (0.02, 16)


class Command:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch hostile",)


def test_what_does_not_fit_is_said_in_a_sentence(checkpoint: dict[str, Any], tmp_path: Path) -> None:
    weights = checkpoint["state_dict"]
    weights["layout_net_ema.mlp.3.bias"] = weights.pop("layout_net_ema.mlp.3.bias")[:-1]
    weights["layout_net_ema.mlp.3.weight"] = weights["layout_net_ema.mlp.3.weight"][:-1]
    with pytest.raises(GanvasError, match=r"not as BlobGAN's code writes it .* no whole number of blobs"):
        load_generator(written(checkpoint, tmp_path))
    for name in [name for name in weights if name.startswith("layout_net_ema")]:
        del weights[name]
    with pytest.raises(GanvasError, match=r"holds no network G_ema"):
        load_generator(written(checkpoint, tmp_path))
    load_foreign(written(checkpoint, tmp_path), "G")
    weights["generator.odd"] = torch.ones(1)
    with pytest.raises(GanvasError, match=r"it has odd, which is unknown"):
        load_foreign(written(checkpoint, tmp_path), "G")
    weights["generator.style.1.weight"] = torch.ones(1)
    with pytest.raises(GanvasError, match=r"its styles are not spatial"):
        load_foreign(written(checkpoint, tmp_path), "G")
    checkpoint["hyper_parameters"]["x"] = Command()
    with pytest.raises(UnsafePickleError, match=r"nothing was run"):
        load_foreign(written(checkpoint, tmp_path), "G")
    assert not Path("hostile").exists()
