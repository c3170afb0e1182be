"""A sweep on disk: what may go on in a folder, what is refused, and how its jobs stand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from launch.compose import compose
from launch.figures import Protocol, all_by, write_figures
from launch.paths import ROOT
from launch.sweep_plan import Job, Plan
from launch.sweep_state import DONE, FAILED, MISSING, RUNNING, STOPPED, Status, Sweep, expected_seconds
from networks.checkpoints.errors import GanvasError

JOBS = tuple(
    Job(f"labels={labels},seed={seed}", {"labels": labels}, seed, (f"task.labels={labels}", f"seed={seed}"))
    for labels in ("1", "2") for seed in (0, 1)
)  # fmt: skip
PLAN = Plan("paper/toy", "quick", "train", 2, JOBS, "abc", 1.0, ("mIoU",))
HOLDER = """
import sys
from pathlib import Path
from launch.sweep_state import Sweep
with Sweep(Path(sys.argv[1])).hold(sys.argv[2]) as mine:
    print(mine, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    opened = Sweep(tmp_path / "sweep")
    opened.check(PLAN)
    opened.open(PLAN)
    return opened


def finish(sweep: Sweep, name: str) -> None:
    """Leave what a job leaves that is done."""
    cfg = compose("train", ["task.name=toy"])
    write_figures(sweep.run_of(name), "train", cfg, all_by(Protocol("toys", "", 1), {"mIoU": 0.5}), 1.0, "a machine")


def test_the_folder_says_what_it_holds(sweep: Sweep) -> None:
    record = json.loads((sweep.folder / "sweep.json").read_text())
    assert {name: record[name] for name in ("format", "experiment", "size", "seeds", "settings", "verb")} == {
        "format": 1, "experiment": "paper/toy", "size": "quick", "seeds": 2, "settings": "abc", "verb": "train",
    }  # fmt: skip
    assert record["jobs"][1] == {
        "name": "labels=1,seed=1", "at": {"labels": "1"}, "seed": 1, "words": ["task.labels=1", "seed=1"],
        "before": {},
    }  # fmt: skip
    assert sweep.job("labels=1,seed=1") == ("train", JOBS[1])


def test_more_seeds_go_on_and_fewer_take_nothing_away(sweep: Sweep) -> None:
    fewer, more = (replace(PLAN, seeds=n, jobs=tuple(job for job in JOBS if job.seed < n)) for n in (1, 3))
    for other in (fewer, more):
        sweep.check(other)
        sweep.open(other)
    assert sweep.record()["seeds"] == 3
    sweep.open(fewer)
    assert sweep.record()["seeds"] == 3


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"experiment": "paper/other"}, "holds a sweep with experiment=paper/toy and this one has experiment=paper/"),
        ({"size": "zoo"}, "holds a sweep with size=quick and this one has size=zoo: give another out="),
        ({"settings": "def"}, "holds a sweep of other jobs under the same name"),
    ],
)
def test_another_sweep_is_refused(sweep: Sweep, change: dict[str, str], sentence: str) -> None:
    with pytest.raises(GanvasError, match=sentence):
        sweep.check(replace(PLAN, **change))


def test_another_version_is_refused(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("launch.sweep_state.ganvas_version", lambda: "9.9")
    with pytest.raises(GanvasError, match=r"holds a sweep with version=.* and this one has version=9\.9"):
        sweep.check(PLAN)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "is damaged"),
        ("[1]", "is damaged .it is no object."),
        ('{"format": 7}', "is of format 7 and this version reads 1"),
        ('{"format": 1, "experiment": "paper/x"}', "is damaged, it has no figures"),
    ],
)
def test_a_folder_that_cannot_be_read_is_one_sentence(sweep: Sweep, content: str, sentence: str) -> None:
    (sweep.folder / "sweep.json").write_text(content)
    with pytest.raises(GanvasError, match=sentence):
        sweep.check(PLAN)


def test_somebody_s_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(GanvasError, match="exists and is no sweep's folder"):
        Sweep(tmp_path).check(PLAN)
    with pytest.raises(GanvasError, match="exists and is no sweep's folder"):
        Sweep(tmp_path / "thesis.txt").check(PLAN)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(GanvasError, match=r"cannot write into .*: Not a directory; give another out="), Sweep(
        tmp_path / "file" / "sweep"
    ).hold():
        pass


def test_what_a_job_measured_has_the_last_word(sweep: Sweep) -> None:
    name = JOBS[0].name
    assert sweep.status(name) == Status(MISSING)
    sweep.keep(name, Status(RUNNING, 1, 2.0))
    assert sweep.status(name) == Status(STOPPED, 1, 2.0, "it was killed")  # nobody holds it
    finish(sweep, name)
    assert sweep.status(name) == Status(DONE, 1, 2.0)
    sweep.keep(JOBS[1].name, Status(FAILED, 2, 3.0, "no"))
    assert sweep.status(JOBS[1].name) == Status(FAILED, 2, 3.0, "no")


def test_one_process_alone_writes(sweep: Sweep) -> None:
    name = JOBS[0].name
    sweep.keep(name, Status(RUNNING, 1))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(sweep.folder), name], env=environment, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert holder.stdout.readline() == "True\n"
        assert sweep.status(name).status == RUNNING
        with sweep.hold(name) as mine:
            assert not mine
        with sweep.hold(JOBS[1].name) as mine, sweep.hold() as whole:
            assert mine
            assert whole
    finally:
        holder.kill()
        holder.communicate()
    assert sweep.status(name).status == STOPPED
    with sweep.hold(name) as mine:
        assert mine


def test_what_a_job_costs_is_what_its_like_cost() -> None:
    known = {job.name: Status() for job in JOBS}
    assert expected_seconds(JOBS[0], known, JOBS, 7.0) == 7.0
    known["labels=2,seed=0"] = Status(DONE, 1, 40.0)
    assert expected_seconds(JOBS[0], known, JOBS, 7.0) == 40.0  # none of its own labels is done
    known["labels=1,seed=1"] = Status(DONE, 1, 20.0)
    assert expected_seconds(JOBS[0], known, JOBS, None) == 20.0
    assert expected_seconds(JOBS[3], known, JOBS, None) == 40.0
