"""``ganvas train experiment=clip/...`` leaves an encoder, what it knows of held-out avatars, and a picture."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from launch.cli import main
from launch.figures import read_figures
from networks.checkpoints.bundle import read_manifest
from networks.clip import load_clip

TINY = ["data.resolution=16", "n=24", "task.batch_size=8", "task.epochs=2", "task.network.width=8", "task.borrowed=2",
        "task.network.hidden=16", "trainer.threads=1", "wandb=disabled"]  # fmt: skip


@pytest.fixture(autouse=True)
def cache(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(shared_cache))


def test_a_run_leaves_an_encoder_and_what_it_knows(tmp_path: Path) -> None:
    assert main(["train", "experiment=clip/avatars64", "data.count=16", *TINY, f"out={tmp_path}"]) == 0
    figures = read_figures(tmp_path).figures
    path = tmp_path / "export" / "clip.safetensors"
    metrics = read_manifest(path)["metrics"]
    assert metrics["text_r1"] == figures["text_r1"].value
    assert set(metrics["by_attribute"]["glasses"]) == {"accuracy", "balanced", "majority", "images"}
    assert figures["accuracy glasses"].value == metrics["by_attribute"]["glasses"]["accuracy"]
    assert metrics["protocol"] == "24 rendered avataaars at 16x16 (split heldout, seed 0), 20 templates"
    assert "| eyes |" in (tmp_path / "report.md").read_text()
    assert (tmp_path / "images" / "texts.png").is_file()
    clip = load_clip(str(path))
    assert clip.encode_images(torch.zeros(2, 3, 16, 16)).shape == (2, 128)
    assert clip.encode_prompt("a bald man").shape == (128,)


@pytest.mark.parametrize(("words", "sentence"), [
    (["experiment=clip/avatars64", *TINY, "data.count=4"], "data.count=4 is less than a batch"),
    (["experiment=clip/avatars64", *TINY, "data.count=16", "data.style=micah"], "no words for the avatar style"),
    (["experiment=clip/avatars64", *TINY, "data.count=16", "task.written=1"], "everything and a short one"),
    (["task=clip", "data=folder"], "give data=avatars"),
])  # fmt: skip
def test_what_does_not_fit_is_one_sentence(words: list[str], sentence: str, tmp_path: Path, capsys) -> None:
    assert main(["train", *words, f"out={tmp_path / 'run'}"]) == 2
    assert sentence in capsys.readouterr().err
