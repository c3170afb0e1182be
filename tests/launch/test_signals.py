"""Runs stopped from outside by real signals: one sentence, nothing half-written, and the same result later."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from _pytest.monkeypatch import MonkeyPatch

from launch import cli
from launch.record import read_metrics
from networks.checkpoints.bundle import Bundle, read_bundle
from tests.launch.conftest import folder_command, labelled_folder, same_weights

ROOT = Path(__file__).parents[2]
BAR = re.compile(r"[\w -]+: +\d+%\|.*\[\d\d:\d\d<.*(/s|s/\w+).*\]$")  # share, time left, rate
WORDS = ["task.save_every=0", "task.inversion.batch=2"]

# Imports once, which takes many seconds, then forks a fresh process for each command. The process sends itself a signal
# in the given call of a method, so that it always arrives at the same place.
NURSERY = """
import json, os, signal, sys
from importlib import import_module
from launch.prepare import prepare
prepare()
import launch.train, launch.train_segmentation, launch.gan_training
from launch.cli import main

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are born deaf to Ctrl-C
for line in sys.stdin:
    module, owner, method, call, name, cache, log, command = json.loads(line)
    child = os.fork()
    if child == 0:
        os.environ["GANVAS_CACHE"] = cache
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT), 2)
        owner, calls = getattr(import_module(module), owner), []
        original = getattr(owner, method)
        def stopped(self, *arguments):
            calls.append(1)
            if len(calls) == call:
                os.kill(os.getpid(), getattr(signal, name))
            return original(self, *arguments)
        setattr(owner, method, stopped)
        sys.exit(main(command))
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
TRAINING = ["trainers.segmentation", "HeadTrainer", "take", 40]  # in the second batch of steps
INVERTING = ["editors.invert", "_Problem", "optimise", 2]

Stop = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def stop() -> Iterator[Stop]:
    """``stop(where, signal, command, cache, log) -> (exit status, stderr)`` of a process that gets the signal there."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    nursery = subprocess.Popen(
        [sys.executable, "-c", NURSERY], cwd=ROOT, env=environment,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip

    def run(where: list[object], signal: str, command: list[str], cache: Path, log: Path) -> tuple[int, str]:
        nursery.stdin.write(json.dumps([*where, signal, str(cache), str(log), command]) + "\n")
        nursery.stdin.flush()
        return int(nursery.stdout.readline()), log.read_text()

    yield run
    nursery.stdin.close()
    nursery.wait(60)


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
    ("where", "signal", "expected"),
    [
        (TRAINING, "SIGINT", cli.INTERRUPTED),
        (INVERTING, "SIGINT", cli.INTERRUPTED),
        (TRAINING, "SIGTERM", cli.TERMINATED),
        (TRAINING, "SIGKILL", -9),
    ],
    ids=["ctrl-c-training", "ctrl-c-inverting", "term-training", "kill-9-training"],
)
def test_what_was_stopped_goes_on_to_the_same_result(
    stop: Stop, tiny_generator: Path, place: Path, whole: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    where: list[object], signal: str, expected: int,
) -> None:  # fmt: skip
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "cache"))  # its own: the other runs' inversions are not for it
    run = tmp_path / "run"
    command = folder_command(tiny_generator, place / "labelled", run, WORDS)
    status, stderr = stop(where, signal, command, tmp_path / "cache", tmp_path / "stderr.txt")
    assert status == expected, stderr
    said = [line for line in re.split(r"[\r\n]+", stderr) if line and not BAR.match(line)]
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


GAN = [
    "train", "experiment=stylegan2/avatars64", "task/augment=ada", "task.encoder=null", "data.resolution=32",
    "data.count=24", "task.generator.z_dim=4", "task.generator.w_dim=4", "task.generator.channel_base=128",
    "task.generator.channel_max=4", "task.discriminator.channels=[4,4,4]", "task.batch_size=4",
    "task.training.total_images=96", "task.training.r1_interval=3", "task.training.path_weight=2",
    "task.training.noise=random", "task.augment.p=0.3", "task.checkpoint_every=4", "task.log_every=8",
    "task.metrics_every=1000", "task.metrics_samples=4", "wandb=disabled", "trainer.threads=1",
]  # fmt: skip


def test_a_gan_killed_at_random_steps_ends_bit_equal(
    stop: Stop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both networks, the average, both optimisers, ADA's p, the mean path length and the log are the same."""
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "cache"))
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert cli.main([*GAN, f"out={whole}"]) == cli.OK
    step, kills, done = random.Random(0), 0, 0
    while done < 15:  # of 24 steps
        call = step.randint(2, 6)
        where = ["trainers.stylegan2", "StyleGAN2Trainer", "training_step", call]
        status, stderr = stop(where, "SIGKILL", [*GAN, f"out={run}"], tmp_path / "cache", tmp_path / f"{kills}.txt")
        assert status == -9, stderr
        kills, done = kills + 1, done + call - 1
    assert kills >= 3
    assert cli.main([*GAN, f"out={run}"]) == cli.OK
    states = [torch.load(path / "checkpoints" / "last.ckpt", weights_only=True) for path in (whole, run)]
    for part in ("state_dict", "optimizer_states"):
        assert same(states[0][part], states[1][part]), part
    assert float(states[0]["state_dict"]["path_mean"]) > 0
    logs = [
        [{key: value for key, value in line.items() if "seconds" not in key} for line in read_metrics(path)
         if "seconds" not in line]
        for path in (whole / "metrics.jsonl", run / "metrics.jsonl")
    ]  # fmt: skip
    assert logs[0] == logs[1]
    assert len(logs[0]) >= 12


def same(a: Any, b: Any) -> bool:
    """Whether nested values are equal to the last bit."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b
