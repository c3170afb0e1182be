"""``ganvas synthesize``: what it writes, that it goes on, and that several processes share the work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.shards import SynthesizedFolder
from editors import load
from launch import cli
from launch.figures import read_figures
from tests.launch.conftest import AvatarRun


@pytest.fixture(autouse=True)
def cache(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(shared_cache))
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def synthesize(avatar_run: AvatarRun, tmp_path: Path):
    """``synthesize(*words) -> exit status``: twelve images in shards of four, into ``tmp_path / "out"``."""
    def run(*words: str) -> int:
        chosen = {"segmentation": avatar_run.bundle, "n": 12, "shard": 4, "out": tmp_path / "out"}
        chosen |= dict(word.split("=", 1) for word in words)
        return cli.main(["synthesize", *(f"{key}={value}" for key, value in chosen.items())])

    return run


def read(path: Path) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    found = SynthesizedFolder.open(path).read()
    return np.array(found.images), np.array(found.masks), found.names


def test_images_have_the_masks_of_the_branch(
    synthesize, avatar_run: AvatarRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert synthesize("drop=0") == cli.OK
    assert "images: 12\ndropped: 0\n" in capsys.readouterr().out
    images, masks, names = read(tmp_path / "out")
    editor = load(avatar_run.bundle)
    seen = editor.segment(editor.generator.sample(12, seed=0))
    assert names[-1] == "00000011"
    assert (masks == seen.mask.numpy()).mean() > 0.999
    assert np.abs(images / 127.5 - 1 - seen.image.numpy()).max() < 0.02
    report = (tmp_path / "out" / "report.md").read_text()
    assert "No image was dropped." in report
    assert "| skin |" in report
    for picture in ("sheet", "uncertainty"):
        assert Image.open(tmp_path / "out" / "images" / f"{picture}.png").width > 400
    assert not (tmp_path / "out" / "images" / "dropped.png").exists()
    kept = read_figures(tmp_path / "out")
    assert kept.verb == "synthesize"
    assert kept.figures["images"].protocol.images == 12


def test_the_most_uncertain_are_dropped_and_ignored(synthesize, tmp_path: Path) -> None:
    assert synthesize("drop=0.5", "ignore=0.1", "n=40") == cli.OK
    folder = SynthesizedFolder.open(tmp_path / "out")
    index, limit = folder.index(), folder.plan["thresholds"]["image"]
    kept, unsure = index["kept"], index["uncertainty"]
    assert 8 <= kept.sum() <= 32  # about half; the limit is that of other samples
    assert unsure[kept].max() <= limit + 1e-5
    assert unsure[~kept].min() >= limit - 1e-5
    _, masks, _ = read(tmp_path / "out")
    assert 0 < (masks == 255).mean() < 0.12  # the images that were dropped had more than their share
    assert (tmp_path / "out" / "images" / "dropped.png").exists()


def test_an_interrupted_synthesis_goes_on_and_ends_the_same(
    synthesize, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert synthesize(f"out={tmp_path / 'whole'}") == cli.OK
    write = SynthesizedFolder.write

    def interrupted(self: SynthesizedFolder, shard: int, drawn: object) -> None:
        if shard == 1:
            raise KeyboardInterrupt
        write(self, shard, drawn)

    monkeypatch.setattr(SynthesizedFolder, "write", interrupted)
    assert synthesize() == cli.INTERRUPTED
    assert not (tmp_path / "out" / "figures.json").exists()
    monkeypatch.setattr(SynthesizedFolder, "write", write)
    first = (tmp_path / "out" / "shard-00000.tar").stat().st_mtime_ns
    capsys.readouterr()
    assert synthesize() == cli.OK
    assert "say what is too uncertain" not in capsys.readouterr().out  # that is known already
    assert (tmp_path / "out" / "shard-00000.tar").stat().st_mtime_ns == first
    whole, halves = read(tmp_path / "whole"), read(tmp_path / "out")
    assert all(np.array_equal(a, b) for a, b in zip(whole, halves, strict=True))


def test_several_processes_share_the_shards_and_the_last_reports(
    synthesize, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert synthesize("rank=1", "world=2") == cli.OK
    assert "shards done here: 1; 2 of 3 are left to other processes" in capsys.readouterr().out
    assert not (tmp_path / "out" / "report.md").exists()
    monkeypatch.setenv("RANK", "0")  # as torchrun says it
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert synthesize() == cli.OK
    assert (tmp_path / "out" / "report.md").exists()
    assert synthesize("rank=0", "world=1", f"out={tmp_path / 'alone'}") == cli.OK
    assert all(np.array_equal(a, b) for a, b in zip(read(tmp_path / "out"), read(tmp_path / "alone"), strict=True))


def test_a_finished_synthesis_is_reported_again_and_grows(synthesize, tmp_path: Path) -> None:
    assert synthesize("drop=0") == cli.OK
    assert synthesize("drop=0") == cli.OK
    assert synthesize("drop=0", "n=14") == cli.OK
    assert read(tmp_path / "out")[2][-1] == "00000013"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["n=0"], "n=0 must be at least 1"),
        (["drop=1"], "drop=1.0 is a share: give a number from 0 to below 1"),
        (["truncation=inf"], "truncation=inf must be finite"),
        (["ignore=nan"], "ignore=nan is a share"),
        (["layout=zip"], "layout=zip is not known: choose tar or png"),
        (["rank=2", "world=2"], "rank=2 of world=2 is no place"),
        (["device=cuda"], "torch sees no GPU here"),
        (["segmentation=zoo/avatars64.safetensors"], "is a generator: give the bundle of a branch"),
        (["segmentation=nowhere.safetensors"], "there is no file nowhere.safetensors"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    synthesize, words: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert synthesize(*words) == cli.REFUSED
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("ganvas: ") == 1
    assert not (tmp_path / "out").exists()


def test_other_options_are_another_synthesis(synthesize, capsys: pytest.CaptureFixture[str]) -> None:
    assert synthesize() == cli.OK
    assert synthesize("seed=1") == cli.REFUSED
    assert "holds a synthesis with seed=0, and this one has seed=1" in capsys.readouterr().err


def test_one_member_has_nobody_to_disagree_with(
    train_folder, synthesize, tiny_generator: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train_folder("task.head.members=1") == cli.OK
    branch = tmp_path / "run" / "export" / "segmentation.safetensors"
    words = [f"segmentation={branch}", f"generator={tiny_generator}"]
    assert synthesize(*words) == cli.REFUSED
    assert "has one member, which nobody disagrees with: give drop=0 and ignore=0" in capsys.readouterr().err
    assert synthesize(*words, "drop=0", "layout=png") == cli.OK
    assert len(read(tmp_path / "out")[2]) == 12
