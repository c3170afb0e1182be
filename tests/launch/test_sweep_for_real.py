"""Whole sweeps with real jobs: killed half way and run again, and by each launcher that runs on one machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from launch import cli
from launch.figures import FILE, read_figures
from launch.paths import ROOT
from launch.sweep_state import DONE, STOPPED, Sweep

LABELS = ["experiment=paper/editgan_labels", "size=quick", "seeds=2"]
NAMES = [f"labels={labels},head=linear,seed={seed}" for labels in (1, 2) for seed in (0, 1)]
PATIENCE = 300.0  # seconds, for a machine that is busy; nothing is asserted of it
# A shell's background jobs are born deaf to Ctrl-C, and a test run may be one.
HEARING = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from launch.cli import main
sys.exit(main())
"""


def begin(out: Path, cache: Path, *words: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "GANVAS_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", HEARING, "sweep", *words, f"out={out}"], cwd=ROOT, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def wait_for(process: subprocess.Popen[str], path: Path) -> None:
    """Until ``path`` is there, or the process is not."""
    end = time.monotonic() + PATIENCE
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, f"no {path}"
        time.sleep(0.1)


def test_a_sweep_that_is_stopped_and_killed_runs_what_is_missing(
    tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, sweep = tmp_path / "sweep", Sweep(tmp_path / "sweep")
    first = begin(out, shared_cache, *LABELS)
    wait_for(first, sweep.run_of(NAMES[1]) / "config.yaml")  # one is done, and the second runs
    first.send_signal(signal.SIGINT)
    _, errors = first.communicate(timeout=PATIENCE)
    assert first.returncode == cli.INTERRUPTED, errors
    assert "ganvas: stopped with 1 of 4 jobs done; the same command goes on." in errors
    assert sweep.status(NAMES[1]).status == STOPPED
    done_first = (sweep.run_of(NAMES[0]) / FILE).stat().st_mtime_ns

    second = begin(out, shared_cache, *LABELS)
    wait_for(second, sweep.run_of(NAMES[2]) / "config.yaml")
    second.kill()
    second.communicate(timeout=PATIENCE)
    end = time.monotonic() + PATIENCE
    while is_written(out / NAMES[2]):  # its job dies with it
        assert time.monotonic() < end
        time.sleep(0.1)
    assert not sweep.is_running(NAMES[2])

    third = begin(out, shared_cache, *LABELS)
    printed, errors = third.communicate(timeout=PATIENCE)
    assert third.returncode == cli.OK, errors
    assert [line.partition(":")[0] for line in printed.splitlines() if ": done in " in line] == NAMES[2:]
    assert "jobs done: 4 of 4" in printed
    assert (sweep.run_of(NAMES[0]) / FILE).stat().st_mtime_ns == done_first
    assert [sweep.status(name).attempts for name in NAMES] == [1, 2, 2, 1]

    assert cli.main(["report", f"runs={out}"]) == cli.OK
    said = capsys.readouterr().out
    assert "Segmentation from a few labels" in said
    assert "Xu and Zheng 2021 (LinearGAN, arXiv 2104.00487)" in said
    assert f"report: {out / 'report' / 'report.html'}" in said

    # A job is what a person could type, and comes out the same.
    job = next(job for job in json.loads((out / "sweep.json").read_text())["jobs"] if job["name"] == NAMES[3])
    monkeypatch.setenv("GANVAS_CACHE", str(shared_cache))
    assert cli.main(["train", *job["words"], f"out={tmp_path / 'typed'}"]) == cli.OK
    assert same_figures(sweep.run_of(NAMES[3]), tmp_path / "typed")
    assert not same_figures(sweep.run_of(NAMES[2]), tmp_path / "typed")


def is_written(folder: Path) -> bool:
    """Whether a process lives that has this folder as its ``out=``."""
    for words in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if f"out={folder}".encode() in words.read_bytes().split(b"\0"):
                return True
        except OSError:  # it has just ended
            continue
    return False


def same_figures(one: Path, other: Path) -> bool:
    """Whether two runs measured the same, but for their seconds."""
    first, second = (
        {name: figure for name, figure in read_figures(folder).figures.items() if "seconds" not in name}
        for folder in (one, other)
    )
    return first == second


def test_several_jobs_at_once_by_joblib_and_more_by_submitit(tmp_path: Path, shared_cache: Path) -> None:
    words = ["experiment=segmentation/demo", "task/head=linear,default", "n=2", "task.labels=1", "task.generated=0",
             "task.teacher=null", "task.inversion.steps=1", "task.inversion.samples=8", "task.training.passes=1",
             "task.training.least_steps=4", "wandb=disabled", "trainer.threads=1"]  # fmt: skip
    heads = [f"task-head={head},seed=0" for head in ("linear", "default")]
    sweep = Sweep(tmp_path / "sweep")
    joblib = begin(sweep.folder, shared_cache, *words, "seeds=1", "launcher=joblib", "launcher.jobs=2")
    printed, errors = joblib.communicate(timeout=PATIENCE)
    assert joblib.returncode == cli.OK, errors
    assert [sweep.status(name).status for name in heads] == [DONE, DONE]
    logs = [sweep.log_of(name).read_text() for name in heads]
    assert all("$ ganvas train experiment=segmentation/demo" in log for log in logs)

    submitit = begin(sweep.folder, shared_cache, *words, "seeds=2", "launcher=submitit_local", "launcher.minutes=9")
    printed, errors = submitit.communicate(timeout=PATIENCE)
    assert submitit.returncode == cli.OK, errors
    assert "jobs done: 4 of 4" in printed
    assert {line.partition(":")[0] for line in printed.splitlines() if ": done in " in line} == {
        f"task-head={head},seed=1" for head in ("linear", "default")
    }
