"""An ONNX file gives what the network gives, for any number of images, and a file that does not is not kept."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from networks.checkpoints import onnx_files
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.onnx_files import INPUT, OUTPUT, write_onnx
from networks.unet import UNet


def network() -> UNet:
    torch.manual_seed(0)
    made = UNet(3, (8, 8)).eval().requires_grad_(False)
    torch.nn.init.normal_(made.decode[0].conv1.weight, std=0.1)  # not the shortcut alone
    return made


def test_onnxruntime_agrees_for_any_number_of_images(tmp_path: Path) -> None:
    import onnxruntime

    made = network()
    assert write_onnx(tmp_path / "x.onnx", made, 16, {"classes": ["a", "b", "c"]}) < 1e-4
    session = onnxruntime.InferenceSession(tmp_path / "x.onnx")
    assert json.loads(session.get_modelmeta().custom_metadata_map["ganvas"]) == {"classes": ["a", "b", "c"]}
    for n in (1, 5):
        images = torch.rand(n, 3, 16, 16, generator=torch.Generator().manual_seed(n)) * 2 - 1
        (found,) = session.run([OUTPUT], {INPUT: images.numpy()})
        np.testing.assert_allclose(found, made(images).numpy(), atol=1e-4)
    assert [path.name for path in tmp_path.iterdir()] == ["x.onnx"]


def test_a_file_that_differs_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_files, "_export", lambda *_: None)
    monkeypatch.setattr(onnx_files, "_difference", lambda *_: float("nan"))
    with pytest.raises(GanvasError, match="is not kept: onnxruntime's logits differ from the network's by nan"):
        write_onnx(tmp_path / "x.onnx", network(), 16, {})
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_files, "find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(GanvasError, match=r"ONNX needs onnxscript, not installed: `pip install 'ganvas\[onnx\]'`"):
        write_onnx(tmp_path / "x.onnx", network(), 16, {})
