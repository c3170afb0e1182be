"""Held against pSp's, e4e's and EditGAN's code: names, shapes, a few numbers (foreign_encoders.json says how made)."""

from __future__ import annotations

import argparse
import functools
import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import torch

from networks.checkpoints.encoders import find_encoder, load_encoder, save_encoder
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.generators import load_generator, save_generator
from networks.checkpoints.pickles import UnsafePickleError
from networks.encoders import FPNEncoder, IRSEEncoder
from networks.encoders.parts import resized
from networks.stylegan2 import Generator

ORIGINAL = json.loads(Path(__file__).with_name("foreign_encoders.json").read_text())
ROWS, W_DIM = 8, 16
TINY = {"channels": [16, 32, 48, 64], "units": [1, 2, 1, 1]}
TINY_FPN = {"base": 4, "units": [1, 1, 2, 1], "width": 8}
Checkpoint = dict[str, Any]


@functools.cache
def state(network: str) -> Mapping[str, torch.Tensor]:
    """The weights that the numbers were made with, under the originals' names."""
    found = {}
    for i, (name, shape) in enumerate(sorted(ORIGINAL[network].items())):
        size = torch.Size(shape)
        x = torch.sin(torch.arange(size.numel(), dtype=torch.float64) * 0.7 + i).float().reshape(shape)
        if name.endswith("num_batches_tracked"):
            x = torch.tensor(1)
        elif name.endswith("running_var"):
            x = 1 + 0.5 * x
        elif len(size) == 4:
            x = 1.5 * x / math.sqrt(size[1:].numel())
        elif len(size) == 1:
            x = 0.2 * x + name.endswith("weight")
        found[name] = x
    return MappingProxyType(found)


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Generator:
    """Of 32x32, so with as many rows as the encoders have, and the mean of W not at zero."""
    torch.manual_seed(0)
    network = Generator(32, z_dim=8, w_dim=W_DIM, mapping_layers=1, channel_base=64, channel_max=4)
    network.w_avg.fill_(0.25)
    return load_generator(save_generator(tmp_path_factory.mktemp("zoo") / "g.safetensors", network, {}))


@pytest.fixture
def checkpoint() -> Checkpoint:
    """A small one, as e4e writes it; the decoder left out."""
    weights = {f"encoder.{name}": value for name, value in awake(IRSEEncoder(32, ROWS, W_DIM, **TINY)).items()}
    opts = {"encoder_type": "Encoder4Editing", "start_from_latent_avg": True, "device": "cuda:0", "lr": 1e-4}
    return {"state_dict": weights, "latent_avg": torch.linspace(0, 1, W_DIM).repeat(ROWS, 1), "opts": opts}


