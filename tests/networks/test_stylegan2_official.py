"""Held against the official PyTorch release: names, shapes, a few numbers (stylegan2_official.json says how made)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from networks.stylegan2 import Discriminator, Generator

OFFICIAL = json.loads(Path(__file__).with_name("stylegan2_official.json").read_text())
ARCHITECTURES = ("skip", "resnet", "orig")
SMALL = {"img_resolution": 16, "channel_base": 256, "channel_max": 32, "mapping_layers": 2}


def fill(module: nn.Module) -> nn.Module:
    """The weights that the numbers were made with."""
    for i, (name, value) in enumerate(sorted(module.state_dict().items())):
        if not name.endswith("resample_filter"):
            pattern = torch.sin(torch.arange(value.numel(), dtype=torch.float64) * 0.7 + i)
            value.copy_(pattern.reshape(value.shape))
    return module.eval()


def generator(architecture: str) -> Generator:
    c_dim = OFFICIAL[architecture]["c_dim"]
    return Generator(**SMALL, z_dim=8, w_dim=8, c_dim=c_dim, architecture=architecture)


def discriminator(architecture: str) -> Discriminator:
    return Discriminator(**SMALL, c_dim=OFFICIAL[architecture]["c_dim"], architecture=architecture)


def label(architecture: str) -> torch.Tensor | None:
    return torch.eye(3)[[0, 2]] if OFFICIAL[architecture]["c_dim"] else None


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_state_dict_has_the_official_names_and_shapes(architecture: str) -> None:
    for network, name in ((generator(architecture), "generator"), (discriminator(architecture), "discriminator")):
        shapes = {key: list(value.shape) for key, value in network.state_dict().items()}
        assert shapes == OFFICIAL[architecture][name]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.no_grad()
def test_images_are_the_official_ones(architecture: str) -> None:
    G = fill(generator(architecture))
    z = torch.sin(torch.arange(16.0)).reshape(2, 8)
    ws, expected = G.mapping(z, label(architecture), truncation=0.7, cutoff=3), OFFICIAL[architecture]
    for images in (G.synthesis(ws), torch.cat([G.synthesis(one) for one in ws.split(1)])):
        torch.testing.assert_close(images.flatten()[::199], torch.tensor(expected["image"]), rtol=1e-4, atol=1e-4)
        assert images.std().item() == pytest.approx(expected["image_std"], rel=1e-4)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.no_grad()
def test_logits_are_the_official_ones(architecture: str) -> None:
    images = torch.cos(0.01 * torch.arange(2 * 3 * 256.0)).reshape(2, 3, 16, 16)
    logits = fill(discriminator(architecture))(images, label(architecture)).flatten()
    torch.testing.assert_close(logits, torch.tensor(OFFICIAL[architecture]["logits"]), rtol=1e-4, atol=1e-5)
