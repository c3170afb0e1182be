"""``ganvas train experiment=segmenter/avatars`` leaves a record and a bundle, and goes on where it stopped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from launch.cli import main
from launch.figures import read_figures
from networks.segmenters import label_images, load_segmenter
from tests.launch.conftest import AvatarRun

TINY = [
    "experiment=segmenter/avatars", "data.count=16", "data.resolution=32", "n=6", "task.batch_size=4",
    "task.network.widths=[8,8]", "trainer.threads=1", "wandb=disabled",
]  # fmt: skip


@pytest.fixture(autouse=True)
def private_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))  # one for the whole file


def test_a_run_leaves_figures_report_and_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert main(["train", *TINY, "task.epochs=2", f"out={out}"]) == 0
    printed = capsys.readouterr().out
    assert "mIoU: " in printed
    network, manifest = load_segmenter(out / "export" / "segmenter.safetensors")
    assert label_images(network, torch.zeros(2, 3, 32, 32)).shape == (2, 32, 32)
    assert len(manifest["classes"]["names"]) == network.num_classes == 11
    assert manifest["metrics"]["protocol"].startswith("6 rendered avataaars (split heldout, seed 0) at 32x32")
    assert "avataaars by Pablo Stanley: Free for personal and commercial use" in manifest["licence"]
    assert (out / "images" / "heldout.png").exists()
    assert "| background |" in (out / "report.md").read_text()
    steps = [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert steps == [16, 32]


def test_the_same_folder_resumes_and_ends_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["train", *TINY, "task.epochs=2"]
    assert main([*words, f"out={tmp_path / 'whole'}"]) == 0

    from trainers.segmenter import SegmenterTrainer

    step = SegmenterTrainer.training_step

    def interrupted(self: SegmenterTrainer, batch: object, batch_idx: int) -> object:
        if self.current_epoch == 1 and batch_idx == 2:
            raise KeyboardInterrupt
        return step(self, batch, batch_idx)

    monkeypatch.setattr(SegmenterTrainer, "training_step", interrupted)
    assert main([*words, f"out={tmp_path / 'halves'}"]) == 130
    assert (tmp_path / "halves" / "checkpoints" / "last.ckpt").exists()
    monkeypatch.setattr(SegmenterTrainer, "training_step", step)
    assert main([*words, f"out={tmp_path / 'halves'}"]) == 0

    whole, _ = load_segmenter(tmp_path / "whole" / "export" / "segmenter.safetensors")
    halves, _ = load_segmenter(tmp_path / "halves" / "export" / "segmenter.safetensors")
    for name, value in whole.state_dict().items():
        # Not bit by bit: how a batch happens to lie in memory changes the order of a vectorised sum.
        torch.testing.assert_close(halves.state_dict()[name], value, rtol=1e-3, atol=1e-6)
    lines = [(tmp_path / run / "metrics.jsonl").read_text().splitlines() for run in ("whole", "halves")]
    steps = [[json.loads(line)["step"] for line in run] for run in lines]
    assert steps[0] == steps[1] == [16, 32]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["task=segmenter", "wandb=disabled"], "give data=avatars, styles, rooms or scenes, data=folder images="),
        (["task=segmenter", "data=folder", "wandb=disabled"], "data=folder needs images=DIR and masks=DIR"),
        (["experiment=segmenter/distill", "wandb=disabled"], "data=synthesized needs data.folder=DIR"),
        (["experiment=segmenter/distill", "data.folder=/no", "wandb=disabled"], "was not written by `ganvas "),
        ([*TINY, "data.count=2"], "data.count=2 is less than a batch"),
        ([*TINY, "task.labels=2"], "data.count=2 is less than a batch"),
        ([*TINY, "task.drawn=[moustache]"], "there is no class 'moustache'"),
        ([*TINY, "task.epochs=0"], "task.epochs=0 must be at least 1"),
        ([*TINY, "task.network.widths=[12]"], "widths must be multiples of 8"),
        ([*TINY, "data.resolution=30"], "data.resolution=30 must be a multiple of 4"),
    ],
)
def test_what_does_not_fit_is_one_sentence(
    words: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *words, f"out={tmp_path / 'run'}"]) == 2
    assert sentence in capsys.readouterr().err


# --- what a branch labelled


DISTILL = [
    "experiment=segmenter/distill", "task/network=unet", "task.network.widths=[8,8]", "task.batch_size=4",
    "task.epochs=1", "task.least_steps=0", "trainer.threads=1", "wandb=disabled",
]  # fmt: skip


def test_a_network_learns_from_a_branch_and_stands_beside_it(
    synthesized: Path, avatar_run: AvatarRun, shared_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(shared_cache))
    out = tmp_path / "run"
    words = [f"data.folder={synthesized}", "data.test=avatars", "n=4", f"task.against={avatar_run.bundle}",
             "task.timed=2", "task.drawn=[skin,facial-hair]", f"out={out}"]  # fmt: skip
    assert main(["train", *DISTILL, *words]) == 0
    found = read_figures(out).figures
    assert {"mIoU", "mIoU_drawn", "mIoU_branch", "mIoU_branch_drawn", "speedup"} < found.keys()
    assert found["mIoU"].protocol.images == found["mIoU_branch"].protocol.images == 4
    assert found["speedup"].value == pytest.approx(
        found["seconds_per_image_branch"].value / found["seconds_per_image"].value
    )
    report = (out / "report.md").read_text()
    assert "trained on 20 images with masks (samples labelled by the branch" in report
    assert "the branch inverts each image first" in report
    for picture in ("heldout", "classes-iou", "reliability"):
        assert (out / "images" / f"{picture}.png").exists()
    manifest = load_segmenter(out / "export" / "segmenter.safetensors")[1]
    assert manifest["trained_on"]["images"] == 20
    assert manifest["licence"] == "that of the images that the generator and the branch learned from"


def test_without_a_truth_some_samples_are_held_out(synthesized: Path, tmp_path: Path) -> None:
    assert main(["train", *DISTILL, f"data.folder={synthesized}", f"out={tmp_path / 'run'}"]) == 0
    figure = read_figures(tmp_path / "run").figures["mIoU"]
    assert figure.protocol.images == 1
    assert "held out evenly; no truth" in figure.protocol.text


def test_a_folder_is_learned_from_and_is_a_truth(
    synthesized: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labelled = [f"images={folder / 'images'}", f"masks={folder / 'masks'}"]
    words = ["task.batch_size=2", *labelled, f"out={tmp_path / 'run'}"]
    assert main(["train", *DISTILL, *words, "data=folder", "data.heldout=2"]) == 0
    assert read_figures(tmp_path / "run").figures["mIoU"].protocol.images == 2
    other = ["train", *DISTILL, f"data.folder={synthesized}", *labelled, f"out={tmp_path / 'other'}"]
    assert main(other) == 2
    assert "the held-out masks have the classes ground, left, right, and the network learns" in capsys.readouterr().err


def test_few_images_are_seen_as_often_as_many(tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ["task.labels=4", "task.epochs=2", "task.least_steps=9", f"out={out}"]
    assert main(["train", *TINY, *words]) == 0
    steps = [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert steps == [20, 40]  # images: two epochs of five steps, each of all four
    assert "split labels, draw 0" in load_segmenter(out / "export" / "segmenter.safetensors")[1]["trained_on"]["data"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["task.labels=4"], "task.labels=4 counts images that people labelled"),
        (["data.test=cats"], "data.test=cats is not known: give avatars, or leave it out"),
        (["images=x"], "give both, or neither"),
        (["task.batch_size=64"], "the number of images, 19, is less than a batch"),
        (["task.against=zoo/avatars64.safetensors"], "is a generator: give the bundle of a branch"),
        (["task/network=library", "task.network.encoder=resnet7"], "with encoder=resnet7"),
    ],
)
def test_what_does_not_fit_synthesized_images(
    synthesized: Path, words: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = [word for word in DISTILL if "library" not in words[0] or "task.network.widths" not in word]
    assert main(["train", *kept, f"data.folder={synthesized}", *words, f"out={tmp_path / 'run'}"]) == 2
    assert sentence in capsys.readouterr().err
