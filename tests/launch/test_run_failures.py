"""What goes wrong in the middle of a run: one sentence, the last good checkpoint stays, no half-made bundle."""

from __future__ import annotations

import errno
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from launch import cli
from networks.checkpoints.bundle import read_bundle
from tests.launch.conftest import Train, same_weights
from trainers import segmentation_default, segmentation_original
from trainers.segmentation import HeadTrainer

Spoil = Callable[[torch.Tensor], torch.Tensor]


@pytest.fixture
def in_step_three(monkeypatch: pytest.MonkeyPatch) -> Callable[[Spoil], None]:
    """``in_step_three(change)`` puts ``change(loss)`` in the place of that step's loss."""

    def spoil(change: Spoil) -> None:
        steps: list[int] = []

        def take(self: HeadTrainer, step: int, *arguments: Any) -> float:
            steps.append(step)
            return original_step(self, step, *arguments)

        def loss(*arguments: Any) -> torch.Tensor:
            return change(original_loss(*arguments)) if steps[-1] == 3 else original_loss(*arguments)

        original_step, original_loss = HeadTrainer.take, segmentation_default.segmentation_loss
        monkeypatch.setattr(HeadTrainer, "take", take)
        monkeypatch.setattr(HeadTrainer, "TOGETHER", 1)  # so that there is a checkpoint of every step
        monkeypatch.setattr(segmentation_default, "segmentation_loss", loss)

    return spoil


def checkpoint(run: Path) -> dict[str, Any]:
    """The one checkpoint of a run that is not done."""
    assert [file.name for file in (run / "checkpoints").iterdir()] == ["last.ckpt"]
    assert list((run / "export").iterdir()) == []
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)


def all_finite(found: dict[str, Any]) -> bool:
    return all(bool(torch.isfinite(value).all()) for value in found["state_dict"].values())


def test_a_loss_that_is_not_a_number_stops_with_step_and_images_and_keeps_the_checkpoint(
    train_folder: Train, in_step_three: Callable[[Spoil], None], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    in_step_three(lambda loss: loss * float("nan"))
    assert train_folder("task.save_every=0") == cli.REFUSED
    error = capsys.readouterr().err
    assert re.search(r"ganvas: the loss is not a number at step 3 \(images [abcd]\): lower task.training.learning_rate",
                     error)  # fmt: skip
    assert " or look at these images, in a new out= " in error
    assert f"; {tmp_path / 'run' / 'checkpoints'} holds the last good state." in error
    found = checkpoint(tmp_path / "run")
    assert found["state_dict"]["clock"] == 3
    assert all_finite(found)

    monkeypatch.undo()
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "cache"))
    assert train_folder("task.save_every=0") == cli.OK
    assert train_folder("task.save_every=0", f"out={tmp_path / 'whole'}") == cli.OK
    one, other = (read_bundle(tmp_path / run / "export" / "segmentation.safetensors") for run in ("run", "whole"))
    assert same_weights(one, other)


def test_the_original_recipe_is_not_told_to_change_a_rate_that_it_does_not_take(
    train_folder: Train, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spoilt = lambda logits, *_, **__: logits.sum(1) * float("nan")  # noqa: E731
    monkeypatch.setattr(segmentation_original, "cross_entropy", spoilt)
    words = "task/head=reference", "task.training.recipe=original"
    assert train_folder(*words, drop=["task.head.width", "task.head.hidden"]) == cli.REFUSED
    error = capsys.readouterr().err
    assert "at step 0, before the first checkpoint: change the recipe, and run the command again." in error


def test_a_checkpoint_never_holds_weights_that_are_not_numbers(
    train_folder: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The fourth step's loss is a number, and its update is not.
    rate = lambda step, total: math.inf if step == 3 else 1e-3  # noqa: E731
    monkeypatch.setattr(segmentation_default, "warm_up_then_cosine", rate)
    monkeypatch.setattr(HeadTrainer, "TOGETHER", 1)
    assert train_folder("task.save_every=0") == cli.REFUSED
    for file in (tmp_path / "run" / "checkpoints").iterdir():
        assert all_finite(torch.load(file, weights_only=True))


@pytest.mark.parametrize(
    "failure", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 PB")]
)
def test_out_of_memory_names_what_lowers_it_and_keeps_the_checkpoint(
    train_folder: Train, in_step_three: Callable[[Spoil], None], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch, failure: Exception,
) -> None:  # fmt: skip
    def fail(_: torch.Tensor) -> torch.Tensor:
        raise failure

    in_step_three(fail)
    assert train_folder("task.save_every=0") == cli.REFUSED
    error = capsys.readouterr().err
    assert "ganvas: out of memory: lower task.training.tile below 16 and run `ganvas train " in error
    assert "again, which goes on from the last checkpoint; a new run may lower task.head.members too." in error
    assert checkpoint(tmp_path / "run")["state_dict"]["clock"] == 3
    monkeypatch.undo()
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "cache"))
    assert train_folder("task.save_every=0", "task.training.tile=8", "task.inversion.batch=2") == cli.OK


@pytest.mark.parametrize(
    "failure",
    [
        OSError(errno.ENOSPC, "No space left on device", "last.ckpt"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        RuntimeError("I/O error: No space left on device (os error 28)"),  # as safetensors says it
    ],
)
def test_a_full_disk_is_one_sentence_and_the_checkpoint_stays(
    train_folder: Train, in_step_three: Callable[[Spoil], None], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch, failure: Exception,
) -> None:  # fmt: skip
    def fail(_: torch.Tensor) -> torch.Tensor:
        raise failure

    in_step_three(fail)
    assert train_folder("task.save_every=0") == cli.REFUSED
    error = capsys.readouterr().err
    assert f"ganvas: the disk is full ({failure}): free some space and run `ganvas train " in error
    assert "which goes on from the last checkpoint." in error
    assert checkpoint(tmp_path / "run")["state_dict"]["clock"] == 3


@pytest.mark.parametrize(
    ("failure", "says"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "): free some space and run the command again."),
        (MemoryError(), "out of memory: lower task.training.tile below 16 or task.head.members and run the command "),
        (ZeroDivisionError("one"), "ZeroDivisionError: one"),
        (None, "before the first checkpoint: lower task.training.learning_rate or look at these images, and run the "),
    ],
)
def test_what_fails_before_the_first_checkpoint_leaves_nothing(
    train_folder: Train, in_step_three: Callable[[Spoil], None], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    failure: Exception | None, says: str,
) -> None:  # fmt: skip
    def fail(loss: torch.Tensor) -> torch.Tensor:
        if failure is None:
            return loss * float("inf")
        raise failure

    in_step_three(fail)
    assert train_folder("wandb=offline") == (cli.FAILED if isinstance(failure, ZeroDivisionError) else cli.REFUSED)
    error = capsys.readouterr().err
    assert says in error
    assert "last" not in error
    assert not (tmp_path / "run").exists()


def test_a_head_too_large_for_the_memory_names_what_makes_it_smaller(
    train_folder: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("launch.train_segmentation.head_for", fail)
    assert train_folder() == cli.REFUSED
    assert "out of memory: lower task.head.members and run the command again." in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