def awake(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Random weights as a file of the originals has them, which keep the mean of W elsewhere."""
    torch.manual_seed(0)
    return {
        name: torch.rand_like(value) if value.is_floating_point() else value
        for name, value in network.state_dict().items() if name != "latent_avg"
    }  # fmt: skip


def written(checkpoint: object, path: Path) -> Path:
    torch.save(checkpoint, path)
    return path


@pytest.mark.parametrize("name", ["GradualStyleEncoder", "Encoder4Editing", "FPNEncoder"])
@torch.no_grad()
def test_codes_are_the_originals(name: str) -> None:
    quarter = {"channels": (16, 32, 64, 128)}  # of the originals' channels
    network = {
        "GradualStyleEncoder": lambda: IRSEEncoder(256, ROWS, 128, **quarter),
        "Encoder4Editing": lambda: IRSEEncoder(256, ROWS, 128, offsets=True, **quarter),
        "FPNEncoder": lambda: FPNEncoder(256, ROWS, 128, base=16, width=128),
    }[name]()
    extra = {"latent_avg": torch.zeros(ROWS, 128)} if isinstance(network, IRSEEncoder) else {}
    network.load_state_dict({**state("fpn" if name == "FPNEncoder" else "irse"), **extra})
    images = torch.cos(0.01 * torch.arange(2 * 3 * 256**2, dtype=torch.float64)).float().reshape(2, 3, 256, 256)
    codes = network.eval()(images)
    expected, scale = torch.tensor(ORIGINAL[name]["codes"]), ORIGINAL[name]["std"]
    torch.testing.assert_close(codes.flatten()[::37], expected, rtol=2e-4, atol=2e-5 * scale)
    assert codes.std().item() == pytest.approx(scale, rel=1e-4)


@pytest.mark.parametrize("as_namespace", [False, True])
@torch.no_grad()
def test_an_e4e_file_is_an_encoder_of_the_generator(
    generator: Generator, checkpoint: Checkpoint, tmp_path: Path, as_namespace: bool
) -> None:
    if as_namespace:
        checkpoint["opts"] = argparse.Namespace(**checkpoint["opts"])
    encoder = load_encoder(written(checkpoint, tmp_path / "e4e.pt"), generator)
    assert encoder.config == {
        "img_resolution": 32, "num_ws": ROWS, "w_dim": W_DIM, "img_channels": 3, "offsets": True, **TINY,
    }  # fmt: skip
    assert not encoder.training
    assert encoder.source == "e4e checkpoint"
    small = torch.rand(1, 3, 32, 32) * 2 - 1
    alone = IRSEEncoder(256, ROWS, W_DIM, offsets=True, **TINY).eval()
    alone.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(encoder(small), alone(resized(small, 256)))
    torch.testing.assert_close(alone.latent_avg, checkpoint["latent_avg"])


@torch.no_grad()
def test_the_bundle_of_it_is_found_and_says_the_same(
    generator: Generator, checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = load_encoder(written(checkpoint, tmp_path / "e4e.pt"), generator)
    path = save_encoder(tmp_path / "zoo" / "e.safetensors", encoder, generator.hash, {})
    monkeypatch.setenv("GANVAS_ZOO", str(path.parent))
    found, again = find_encoder(generator), load_encoder(path, generator)
    assert isinstance(found, IRSEEncoder)
    assert found.hash == again.hash == encoder.hash
    torch.testing.assert_close(found.state_dict(), encoder.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"latent_avg": torch.linspace(0, 1, W_DIM)}, torch.linspace(0, 1, W_DIM)),       # one row for all
        ({"latent_avg": None}, torch.full([W_DIM], 0.25)),                                # the generator's own
        ({"opts": {"encoder_type": "GradualStyleEncoder", "start_from_latent_avg": False}}, torch.zeros(W_DIM)),
    ],
)  # fmt: skip
def test_what_is_added_to_the_codes(
    generator: Generator, checkpoint: Checkpoint, tmp_path: Path, change: Checkpoint, expected: torch.Tensor
) -> None:
    encoder = load_encoder(written({**checkpoint, **change}, tmp_path / "e4e.pt"), generator)
    torch.testing.assert_close(encoder.latent_avg, expected.expand(ROWS, -1))


def test_an_editgan_file_is_an_encoder_of_the_generator(generator: Generator, tmp_path: Path) -> None:
    weights = awake(FPNEncoder(32, ROWS, W_DIM, **TINY_FPN))
    encoder = load_encoder(written({"model_state_dict": weights}, tmp_path / "BEST.pth"), generator)
    expected = {"img_resolution": 32, "num_ws": ROWS, "w_dim": W_DIM, "img_channels": 3, **TINY_FPN}
    assert encoder.config == expected
    assert encoder.source == "EditGAN encoder"
    torch.testing.assert_close(encoder.state_dict(), weights, rtol=0, atol=0)


@pytest.mark.parametrize("network", [
    lambda size: IRSEEncoder(size, 18, W_DIM, **TINY), lambda size: FPNEncoder(size, 18, W_DIM, **TINY_FPN),
], ids=["irse", "fpn"])  # fmt: skip
@torch.no_grad()
def test_large_images_give_a_code_each(network: Any) -> None:
    torch.manual_seed(0)
    codes = network(1024).eval()(torch.rand(2, 3, 1024, 1024))
    assert codes.shape == (2, 18, W_DIM)
    with pytest.raises(ValueError, match=r"img must be \[N, 3, 512, 512\], got \[1, 3, 256, 256\]"):
        network(512)(torch.zeros(1, 3, 256, 256))


def another_type(checkpoint: Checkpoint) -> None:
    checkpoint["opts"]["encoder_type"] = "BackboneEncoderUsingLastLayerIntoW"


def no_opts(checkpoint: Checkpoint) -> None:
    del checkpoint["opts"]


def fewer_rows(checkpoint: Checkpoint) -> None:
    checkpoint["state_dict"] = {k: v for k, v in checkpoint["state_dict"].items() if "styles.7" not in k}
    checkpoint["latent_avg"] = checkpoint["latent_avg"][:7]


def lost_weight(checkpoint: Checkpoint) -> None:
    del checkpoint["state_dict"]["encoder.body.2.res_layer.5.fc1.weight"]


def lost_head(checkpoint: Checkpoint) -> None:
    del checkpoint["state_dict"]["encoder.styles.0.linear.weight"]


def not_a_number(checkpoint: Checkpoint) -> None:
    checkpoint["state_dict"]["encoder.latlayer1.bias"] = torch.full([64], float("nan"))


def no_encoder(checkpoint: Checkpoint) -> None:
    checkpoint["state_dict"] = {"decoder.style.1.weight": torch.zeros(8, 8)}


def one_stage(checkpoint: Checkpoint) -> None:
    checkpoint["state_dict"] = {k: v for k, v in checkpoint["state_dict"].items() if ".body." not in k or ".0." in k}


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (another_type, "holds an encoder of type BackboneEncoderUsingLastLayerIntoW, and Ganvas converts"),
        (no_opts, "holds an encoder of type None, and Ganvas converts"),
        (fewer_rows, r"has num_ws=7, and the generator 8: give the generator that it was trained for"),
        (lost_weight, r"weights 1 missing \(body.2.res_layer.5.fc1.weight\)"),
        (lost_head, r"is not as pSp and e4e writes it .*export it again"),
        (not_a_number, r"latlayer1.bias.* NaN or infinite"),
        (no_encoder, r"holds no encoder that Ganvas converts; give a .pt of pSp or e4e, or EditGAN's .pth"),
        (one_stage, r"cannot be built as its weights describe it: channels and units must be of four stages"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)  # fmt: skip
def test_a_file_that_does_not_fit_is_one_sentence(
    generator: Generator, checkpoint: Checkpoint, tmp_path: Path, spoil: Any, says: str
) -> None:
    spoil(checkpoint)
    path = written(checkpoint, tmp_path / "e4e.pt")
    with pytest.raises(GanvasError, match=says) as found:
        load_encoder(path, generator)
    assert str(path) in str(found.value)
    assert "\n" not in str(found.value)


def test_the_bundle_of_another_generator_is_refused(generator: Generator, tmp_path: Path) -> None:
    network = FPNEncoder(32, ROWS, W_DIM, **TINY_FPN)
    path = save_encoder(tmp_path / "e.safetensors", network, "f" * 64, {})
    with pytest.raises(GanvasError, match=r"is no encoder of this generator .* of generator ffffffffffff: give"):
        load_encoder(path, generator)


class Hostile:
    """Whoever unpickles this makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("place", ["opts", "inside", "weights"])
def test_what_a_file_asks_to_run_is_not_run(
    generator: Generator, checkpoint: Checkpoint, tmp_path: Path, place: str
) -> None:
    hostile, made = Hostile(tmp_path / "made"), tmp_path / "made"
    spoiled = {
        "opts": {**checkpoint, "opts": hostile},
        "inside": {**checkpoint, "opts": argparse.Namespace(encoder_type=hostile)},
        "weights": {**checkpoint, "state_dict": {"encoder.x": hostile}},
    }[place]
    path = written(spoiled, tmp_path / "e4e.pt")
    for reader in (lambda: load_encoder(path, generator), lambda: load_generator(path)):
        with pytest.raises(UnsafePickleError, match="nothing was run"):
            reader()
    assert not made.exists()
