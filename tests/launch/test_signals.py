"""Runs stopped from outside by real signals: one sentence, nothing half-written, and the same result later."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from _pytest.monkeypatch import MonkeyPatch

from launch import cli
from networks.checkpoints.bundle import Bundle, read_bundle
from tests.launch.conftest import folder_command, labelled_folder, same_weights

ROOT = Path(__file__).parents[2]
BAR = re.compile(r"[\w -]+: +\d+%\|.*\[\d\d:\d\d<.*(/s|s/\w+).*\]$")  # share, time left, rate
WORDS = ["task.save_every=0", "task.inversion.batch=2"]

# Sends itself a signal in the given call of a method, so that it always arrives at the same place.
STOPPED = """
import os, signal, sys
from launch.prepare import prepare
prepare()
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are born deaf to Ctrl-C
import {module} as module
original, calls = module.{owner}.{method}, []
def stop(self, *arguments):
    calls.append(1)
    if len(calls) == {call}:
        os.kill(os.getpid(), signal.{signal})
    return original(self, *arguments)
module.{owner}.{method} = stop
from launch.cli import main
sys.exit(main(sys.argv[1:]))
"""
TRAINING = {"module": "trainers.segmentation", "owner": "HeadTrainer", "method": "training_step", "call": 5}
INVERTING = {"module": "editors.invert", "owner": "_Problem", "method": "optimise", "call": 2}


@pytest.fixture(scope="module")
def place(tiny_generator: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with labelled images in it."""
    path = tmp_path_factory.mktemp("signals")
    labelled_folder(tiny_generator, path / "labelled")
    return path


@pytest.fixture(scope="module")
def whole(tiny_generator: Path, place: Path) -> Bundle:
    """What a run makes that nobody stops."""
    with MonkeyPatch.context() as patch:
        patch.setenv("GANVAS_CACHE", str(place / "cache"))
        assert cli.main(folder_command(tiny_generator, place / "labelled", place / "whole", WORDS)) == cli.OK
    return read_bundle(place / "whole" / "export" / "segmentation.safetensors")


@pytest.mark.parametrize(
    ("where", "signal", "status"),
    [
        (TRAINING, "SIGINT", cli.INTERRUPTED),
        (INVERTING, "SIGINT", cli.INTERRUPTED),
        (TRAINING, "SIGTERM", cli.TERMINATED),
        (TRAINING, "SIGKILL", -9),
    ],
    ids=["ctrl-c-training", "ctrl-c-inverting", "term-training", "kill-9-training"],
)
def test_what_was_stopped_goes_on_to_the_same_result(
    tiny_generator: Path, place: Path, whole: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    where: dict[str, object], signal: str, status: int,
) -> None:  # fmt: skip
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "cache"))  # its own: the other runs' inversions are not for it
    run = tmp_path / "run"
    command = folder_command(tiny_generator, place / "labelled", run, WORDS)
    stopped = subprocess.run(
        [sys.executable, "-c", STOPPED.format(**where, signal=signal), *command], cwd=ROOT,
        capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=300, check=False,
    )  # fmt: skip
    assert stopped.returncode == status, stopped.stderr
    said = [line for line in re.split(r"[\r\n]+", stopped.stderr) if line and not BAR.match(line)]
    if signal == "SIGKILL":
        assert said == []
    else:
        (sentence,) = said  # no warning and no advice of another package, and nothing below it
        assert sentence.startswith("ganvas: stopped; `ganvas train ")
        assert sentence.endswith(f"out={run}` resumes it.")
        assert [*run.rglob("*.part")] == []
    assert (run / "checkpoints" / "last.ckpt").exists() == (where is TRAINING)
    assert list((run / "export").iterdir()) == []

    assert cli.main(command) == cli.OK
    assert [*run.rglob("*.part")] == []
    assert same_weights(read_bundle(run / "export" / "segmentation.safetensors"), whole)
