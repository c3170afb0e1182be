"""A StyleGAN2 small enough to invert in a blink, saved and loaded so that it has a hash."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from networks.checkpoints.generators import load_generator, save_generator
from networks.critics import perceptual
from networks.critics.lpips_distance import PerceptualCritic
from networks.stylegan2 import Generator


def tiny_generator(seed: int = 0, resolution: int = 16) -> Generator:
    """Random weights; w_avg set to the mean of W as training would."""
    torch.manual_seed(seed)
    generator = Generator(resolution, z_dim=8, w_dim=8, mapping_layers=2, channel_base=256, channel_max=16)
    with torch.no_grad():
        generator.w_avg.copy_(generator.mapping(torch.randn(64, 8))[:, 0].mean(0))
    return generator


@pytest.fixture(scope="session")
def generator_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_generator(tmp_path_factory.mktemp("zoo") / "tiny.safetensors", tiny_generator(), {"licence": "CC0-1.0"})


@pytest.fixture(scope="session")
def other_generator_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_generator(tmp_path_factory.mktemp("zoo") / "other.safetensors", tiny_generator(seed=9), {})


@pytest.fixture(scope="session")
def generator(generator_file: Path) -> Generator:
    return load_generator(generator_file)


@pytest.fixture(scope="session")
def critic() -> PerceptualCritic:
    return perceptual("stlpips-alex")
