"""``ganvas train experiment=segmentation/…`` end to end: figures, bundle, repetition, resumption, W&B."""

from __future__ import annotations

import shutil
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from editors import load
from launch import cli
from launch.record import read_metrics
from launch.schemas_segmentation import HeadTrainingConfig
from networks.checkpoints.bundle import Bundle, read_bundle
from networks.checkpoints.generators import load_generator
from tests.launch.conftest import AvatarRun, same_weights
from trainers.segmentation import SegmentationSettings


def bundle(run: Path) -> Bundle:
    return read_bundle(run / "export" / "segmentation.safetensors")


def figures(printed: list[str]) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in printed if ": " in line)


def test_the_last_lines_are_figures_report_and_bundle(avatar_run: AvatarRun) -> None:
    assert avatar_run.printed[-2:] == [f"report: {avatar_run.path / 'report.md'}", f"bundle: {avatar_run.bundle}"]
    found = figures(avatar_run.printed)
    assert found["n"] == "4"
    for name in ("mIoU", "mIoU_datasetgan_rule", "pixel_accuracy", "mIoU_generated", "mIoU_kfold", "mIoU_1", "mIoU_2"):
        assert 0 <= float(found[name]) <= 1
    assert found["mIoU_4"] == found["mIoU"]
    assert found["mIoU_teacher"] == "0.5"  # what its bundle says
    assert float(found["train_seconds"]) > 0


def test_it_says_how_well_images_were_inverted(avatar_run: AvatarRun) -> None:
    for what in ("labelled", "held-out"):
        assert sum(line.startswith(f"{what}: PSNR ") for line in avatar_run.printed) == 1


def test_stdout_is_figures_and_a_few_words_of_our_own(avatar_run: AvatarRun) -> None:
    words = [line for line in avatar_run.printed if ": " not in line]
    assert words == [
        "inverting 4 labelled images", "inverting 4 held-out images",
        "training on 1 of the 4 labelled images", "training on 2 of the 4 labelled images",
    ]  # fmt: skip
    assert figures(avatar_run.printed).keys() == {
        "labelled", "held-out", "mIoU", "n", "mIoU_datasetgan_rule", "pixel_accuracy", "ece", "aurc", "mIoU_generated",
        "mIoU_teacher", "mIoU_kfold", "mIoU_1", "mIoU_2", "mIoU_4", "train_seconds", "report", "bundle",
    }  # fmt: skip


def test_the_record_ends_with_the_figures(avatar_run: AvatarRun) -> None:
    last = list(read_metrics(avatar_run.path / "metrics.jsonl"))[-1]
    assert last["mIoU"] == pytest.approx(float(figures(avatar_run.printed)["mIoU"]), abs=1e-3)
    assert last["step"] > 0


def test_the_bundle_says_what_it_is(avatar_run: AvatarRun) -> None:
    manifest = bundle(avatar_run.path).manifest
    found = figures(avatar_run.printed)
    assert manifest["metrics"]["mIoU"] == pytest.approx(float(found["mIoU"]), abs=1e-3)
    assert "train_seconds" not in manifest["metrics"]
    assert manifest["trained_on"]["labels"] == 4
    assert manifest["command"].startswith("ganvas train ")
    assert set(manifest["protocol"]) == {
        "inverted held-out images", "generated images", "k-fold on the labels"
    }  # fmt: skip


def test_a_bundle_with_its_generator_is_enough(avatar_run: AvatarRun, tmp_path: Path) -> None:
    alone = shutil.copy(avatar_run.bundle, tmp_path / "alone.safetensors")
    editor = load(alone)
    found = editor.segment(editor.generator.sample(2, seed=0))
    assert found.mask.shape == (2, 32, 32)
    assert editor.classes.names[0] == "background"


def test_wandb_has_scalars_pictures_masks_configuration_and_bundle(avatar_run: AvatarRun) -> None:
    (run,) = (avatar_run.path / "wandb").glob("offline-run-*")
    (log,) = run.glob("*.wandb")
    words = (b"loss", b"mIoU", b"label_seed", b"segmentation.safetensors", b"facial hair", b"tables/IoU")
    until = time.monotonic() + 20
    while not all(word in log.read_bytes() for word in words):
        assert time.monotonic() < until, "W&B's service writes on its own, but not for so long"
        time.sleep(0.1)
    media = run / "files" / "media" / "images"
    sheets = {file.name.rpartition("_")[0].rpartition("_")[0] for file in (media / "images").glob("*.png")}
    assert {"labelled", "inverted-held-out-images", "generated-images", "samples", "classes-iou"} <= sheets
    masks = list((media / "mask").rglob("*.mask.png"))
    sets = Counter(file.name.rsplit("_", 2)[0] for file in masks)
    assert 0 < sets.pop("samples") <= 12  # equal masks share a file, and this head is hardly trained
    evaluations = dict.fromkeys(("inverted-held-out-images", "generated-images", "k-fold-on-the-labels"), 2 * 4)
    assert sets == evaluations | {"labelled": 4}  # of evaluations: truth and branch
    for file in masks:
        assert set(np.unique(np.asarray(Image.open(file)))) <= {*range(11), 255}


def test_the_same_seed_gives_the_same_branch(train_folder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = []
    for name, seed in (("one", 3), ("two", 3), ("three", 4)):
        assert train_folder(f"out={tmp_path / name}", f"seed={seed}", "task.folds=2") == cli.OK
        said.append(figures(capsys.readouterr().out.splitlines())["mIoU"])
    assert said[0] == said[1]
    one, two, three = (bundle(tmp_path / name) for name in ("one", "two", "three"))
    assert same_weights(one, two)
    assert not same_weights(one, three)


def test_a_run_opened_again_ends_the_same(train_folder, tmp_path: Path) -> None:
    assert train_folder() == cli.OK
    first = bundle(tmp_path / "run")
    assert train_folder() == cli.OK
    assert same_weights(first, bundle(tmp_path / "run"))


@pytest.mark.parametrize("words", [["task/head=linear"], ["task/head=reference", "task.training.recipe=original"]])
def test_other_heads_and_recipes_run_too(train_folder, folder: Path, tmp_path: Path, words: list[str]) -> None:
    for file in (folder / "masks").glob("*.png"):  # 16 labelled pixels each: an epoch of the original is one step
        ids = np.full((32, 32), 255, np.uint8)
        ids[14:18, 14:18] = np.asarray(Image.open(file))[14:18, 14:18]
        Image.fromarray(ids).save(file)
    assert train_folder(*words, drop=["task.head.width", "task.head.hidden"]) == cli.OK
    assert bundle(tmp_path / "run").manifest["config"]["head"] == words[0].partition("=")[2]


def test_a_failing_wandb_never_fails_a_run(
    train_folder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert train_folder("wandb=offline") == cli.OK
    assert capsys.readouterr().out.count("W&B logging stopped") == 1


def test_the_command_line_has_the_trainer_s_defaults() -> None:
    schema, settings = HeadTrainingConfig(), SegmentationSettings()
    assert {name: getattr(schema, name) for name in vars(settings) if name != "seed"} == {
        name: value for name, value in vars(settings).items() if name != "seed"
    }


def test_the_generator_stays_as_it_was(avatar_run: AvatarRun) -> None:
    assert bundle(avatar_run.path).manifest["generator"]["hash"] == load_generator(avatar_run.generator).hash
