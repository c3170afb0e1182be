"""An encoder comes back from its bundle as it went in, and is found for its generator and for no other."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from networks.checkpoints.bundle import read_bundle, save_bundle
from networks.checkpoints.encoders import encoder_from_bundle, find_encoder, save_encoder
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.generators import load_generator, save_generator
from networks.stylegan2 import Generator, LeanEncoder


@pytest.fixture
def generator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator:
    monkeypatch.setenv("GANVAS_ZOO", str(tmp_path / "elsewhere"))
    network = Generator(16, z_dim=4, w_dim=4, mapping_layers=1, channel_base=64, channel_max=4)
    return load_generator(save_generator(tmp_path / "g.safetensors", network, {}))


def encoder() -> LeanEncoder:
    return LeanEncoder(16, 4, channels=(4, 4))


def test_round_trip(tmp_path: Path, generator: Generator) -> None:
    original = encoder()
    path = save_encoder(tmp_path / "e.safetensors", original, generator.hash, {"licence": "CC0-1.0"})
    loaded = encoder_from_bundle(read_bundle(path))
    assert loaded.hash == read_bundle(path).manifest["hash"]
    assert not loaded.training
    assert not any(p.requires_grad for p in loaded.parameters())
    torch.testing.assert_close(loaded.state_dict(), original.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("folder", [".", "elsewhere"])  # beside the generator, and in GANVAS_ZOO
def test_found_for_its_generator(folder: str, tmp_path: Path, generator: Generator) -> None:
    assert find_encoder(generator) is None
    save_encoder(tmp_path / folder / "other.safetensors", encoder(), "0" * 64, {})
    (tmp_path / folder / "damaged.safetensors").write_bytes(b"no bundle")
    assert find_encoder(generator) is None
    mine = encoder()
    save_encoder(tmp_path / folder / "mine.safetensors", mine, generator.hash, {})
    found = find_encoder(generator)
    assert found is not None
    torch.testing.assert_close(found.state_dict(), mine.state_dict(), rtol=0, atol=0)


def test_a_generator_that_was_never_saved_has_none(generator: Generator) -> None:
    generator.hash = ""
    assert find_encoder(generator) is None


@pytest.mark.parametrize(
    "config", [None, {}, {"encoder": "huge", "arguments": {}}, {"encoder": "lean", "arguments": {"depth": 3}},
               {"encoder": "lean", "arguments": {"img_resolution": 64, "w_dim": 4, "channels": [4]}}]
)  # fmt: skip
def test_a_manifest_that_describes_no_encoder_is_one_sentence(config: object, tmp_path: Path) -> None:
    path = save_bundle(tmp_path / "e.safetensors", {"x": torch.ones(1)}, {"kind": "encoder", "config": config})
    with pytest.raises(GanvasError, match=r"e\.safetensors does not describe an encoder .* export it again"):
        encoder_from_bundle(read_bundle(path))


def test_weights_of_another_encoder_are_refused(tmp_path: Path) -> None:
    path = save_encoder(tmp_path / "e.safetensors", encoder(), "0" * 64, {})
    bundle = read_bundle(path)
    bundle.manifest["config"]["arguments"]["w_dim"] = 5
    with pytest.raises(GanvasError, match="expected"):
        encoder_from_bundle(bundle)


def test_an_unregistered_encoder_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Linear is not a registered encoder"):
        save_encoder(tmp_path / "e.safetensors", torch.nn.Linear(2, 2), "0" * 64, {})
