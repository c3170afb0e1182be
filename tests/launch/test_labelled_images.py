"""Held-out images of a folder: scored, never learnt from, and the same for every draw of labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datamodules.folder import read_folder
from datamodules.masks import LabelledImages
from launch import cli
from launch.compose import compose
from launch.figures import read_figures
from launch.labelled_images import split
from networks.checkpoints.classes import ClassList
from tests.launch.conftest import Refused, Train

NAMES = tuple(f"{i:02d}" for i in range(10))
FOLDER = LabelledImages(
    np.zeros((10, 3, 8, 8), np.uint8), np.zeros((10, 8, 8), np.uint8), NAMES, ClassList(("a",), ((0, 0, 0),))
)  # fmt: skip


def divided(labels: int, heldout: int = 4, seed: int = 0) -> tuple[tuple[str, ...], tuple[str, ...]]:
    words = [f"task.labels={labels}", f"task.label_seed={seed}", f"data.heldout={heldout}", "images=photos"]
    first, second = split(compose("train", ["experiment=segmentation/folder", *words]), FOLDER)
    return first.names, () if second is None else second.names


def test_the_held_out_images_are_the_same_for_every_draw_and_draws_are_nested() -> None:
    few, heldout = divided(2)
    many, again = divided(6)
    assert heldout == again == ("00", "02", "05", "07")
    assert many[:2] == few
    assert {*many} | {*heldout} == {*NAMES}
    assert divided(2, seed=1)[0] != few
    assert divided(2, seed=1)[1] == heldout


def test_without_any_a_folder_gives_all_it_has() -> None:
    assert divided(2, heldout=0) == (NAMES, ())


def test_a_branch_is_scored_on_what_is_held_out(train_folder: Train, folder: Path, tmp_path: Path) -> None:
    assert train_folder("data.heldout=2", "task.labels=2", "task.curve=[1]") == cli.OK
    figures = read_figures(tmp_path / "run").figures
    protocol = figures["mIoU"].protocol
    assert (protocol.data, protocol.split, protocol.images) == (
        f"images of {folder / 'images'}", "held out evenly by name", 2,
    )  # fmt: skip
    assert protocol.how == "inverted in 2 steps"
    assert figures["mIoU_1"].protocol == protocol
    assert figures["train_seconds"].protocol.images == 2
    assert len(read_folder(folder / "images")) == 4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["data.heldout=3", "task.labels=2"], "data.heldout=3 and task.labels=2 ask for 5 labelled images, and "),
        (["data.heldout=2"], "data.heldout=2 and task.labels=16 ask for 18 labelled images"),
        (["data.heldout=-1", "task.labels=1"], "data.heldout=-1 and task.labels=1 ask for 0"),
        (["task.curve=[1,2]"], "task.curve needs held-out images: give data.heldout=N for a folder"),
    ],
)
def test_what_cannot_be_divided_is_one_sentence(words: list[str], said: str, refused: Refused) -> None:
    assert said in refused(*words)


def test_nothing_is_held_out_from_a_generator(folder: Path, tmp_path: Path, capsys) -> None:
    words = ["experiment=stylegan2/folder", f"images={folder / 'images'}", "data.heldout=2", f"out={tmp_path / 'run'}"]
    assert cli.main(["train", *words, "wandb=disabled"]) == cli.REFUSED
    said = "data.heldout is for segmentation, not for generators and encoders: leave it out."
    assert said in capsys.readouterr().err
