"""The training benchmark: its arms take steps at tiny sizes, and a cycle is the sum of its batches."""

from __future__ import annotations

import doctest
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks import gan_setup, stylegan2_training
from benchmarks.gan_arms import ARMS, Laps, _images
from benchmarks.gan_setup import Setup, cycle_kinds, identical_words, official_arguments
from benchmarks.stylegan2_training import Measured, breakdown, figures, phases, rows
from launch.compose import compose
from launch.gan_training import build

TINY = replace(Setup().quick(), resolution=32, channel_base=128, channel_max=4, images=8, threads=1)
LEAN = ["task.discriminator.channels=[4,4,4]", "task.encoder.channels=[4,4,4]", "task.generator.z_dim=4",
        "task.generator.w_dim=4", "task.generator.channel_base=128", "task.generator.channel_max=4"]  # fmt: skip
CHECKOUT = os.environ.get("GANVAS_ADA")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.mark.parametrize("module", [gan_setup, stylegan2_training])
def test_the_formulas_hold(module) -> None:
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize(
    "arm",
    ["ours", "lean", pytest.param("official", marks=pytest.mark.skipif(
        CHECKOUT is None, reason="GANVAS_ADA names no checkout of stylegan2-ada-pytorch"))],
)  # fmt: skip
def test_an_arm_takes_as_many_batches_as_it_is_told(arm: str) -> None:
    said = []
    words = LEAN if arm == "lean" else []
    ARMS[arm](TINY, Laps("cpu", [1, 4], said.append), words, CHECKOUT and Path(CHECKOUT))
    assert [len(lap["seconds"]) for lap in said] == [1, 4]
    assert {"G forward", "D forward", "Adam"} <= said[1]["parts"].keys()
    parts = sum(said[1]["parts"][name] for name in ("G forward", "D forward", "Adam"))
    assert 0 < parts < sum(said[1]["seconds"])


def test_the_official_side_is_given_the_images_of_ours() -> None:
    images = _images(identical_words(TINY))
    assert (images.dtype, tuple(images.shape)) == (torch.uint8, (8, 3, 32, 32))
    assert images[torch.tensor([1, 0])].shape[0] == 2


def test_our_side_is_the_configuration_of_the_official_one() -> None:
    setup = replace(Setup(), images=8, channel_max=32)
    cfg = compose("train", identical_words(setup))
    module = build(cfg)
    theirs = official_arguments(setup)
    assert module.G.config["channel_base"] == theirs["generator"]["synthesis_kwargs"]["channel_base"] == 16384
    assert (module.G.z_dim, module.G.w_dim, module.G.config["mapping_layers"]) == (512, 512, 2)
    assert module.D.config["mbstd_group_size"] == 4
    assert (module.path_weight, module.path_interval, module.style_mixing, module.r1_interval) == (2, 4, 0.9, 16)
    assert module.r1_gamma == pytest.approx(0.0512)
    assert (cfg.task.batch_size, module.ema_halflife, module.ema_rampup) == (16, 5000, 0.05)


@pytest.mark.parametrize("first", [0, 1, 7])
def test_a_lap_of_16_batches_is_its_cycle_wherever_it_begins(first: int) -> None:
    seconds = [1.0 + (batch % 4 == 0) + 5.0 * (batch % 16 == 0) for batch in range(first, first + 16)]
    measured = Measured(first, paths=True, laps=[{"seconds": seconds}])
    assert measured.cycles(Setup()) == [pytest.approx(sum(seconds))]
    assert phases(measured.kinds(Setup(), 0), paths=True) == pytest.approx({"main": 1.0, "path": 1.0, "R1": 5.0})


def test_a_quick_lap_holds_every_kind_of_batch() -> None:
    quick = Setup().quick()
    assert {quick.kind(batch) for batch in range(1, 1 + quick.lap)} == cycle_kinds(paths=True).keys()


def measured(paths: bool, *scales: float) -> Measured:
    """Laps in which every batch takes as many seconds."""
    parts = {"G forward": 1.0, "D forward": 2.0, "Adam": 1.0}
    return Measured(1, paths, [{"seconds": [scale] * 16, "parts": parts, "peak_gb": 1.0} for scale in scales])


def test_the_results_are_printed_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    found = {"official": measured(True, 4.0), "ours": measured(True, 2.0), "lean": measured(False, 0.5)}
    monkeypatch.setattr(stylegan2_training, "measure", lambda *_: found)
    assert stylegan2_training.main(["--ada", str(tmp_path), "--out", str(tmp_path / "kept.json")]) == 0
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (printed["train_ratio_cpu"], printed["lean_ratio_cpu"]) == (2.0, 8.0)
    assert printed["phases"]["ours"]["main, s"] == 2.0
    assert json.loads((tmp_path / "kept.json").read_text()) == printed
    page = (tmp_path / "kept.md").read_text()
    assert "identical layers and loss, updates simultaneous" in page
    assert "| main, s |" in page
    assert str(tmp_path) not in page


def test_ratios_are_of_the_median_laps() -> None:
    found = {"official": measured(True, 4, 9, 4), "ours": measured(True, 2, 1, 2), "lean": measured(False, 0.5, 0.5, 1)}
    assert figures(found, Setup()) == {"train_ratio_cpu": 2.0, "lean_ratio_cpu": 8.0}
    assert figures({"ours": found["ours"]}, Setup())["train_ratio_cpu"] is None
    assert [row["images/s"] for row in rows(found, Setup())] == [4, 8, 32]
    assert breakdown(found, Setup())[2]["path, s"] is None


def test_a_worker_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho first >&2\necho 'no such option' >&2\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with stylegan2_training.Worker("ours", TINY, [], None) as worker, \
            pytest.raises(RuntimeError, match="the arm ours ended: no such option"):  # fmt: skip
        worker.lap(1)


def test_a_worker_trains_and_reports_its_memory() -> None:
    with stylegan2_training.Worker("ours", TINY, [], None) as worker:
        lap = worker.lap(2)
    assert len(lap["seconds"]) == 2
    assert 0.1 < lap["peak_gb"] < 10
    assert worker.process.returncode == 0


def test_the_command_says_nothing_of_this_machine(tmp_path: Path) -> None:
    words = ["--ada", str(tmp_path), "--quick", "--threads", "1", "--ours", "task.training.r1_gamma=1"]
    arguments = stylegan2_training.parse(words)
    assert stylegan2_training.command(arguments) == (
        "python benchmarks/stylegan2_training.py --device cpu --ada DIR --quick --threads 1 "
        "--ours task.training.r1_gamma=1"
    )
