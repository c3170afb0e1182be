"""Bundles keep what they are given, and say in one sentence why a file is no bundle."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from networks.checkpoints.atomic import atomic_path
from networks.checkpoints.bundle import METADATA_KEY, read_bundle, read_manifest, save_bundle, tensors_hash
from networks.checkpoints.errors import GanvasError

DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool]


def some_tensors() -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return {
        f"t{i}": (torch.randn(shape, generator=random) * 3).to(dtype)
        for i, (shape, dtype) in enumerate(zip([(2, 3), (), (0, 4), (5,), (1, 1, 2), (3,)], DTYPES, strict=True))
    }


def test_every_dtype_and_shape_comes_back_bit_for_bit(tmp_path: Path) -> None:
    tensors = some_tensors()
    path = save_bundle(tmp_path / "new" / "a.safetensors", tensors, {"kind": "segmentation", "config": {"k": (1, 2)}})
    bundle = read_bundle(path)
    assert bundle.kind == "segmentation"
    assert bundle.manifest["config"] == {"k": [1, 2]}
    assert bundle.manifest["hash"] == tensors_hash(tensors)
    assert bundle.tensors.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert bundle.tensors[name].dtype == tensor.dtype
        assert torch.equal(bundle.tensors[name], tensor)


def test_manifest_is_read_alone_and_is_the_same(tmp_path: Path) -> None:
    path = save_bundle(tmp_path / "a.safetensors", some_tensors(), {"kind": "x", "classes": {"names": ["a, b", "ü"]}})
    assert read_manifest(path) == read_bundle(path).manifest


def test_shared_and_strided_tensors_are_stored(tmp_path: Path) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    bundle = read_bundle(save_bundle(tmp_path / "a.safetensors", {"a": base, "b": base, "t": base.T}, {"kind": "x"}))
    assert torch.equal(bundle.tensors["b"], base)
    assert torch.equal(bundle.tensors["t"], base.T)


def test_numbers_json_has_no_word_for_become_null(tmp_path: Path) -> None:
    metrics = {"iou": [0.5, math.nan], "best": math.inf}
    path = save_bundle(tmp_path / "a.safetensors", {}, {"kind": "x", "metrics": metrics})
    assert read_manifest(path)["metrics"] == {"iou": [0.5, None], "best": None}


@settings(deadline=None, max_examples=30)
@given(
    name=st.text(min_size=1, max_size=8),
    values=st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=6),
    index=st.integers(0, 100),
)
def test_hash_feels_every_value_name_shape_and_dtype(name: str, values: list[float], index: int) -> None:
    tensor = torch.tensor(values)
    changed = tensor.clone()
    changed[index % len(values)] += 1e6
    hashes = [
        tensors_hash({name: tensor}),
        tensors_hash({name + "x": tensor}),
        tensors_hash({name: tensor[None]}),
        tensors_hash({name: tensor.double()}),
        tensors_hash({name: changed}),
        tensors_hash({name: tensor, name + "x": tensor}),
    ]
    assert len(set(hashes)) == len(hashes)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = save_bundle(tmp_path / "a.safetensors", {"w": torch.ones(2)}, {"kind": "x"})
    before = path.read_bytes()

    def stop_half_way() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        stop_half_way()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(GanvasError, match=r"cannot write .*file/a.safetensors"):
        save_bundle(tmp_path / "file" / "a.safetensors", {"w": torch.ones(1)}, {"kind": "x"})


def test_nan_weight_is_named_when_written_and_when_read(tmp_path: Path) -> None:
    tensors = {"good": torch.ones(2), "bad.weight": torch.tensor([1.0, math.nan])}
    with pytest.raises(GanvasError, match=r"'bad.weight' of .*a.safetensors .*NaN"):
        save_bundle(tmp_path / "a.safetensors", tensors, {"kind": "x"})
    assert not list(tmp_path.iterdir())
    manifest = {"format": 1, "kind": "x", "hash": tensors_hash(tensors)}
    save_file(tensors, tmp_path / "b.safetensors", metadata={METADATA_KEY: json.dumps(manifest)})
    with pytest.raises(GanvasError, match=r"'bad.weight' of .*b.safetensors"):
        read_bundle(tmp_path / "b.safetensors")


@pytest.mark.parametrize(
    ("metadata", "sentence"),
    [
        (None, "not a Ganvas bundle"),
        ("{", "not valid JSON"),
        ("[]", "does not say its format"),
        ('{"format": 2, "kind": "x", "hash": ""}', r"format 2, .* reads up to 1; install a newer ganvas"),
        ('{"format": 1, "hash": ""}', "no 'kind'"),
        ('{"format": 1, "kind": "x"}', "no 'hash'"),
        ('{"format": 1, "kind": "x", "hash": "0"}', "damaged"),
    ],
)
def test_a_manifest_that_does_not_fit_is_one_sentence(tmp_path: Path, metadata: str | None, sentence: str) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"w": torch.ones(1)}, path, metadata=None if metadata is None else {METADATA_KEY: metadata})
    with pytest.raises(GanvasError, match=sentence) as caught:
        read_bundle(path)
    assert str(path) in str(caught.value)


@settings(deadline=None, max_examples=25)
@given(keep=st.floats(0.0, 0.999))
def test_a_file_cut_anywhere_is_refused(tmp_path_factory: pytest.TempPathFactory, keep: float) -> None:
    path = save_bundle(tmp_path_factory.mktemp("cut") / "a.safetensors", {"w": torch.ones(99)}, {"kind": "x"})
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole))])
    with pytest.raises(GanvasError, match="cut short"):
        read_bundle(path)


def test_missing_file_folder_and_foreign_file_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(GanvasError, match="there is no file"):
        read_bundle(tmp_path / "none.safetensors")
    with pytest.raises(GanvasError, match="is a folder"):
        read_bundle(tmp_path)
    torch.save({"w": torch.ones(3)}, tmp_path / "a.pt")
    with pytest.raises(GanvasError, match="another kind of file"):
        read_bundle(tmp_path / "a.pt")


def test_another_codes_checkpoint_is_to_be_converted(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    torch.save({"state_dict": {}}, path)
    with pytest.raises(GanvasError, match=f"`ganvas convert source={path} out=FILE.safetensors`"):
        read_bundle(path)


def test_a_changed_weight_is_noticed(tmp_path: Path) -> None:
    path = save_bundle(tmp_path / "a.safetensors", {"w": torch.ones(99)}, {"kind": "x"})
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(GanvasError, match="damaged"):
        read_bundle(path)
