"""IR-SE50 from the file of InsightFace_Pytorch: StyleCLIP's numbers (ir_se50.json says how made), and bad files."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from networks.checkpoints.errors import GanvasError
from networks.checkpoints.pickles import UnsafePickleError
from networks.face_identity import FaceIdentity
from networks.identity import load_identity
from networks.preservation import IdentityPreservation, Seen

ORIGINAL = json.loads(Path(__file__).with_name("ir_se50.json").read_text())
QUARTER = {"channels": (16, 32, 64, 128), "dim": 128}
TINY = {"channels": (16, 32, 48, 64), "units": (1, 2, 1, 1), "dim": 8}


def weights() -> dict[str, torch.Tensor]:
    """Those that the numbers were made with, under the original's names."""
    found = {}
    for i, (name, shape) in enumerate(sorted(ORIGINAL["state"].items())):
        size = torch.Size(shape)
        x = torch.sin(torch.arange(size.numel(), dtype=torch.float64) * 0.7 + i).float().reshape(shape)
        if name.endswith("num_batches_tracked"):
            x = torch.tensor(1)
        elif name.endswith("running_var"):
            x = 1 + 0.5 * x
        elif len(size) in (2, 4):
            x = 1.5 * x / math.sqrt(size[1:].numel())
        else:
            x = 0.2 * x + name.endswith("weight")
        found[name] = x
    return found


def waves(resolution: int) -> torch.Tensor:
    values = torch.arange(2 * 3 * resolution**2, dtype=torch.float64)
    return torch.cos(0.01 * values).float().reshape(2, 3, resolution, resolution)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A small network's."""
    torch.manual_seed(0)
    torch.save(FaceIdentity(**TINY).state_dict(), tmp_path / "model_ir_se50.pth")
    return tmp_path / "model_ir_se50.pth"


@torch.no_grad()
def test_vectors_and_loss_are_the_originals(tmp_path: Path) -> None:
    torch.save(weights(), tmp_path / "ir.pth")
    network, manifest = load_identity(tmp_path / "ir.pth")
    assert isinstance(network, FaceIdentity)
    assert network.state_dict().keys() == ORIGINAL["state"].keys() == FaceIdentity(**QUARTER).state_dict().keys()
    assert manifest["kind"] == "ir_se50"
    for resolution, vectors in ORIGINAL["vectors"].items():
        found = network(waves(int(resolution))).flatten()[::5]
        torch.testing.assert_close(found, torch.tensor(vectors), rtol=0, atol=1e-5)
    term, images = IdentityPreservation(network), waves(256)
    loss = term(Seen(images), term.remember(Seen(images.flip(3)))).mean()
    assert loss.item() == pytest.approx(ORIGINAL["loss"], abs=1e-5)


def test_a_file_is_the_network_again(file: Path) -> None:
    network, manifest = load_identity(file)
    state = torch.load(file, weights_only=True)
    torch.testing.assert_close(network.state_dict(), state, rtol=0, atol=0)
    assert not network.training
    assert not any(p.requires_grad for p in network.parameters())
    images = torch.rand(3, 3, 64, 64, requires_grad=True)
    torch.testing.assert_close(network.embed(images, batch=2), network(images), rtol=0, atol=1e-5)
    (gradient,) = torch.autograd.grad(network(images)[:, 0].sum(), images)
    assert gradient.abs().sum() > 0
    torch.save({name: x for name, x in state.items() if not name.endswith("num_batches_tracked")}, file)  # an old file
    old, _ = load_identity(file)
    torch.testing.assert_close(old(images), network(images), rtol=0, atol=0)
    assert len(manifest["hash"]) == 64


def without(name: str) -> Any:
    return lambda state: state.pop(name)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (without("body.2.res_layer.1.weight"), "holds no network of faces"),
        (without("output_layer.3.weight"), r"holds no network of faces.*output_layer\.3\.weight"),
        (without("body.1.res_layer.5.fc1.weight"), "holds no network of faces"),
        (lambda state: state.clear(), "it has 0 stages of blocks, not 4"),
        (lambda state: state.update(other=torch.zeros(1)), "holds no network of faces.*other"),
        (lambda state: state["output_layer.3.bias"].fill_(math.nan), "are not all numbers"),
    ],
)  # fmt: skip
def test_another_file_is_refused(file: Path, spoil: Any, sentence: str) -> None:
    state = torch.load(file, weights_only=True)
    spoil(state)
    torch.save(state, file)
    with pytest.raises(GanvasError, match=sentence):
        load_identity(file)


def test_a_missing_a_damaged_and_a_foreign_file(file: Path, tmp_path: Path) -> None:
    with pytest.raises(GanvasError, match=r"there is no file .*gone\.pth: give model_ir_se50\.pth"):
        load_identity(tmp_path / "gone.pth")
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(GanvasError, match="cannot be read"):
        load_identity(file)
    torch.save({"path": Path("somewhere")}, file)  # a class of its own, which is not made
    with pytest.raises(UnsafePickleError, match="nothing was run"):
        load_identity(file)
