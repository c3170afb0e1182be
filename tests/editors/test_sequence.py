"""Edits of several spaces one after another."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from editors.sequence import EditSequence
from networks.checkpoints.edits import load_edit, save_edit
from networks.checkpoints.errors import GanvasError
from networks.latent_edit import LatentEdit
from networks.protocol import Generator
from networks.stylegan2 import Generator as StyleGan2


@pytest.fixture(scope="module")
def generator() -> Generator:
    torch.manual_seed(0)
    network = StyleGan2(16, z_dim=8, w_dim=8, mapping_layers=2, channel_base=128, channel_max=8)
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def edits(generator: Generator) -> dict[str, LatentEdit]:
    draw = torch.Generator().manual_seed(1)
    styles = generator.in_styles(generator.sample(1, 0)).tensors
    steps = {path: torch.randn(t.shape[1], generator=draw) for path, t in styles.items()}
    return {"w": LatentEdit("w+", {"ws": torch.randn(6, 8, generator=draw)}, region=("hair",), name="longer"),
            "s": LatentEdit("s", steps, region=("mouth",), name="smile")}  # fmt: skip


def test_codes_go_from_space_to_space(generator: Generator, edits, tmp_path: Path) -> None:
    """Each edit by its bundle: W+, and then S."""
    latent = generator.sample(2, 0)
    kept = [load_edit(save_edit(tmp_path / f"{name}.safetensors", edit)) for name, edit in edits.items()]
    both = EditSequence.of(kept)
    found = both.apply(generator, latent, 0.5)
    byhand = edits["s"].apply(generator.in_styles(edits["w"].apply(latent, 0.5)), 0.5)
    assert found.space == "s"
    assert all(torch.equal(t, byhand.tensors[path]) for path, t in found.tensors.items())
    assert (both.region, both.name) == (("hair", "mouth"), "longer + smile")
    nothing = both.apply(generator, latent, 0.0)
    assert torch.equal(generator.render(nothing), generator.render(generator.in_styles(latent)))


def test_edits_of_one_space_are_one(generator: Generator, edits) -> None:
    three = EditSequence.of([edits["w"], edits["w"], edits["s"]])
    assert [edit.space for edit in three.edits] == ["w+", "s"]
    assert torch.equal(three.edits[0].delta["ws"], 2 * edits["w"].delta["ws"])
    assert EditSequence.of(three) is three
    alone = EditSequence.of(edits["s"]).apply(generator, generator.sample(1, 0))
    assert alone.space == "s"


def test_styles_come_last(generator: Generator, edits) -> None:
    with pytest.raises(GanvasError, match=r"the edit longer is in w\+.* put edits in s last"):
        EditSequence.of([edits["s"], edits["w"]]).apply(generator, generator.sample(1, 0))
    with pytest.raises(ValueError, match="at least one"):
        EditSequence.of([])
