"""A generator comes back from its bundle as it went in, is found by its hash, and is refused when it does not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from networks.checkpoints import generators
from networks.checkpoints.bundle import read_bundle, save_bundle, tensors_hash
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.generators import (
    describe_generator,
    embed_generator,
    find_generator,
    load_generator,
    save_generator,
)
from networks.checkpoints.zoo import resolve


class Plain(nn.Module):
    """The least a generator needs for storage: weights, a buffer, ``config`` and ``hash``."""

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.config = {"width": width}
        self.hash = ""
        self.layer = nn.Linear(width, width)
        self.dropout = nn.Dropout(0.5)
        self.register_buffer("w_avg", torch.zeros(width))


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(generators, "GENERATORS", {"plain": lambda: Plain})
    monkeypatch.setenv("GANVAS_ZOO", str(tmp_path / "elsewhere"))


def saved(path: Path, width: int = 3) -> nn.Module:
    save_generator(path, Plain(width), {"licence": "CC0-1.0", "metrics": {"kid": 0.1}})
    return load_generator(path)


def segmentation_bundle(path: Path, generator: nn.Module, embedded: bool) -> Path:
    tensors = {"head.weight": torch.ones(2)}
    if embedded:
        tensors = embed_generator(tensors, generator)
    manifest = {"kind": "segmentation", "generator": describe_generator(generator, embedded)}
    return save_bundle(path, tensors, manifest)


def test_round_trip_keeps_weights_and_manifest(tmp_path: Path) -> None:
    original = Plain(4)
    path = save_generator(tmp_path / "g.safetensors", original, {"licence": "CC0-1.0"})
    loaded = load_generator(path)
    assert loaded.state_dict().keys() == original.state_dict().keys()
    assert all(torch.equal(value, original.state_dict()[name]) for name, value in loaded.state_dict().items())
    assert loaded.hash == read_bundle(path).manifest["hash"] == tensors_hash(original.state_dict())
    assert read_bundle(path).manifest["licence"] == "CC0-1.0"
    assert not loaded.training
    assert not any(p.requires_grad for p in loaded.parameters())


def test_the_hash_does_not_depend_on_running_precision(tmp_path: Path) -> None:
    half = Plain().half()
    save_generator(tmp_path / "half.safetensors", half, {})
    save_generator(tmp_path / "full.safetensors", half.float(), {})
    assert load_generator(tmp_path / "half.safetensors").hash == load_generator(tmp_path / "full.safetensors").hash


def test_loading_does_not_move_the_random_state(tmp_path: Path) -> None:
    saved(tmp_path / "g.safetensors")
    torch.manual_seed(0)
    first = torch.rand(1)
    torch.manual_seed(0)
    load_generator(tmp_path / "g.safetensors")
    assert torch.equal(torch.rand(1), first)


def test_an_embedded_generator_is_the_same_generator(tmp_path: Path) -> None:
    generator = saved(tmp_path / "g.safetensors")
    path = segmentation_bundle(tmp_path / "s.safetensors", generator, embedded=True)
    inside = load_generator(path)
    assert inside.hash == generator.hash
    assert torch.equal(inside.layer.weight, generator.layer.weight)
    bundle = read_bundle(path)
    assert bundle.without_generator().keys() == {"head.weight"}
    assert bundle.manifest["generator"]["size"] == (9 + 3 + 3) * 4


def test_a_changed_generator_is_not_embedded_under_its_old_name(tmp_path: Path) -> None:
    generator = saved(tmp_path / "g.safetensors")
    generator.w_avg += 1
    with pytest.raises(ValueError, match="weights changed"):
        embed_generator({}, generator)


def test_a_bundle_without_a_generator_says_what_to_give(tmp_path: Path) -> None:
    generator = saved(tmp_path / "g.safetensors")
    path = segmentation_bundle(tmp_path / "s.safetensors", generator, embedded=False)
    with pytest.raises(GanvasError, match="no generator inside; give a generator's bundle"):
        load_generator(path)


@pytest.mark.parametrize("folder", ["here", "elsewhere"])
def test_a_generator_is_found_by_hash_beside_or_in_the_zoo(tmp_path: Path, folder: str) -> None:
    generator = saved(tmp_path / folder / "g.safetensors")
    saved(tmp_path / folder / "a-other.safetensors", width=2)
    (tmp_path / folder / "b-broken.safetensors").write_bytes(b"not a bundle")
    beside = segmentation_bundle(tmp_path / "here" / "s.safetensors", generator, embedded=False)
    assert find_generator(generator.hash, beside) == tmp_path / folder / "g.safetensors"


def test_a_generator_is_found_inside_another_bundle(tmp_path: Path) -> None:
    generator = saved(tmp_path / "g.safetensors")
    holder = segmentation_bundle(tmp_path / "x" / "s.safetensors", generator, embedded=True)
    assert find_generator(generator.hash, tmp_path / "x" / "other.safetensors") == holder


def test_a_generator_found_nowhere_names_every_place(tmp_path: Path) -> None:
    with pytest.raises(GanvasError) as caught:
        find_generator("abcdef0123456789", tmp_path / "s.safetensors")
    sentence = str(caught.value)
    assert all(part in sentence for part in ("abcdef012345", str(tmp_path), "zoo", "elsewhere", "GANVAS_ZOO"))
    assert "abcdef0123456" not in sentence


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda t: {k: v for k, v in t.items() if k != "w_avg"}, r"1 missing \(w_avg\)"),
        (lambda t: {**t, "extra.bias": torch.ones(1)}, r"1 unknown \(extra.bias\)"),
        (lambda t: {**t, "w_avg": torch.ones(7)}, r"weight 'w_avg' is \[7\], expected \[3\]"),
    ],
)
def test_weights_that_do_not_fit_are_named(tmp_path: Path, change, sentence: str) -> None:
    tensors = change(dict(Plain().state_dict()))
    path = save_bundle(tmp_path / "g.safetensors", tensors, {"kind": "plain", "config": {"width": 3}})
    with pytest.raises(GanvasError, match=sentence):
        load_generator(path)


@pytest.mark.parametrize(
    ("manifest", "sentence"),
    [
        ({"kind": "plain", "config": {"depth": 3}}, "cannot be built as the file describes it: .*depth"),
        ({"kind": "plain"}, "no constructor arguments"),
        ({"kind": "segmentation", "generator": {"embedded": True, "hash": "0"}}, "not the one its manifest names"),
        (
            {"kind": "s", "generator": {"embedded": True, "hash": tensors_hash({}), "kind": "os.system", "config": {}}},
            "unknown kind 'os.system'; known here: plain",
        ),
    ],
)
def test_a_manifest_that_cannot_build_its_generator_is_refused(tmp_path: Path, manifest: dict, sentence: str) -> None:
    path = save_bundle(tmp_path / "g.safetensors", {}, manifest)
    with pytest.raises(GanvasError, match=sentence):
        load_generator(path)


def test_zoo_names_resolve_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path / "elsewhere" / "mine.safetensors")
    monkeypatch.chdir(tmp_path)
    assert resolve("zoo/mine.safetensors") == tmp_path / "elsewhere" / "mine.safetensors"
    assert resolve("zoo/none.safetensors") == Path("zoo/none.safetensors")
    assert resolve("mine.safetensors") == Path("mine.safetensors")
    assert load_generator("zoo/mine.safetensors").hash
