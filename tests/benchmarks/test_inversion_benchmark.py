"""The script that compares numbers of inversion steps: a point is measured once, and another encoder may be given."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from benchmarks import inversion
from networks.checkpoints.encoders import save_encoder
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.generators import load_generator, save_generator
from networks.encoder import WPlusEncoder
from networks.stylegan2 import Generator, LeanEncoder


@pytest.fixture
def generator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny generator, and tiny counts."""
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GANVAS_ZOO", "")
    for name, value in {
        "QUICK": {"encoder": (0, 1), "mean": (1, 2)}, "AFTER_ENCODER": 1, "AFTER_MEAN": 2, "QUICK_IMAGES": 3,
        "SHOWN": 2, "PARTIAL": tmp_path / "points.json",
    }.items():  # fmt: skip
        monkeypatch.setattr(inversion, name, value)
    torch.manual_seed(0)
    network = Generator(32, z_dim=8, w_dim=8, mapping_layers=1, channel_base=64, channel_max=4)
    return save_generator(tmp_path / "zoo" / "g.safetensors", network, {})


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    """(start, steps, images) of what is computed."""
    calls: list[tuple[str, int, int]] = []
    original = inversion.Bench.invert

    def counted(self: inversion.Bench, start: str, steps: int) -> object:
        calls.append((start, steps, len(self.images)))
        return original(self, start, steps)

    monkeypatch.setattr(inversion.Bench, "invert", counted)
    return calls


def test_points_are_kept_and_another_encoder_is_another_point(
    generator: Path, measured: list, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    owner = load_generator(generator).hash
    save_encoder(generator.with_name("e.safetensors"), LeanEncoder(32, 8, channels=[4, 4, 4]), owner, {})
    words = ["--quick", "--generator", str(generator), "--out", str(tmp_path / "out.json")]
    sheet = [("encoder", 0, 2), ("encoder", 1, 2), ("mean", 2, 2)]
    inversion.main(words)
    assert measured == [("encoder", 0, 3), ("encoder", 1, 3), ("mean", 1, 3), ("mean", 2, 3), *sheet]
    first = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert first["psnr_encoder"] == first["rows"][0]["psnr"]
    assert json.loads((tmp_path / "out.json").read_text())["rows"] == first["rows"]
    assert Image.open(tmp_path / "out.png").size == (900, 340)
    assert Image.open(tmp_path / "out-sheet.png").width > 500

    measured.clear()
    inversion.main(words)  # all points are there
    assert measured == sheet
    assert json.loads(capsys.readouterr().out.strip().splitlines()[-1])["rows"] == first["rows"]

    measured.clear()
    other = WPlusEncoder(32, 8, 8, width=4, hidden=4)
    path = save_encoder(tmp_path / "other.safetensors", other, owner, {})
    inversion.main([*words, "--encoder", str(path)])  # the points from the mean know nothing of an encoder
    assert measured == [("encoder", 0, 3), ("encoder", 1, 3), *sheet]
    second = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert second["encoder_hash"] != first["encoder_hash"]
    assert second["rows"][0]["psnr"] != first["rows"][0]["psnr"]
    assert second["rows"][2:] == first["rows"][2:]


def test_an_interrupted_run_goes_on(generator: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = inversion.argparse.Namespace(generator=generator, encoder=None, device="cpu")
    save_encoder(generator.with_name("e.safetensors"), LeanEncoder(32, 8, channels=[4, 4, 4]),
                 load_generator(generator).hash, {})  # fmt: skip
    bench = inversion.prepare(arguments, 3)
    kept = inversion.Partial(tmp_path / "points.json", bench, "cpu")
    point = kept.measure(bench, "mean", 1)
    monkeypatch.setattr(inversion.Bench, "invert", None)
    assert inversion.Partial(tmp_path / "points.json", bench, "cpu").measure(bench, "mean", 1) == point
    fewer = replace(bench, images=bench.images[:2])
    with pytest.raises(TypeError):  # other images: to be measured
        inversion.Partial(tmp_path / "points.json", fewer, "cpu").measure(fewer, "mean", 1)


def test_without_an_encoder_it_says_what_to_do(generator: Path) -> None:
    with pytest.raises(GanvasError, match=r"train one, .* or name its file with --encoder"):
        inversion.main(["--quick", "--generator", str(generator)])
