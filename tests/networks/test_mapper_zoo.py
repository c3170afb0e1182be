"""The mappers that ship: each loads, fits the zoo's avatars and moves them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from networks.checkpoints.bundle import read_manifest
from networks.checkpoints.edits import load_edit
from networks.checkpoints.generators import load_generator
from networks.mapper import MapperEdit, in_space
from networks.protocol import Generator

ZOO = Path(__file__).parents[2] / "zoo"
NAMES = sorted(path.stem for path in ZOO.glob("mapper_*_avatars64.safetensors"))


@pytest.fixture(scope="module")
def avatars() -> Generator:
    return load_generator("zoo/avatars64.safetensors")


def test_there_are_mappers() -> None:
    assert len(NAMES) >= 5


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_a_mapper_moves_two_avatars(name: str, avatars: Generator) -> None:
    edit, manifest = load_edit(f"zoo/{name}.safetensors"), read_manifest(ZOO / f"{name}.safetensors")
    assert isinstance(edit.module, MapperEdit)
    assert edit.generator_hash == avatars.hash
    low, high = manifest["recommended_strengths"]
    assert 0 < low <= high
    before = in_space(avatars, avatars.sample(2, seed=5, truncation=0.7), edit.space)
    after = edit.apply(before, high)
    for group in edit.module.stages[0][0].mapper.groups:
        steps = after.tensors[group.tensor] - before.tensors[group.tensor]
        assert torch.isfinite(steps).all()
        assert (steps.flatten(1).norm(dim=1) > 0).all(), group.name
    images = [avatars.render(codes).clamp(-1, 1) for codes in (before, after)]
    assert ((images[1] - images[0]).abs().flatten(1).mean(1) > 0.005).all()   # of 2: seen, each
    still = edit.apply(before, 0.0)
    assert all(torch.equal(t, still.tensors[path]) for path, t in before.tensors.items())
