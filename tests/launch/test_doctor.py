"""``ganvas doctor``: each missing thing comes with a way to mend it."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest

from cuda_ops import backend
from launch import cli, doctor


def test_reports_versions_devices_and_operations(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor"]) == cli.OK
    out = capsys.readouterr().out
    assert all(word in out for word in ("python", "torch", "cpu", "operations", "reference", "W&B mode"))


def test_a_missing_package_can_be_mended(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    found = importlib.metadata.version

    def version(name: str) -> str:
        if name == "resvg-py":
            raise importlib.metadata.PackageNotFoundError(name)
        return found(name)

    monkeypatch.setattr("importlib.metadata.version", version)
    cli.main(["doctor"])
    out = capsys.readouterr().out
    assert "missing  resvg-py" in out
    assert "-> pip install resvg-py" in out


def test_a_broken_bundle_in_the_zoo_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken.safetensors").write_bytes(b"not a bundle")
    monkeypatch.setenv("GANVAS_ZOO", str(tmp_path))
    broken = [finding for finding in doctor.zoo() if finding.what == "zoo: broken.safetensors"]
    assert [finding.good for finding in broken] == [False]
    assert str(tmp_path) in broken[0].mend


def test_optional_weights_are_absent_rather_than_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    assert all(finding.optional and finding.mend for finding in doctor.trunks())


@pytest.mark.parametrize("wish", ["auto", "reference"])
def test_plain_pytorch_is_always_there(wish: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANVAS_OPS", wish)
    backend.check()
    assert f"GANVAS_OPS={wish}" in backend.describe()


def test_an_unknown_backend_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANVAS_OPS", "triton")
    with pytest.raises(ValueError, match="GANVAS_OPS=triton is unknown: it may be auto, cuda, reference"):
        backend.check()


def test_kernels_are_refused_where_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANVAS_OPS", "cuda")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ValueError, match="GANVAS_OPS=cuda: torch sees no GPU"):
        backend.check()
