"""The script that measures the framework's cost: its bare loops do the same steps, and a run that fails is said."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks import overhead, overhead_steps
from benchmarks.turns import Spent, Turns

TINY = [
    "data.count=16", "data.resolution=16", "task.generator.channel_max=8", "task.discriminator.channels=[4,4]",
    "task.batch_size=4", "task.training.r1_interval=2", "task.log_every=4", "wandb=disabled",
]  # fmt: skip


@pytest.fixture(autouse=True)
def cache(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(shared))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def test_a_bare_gan_ends_with_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overhead_steps, "GAN", [*overhead_steps.GAN, *TINY])
    row = overhead_steps.gan(turns=2, steps=3, folder=tmp_path)
    assert row["largest difference of the weights"] == 0.0
    assert (row["step"], row["steps"]) == ("GAN, 16x16, batch 4", 6)
    assert row["framework, cpu ms"] > 0
    lines = (tmp_path / "gan" / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 9  # of the framework's turns, the one that warms up included


@pytest.mark.parametrize("swap", [False, True])
def test_a_bare_branch_ends_with_the_same_weights(swap: bool, tmp_path: Path) -> None:
    row = overhead_steps.segmentation(turns=2, steps=32, folder=tmp_path, swap=swap)
    assert row["largest difference of the weights"] == 0.0
    assert row["bare, wall ms"] > 0


def test_the_overhead_is_the_median_of_the_turns_ratios() -> None:
    watch = Turns(lambda: None, steps=2, turns=3)
    watch.framework = [Spent(2.2, 1.0), Spent(4.2, 1.1), Spent(9.0, 1.02)]
    watch.loop = [Spent(2.0, 1.0), Spent(4.0, 1.0), Spent(3.0, 1.0)]  # the machine was busy in the last turn
    row = watch.row("a step", 0.0)
    assert row["overhead, wall %"] == pytest.approx(10)
    assert row["overhead, cpu %"] == pytest.approx(2)
    assert row["bare, wall ms"] == pytest.approx(1500)


def test_a_run_that_fails_before_its_first_step_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overhead, "START", ["experiment=no/such"])
    with pytest.raises(RuntimeError, match=r"before its first step, saying: ganvas: there is no experiment `no/such`"):
        overhead.first_step(tmp_path / "run")


def test_the_help_is_timed_with_what_it_computes() -> None:
    found = overhead.help_page(1)
    assert found["times"] == 1
    assert found["cpu s"] > 0
    assert overhead.cpu_of(os.getpid()) > 0
