"""``ganvas train``: the record around whatever a task's training function does."""

from __future__ import annotations

import importlib.machinery
import sys
import types
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from launch import cli
from launch.figures import Figure, Protocol
from launch.record import read_metrics
from networks.checkpoints.errors import GanvasError

PROTOCOL = Protocol("toys", "held out", 1)


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., int]:
    """Runs ``ganvas train`` with a training function in place of a task's."""

    def run(function: Callable[..., dict[str, Figure]], *words: str) -> int:
        module = types.ModuleType("launch.train_toy")
        module.__spec__ = importlib.machinery.ModuleSpec(module.__name__, loader=None)
        module.train = function
        monkeypatch.setitem(sys.modules, "launch.train_toy", module)
        return cli.main(["train", "task.name=toy", f"out={tmp_path / 'run'}", "wandb=disabled", *words])

    return run


def test_prints_figures_report_and_bundle_last(
    train: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def learn(cfg, record):
        print("working")
        (record.export / "toy.safetensors").touch()
        return {"mIoU": Figure(0.75, PROTOCOL)}

    assert train(learn) == cli.OK
    run = tmp_path / "run"
    assert capsys.readouterr().out.splitlines() == [
        "working", "mIoU: 0.75", f"report: {run / 'report.md'}", f"bundle: {run / 'export' / 'toy.safetensors'}"
    ]  # fmt: skip


def test_ctrl_c_says_how_to_resume_and_resuming_goes_on(
    train: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(cfg, record):
        record.log({"loss": 1.0}, 1)
        raise KeyboardInterrupt

    def go_on(cfg, record):
        assert record.resumed
        record.log({"loss": 0.5}, 2)
        return {"loss": Figure(0.5, PROTOCOL)}

    assert train(stop, "seed=3") == cli.INTERRUPTED
    assert f"stopped; `ganvas train task.name=toy wandb=disabled seed=3 out={tmp_path / 'run'}` resumes it." in (
        capsys.readouterr().err
    )
    assert train(go_on, "seed=3") == cli.OK
    assert [line["step"] for line in read_metrics(tmp_path / "run" / "metrics.jsonl")] == [1, 2]


class Interrupting(pl.LightningModule):
    """A module that somebody stops with Ctrl-C."""

    def training_step(self, batch):
        raise KeyboardInterrupt

    def configure_optimizers(self):
        return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 0.1)


def test_ctrl_c_inside_lightning_is_understood_too(
    train: Callable[..., int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signal.signal", lambda *_: None)  # Lightning would leave Ctrl-C ignored for the other tests

    def fit(cfg, record):
        trainer = pl.Trainer(max_steps=1, accelerator="cpu", logger=False, enable_checkpointing=False)
        trainer.fit(Interrupting(), DataLoader([0]))

    assert train(fit) == cli.INTERRUPTED
    assert "resumes it." in capsys.readouterr().err


def test_an_exit_that_nobody_asked_for_stays_an_exit(train: Callable[..., int]) -> None:
    def leave(cfg, record):
        sys.exit(7)

    with pytest.raises(SystemExit) as stop:
        train(leave)
    assert stop.value.code == 7


@pytest.mark.parametrize("error", [GanvasError("no"), RuntimeError("no"), SystemExit(3)])
def test_a_run_that_fails_before_it_begins_leaves_nothing(
    train: Callable[..., int], tmp_path: Path, error: BaseException
) -> None:
    def fail(cfg, record):
        record.log({"loss": 1.0}, 1)
        (record.checkpoints / ".last.ckpt.x.part").touch()
        raise error

    with pytest.raises(SystemExit) if isinstance(error, SystemExit) else nullcontext():
        assert train(fail, f"out={tmp_path / 'new' / 'run'}") in (cli.FAILED, cli.REFUSED)
    assert not (tmp_path / "new").exists()


def test_a_stopped_run_that_had_not_begun_makes_way_too(train: Callable[..., int], tmp_path: Path) -> None:
    def stop(cfg, record):
        raise KeyboardInterrupt

    def fail(cfg, record):
        raise GanvasError("no")

    assert train(stop, "seed=1") == cli.INTERRUPTED
    assert train(fail, "seed=1") == cli.REFUSED
    assert train(lambda cfg, record: {"loss": Figure(0.5, PROTOCOL)}, "seed=2") == cli.OK


@pytest.mark.parametrize("kept", ["checkpoints/last.ckpt", "export/a.safetensors", "thesis.txt", "images/mine.png"])
def test_what_a_failed_run_had_made_stays(train: Callable[..., int], tmp_path: Path, kept: str) -> None:
    def fail(cfg, record):
        (record.path / kept).touch()
        raise GanvasError("no")

    assert train(fail) == cli.REFUSED
    assert (tmp_path / "run" / kept).exists()
    assert (tmp_path / "run" / "config.yaml").exists()


def test_an_empty_folder_that_was_there_stays(train: Callable[..., int], tmp_path: Path) -> None:
    def fail(cfg, record):
        raise GanvasError("no")

    (tmp_path / "run").mkdir()
    assert train(fail) == cli.REFUSED
    assert list((tmp_path / "run").iterdir()) == []


def test_another_seed_in_the_same_directory_is_refused(
    train: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    train(lambda cfg, record: {"loss": Figure(0.5, PROTOCOL)}, "seed=1")
    assert train(lambda cfg, record: {"loss": Figure(0.5, PROTOCOL)}, "seed=2") == cli.REFUSED
    assert "holds a run with seed=1 and this one has seed=2" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there(train: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(lambda cfg, record: {"loss": Figure(0.5, PROTOCOL)}, "trainer=gpu") == cli.REFUSED
    assert "use trainer=cpu" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_task_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "task.name=painting"]) == cli.REFUSED
    assert "there is no task `painting`" in capsys.readouterr().err
