"""``ganvas train experiment=segmenter/avatars`` leaves a record and a bundle, and goes on where it stopped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from launch.cli import main
from networks.segmenters import label_images, load_segmenter

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
        (["task=segmenter", "data=folder", "wandb=disabled"], "learns from rendered masks: give data=avatars"),
        ([*TINY, "data.count=2"], "data.count=2 is less than a batch"),
        ([*TINY, "data.resolution=30"], "data.resolution=30 must be a multiple of 4"),
    ],
)
def test_what_does_not_fit_is_one_sentence(
    words: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *words, f"out={tmp_path / 'run'}"]) == 2
    assert sentence in capsys.readouterr().err
