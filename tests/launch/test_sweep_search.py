"""``sweeper=optuna`` with trials that a test plays: what is drawn, pruned, gone on with, and told at the end."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from launch import cli, sweep_job
from launch.compose import compose
from launch.figures import Protocol, all_by, write_figures
from launch.sweep_search import open_study
from launch.sweep_space import check_search
from launch.sweep_state import DONE, FAILED, PRUNED, STOPPED, Sweep
from networks.checkpoints.errors import GanvasError

SEARCH = ["sweep", "experiment=paper/stylegan2_discriminators", "sweeper=optuna", "sweeper.startup=2"]
FIGURE = "kid_stlpips_alex_x1000"

Play = Callable[..., list[dict[str, float]]]


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Play:
    """``play(**what)``: a trial's figure is how far r1_gamma lies from 1; gives the list of the values drawn."""
    cfg = compose("train", ["task.name=toy"])

    def prepare(**what: str) -> list[dict[str, float]]:
        drawn: list[dict[str, float]] = []

        def run(command: list[str], sweep: Sweep, name: str, watch: Callable[[], bool]) -> int:
            words = dict(word.split("=", 1) for word in command[4:])
            drawn.append({key: float(words[f"task.training.{key}"]) for key in ("r1_gamma", "lr_g", "lr_d")})
            sweep.log_of(name).write_text("ganvas: diverged.\n")
            if what.get(name) == "stops":
                raise KeyboardInterrupt
            if what.get(name) == "fails":
                return 2
            distance = abs(math.log(drawn[-1]["r1_gamma"])) + (100 if what.get(name) == "hopeless" else 0)
            folder = sweep.run_of(name)
            folder.mkdir(exist_ok=True)
            for step in (1, 2):
                with (folder / "metrics.jsonl").open("a") as log:
                    log.write(json.dumps({"step": step, FIGURE: distance, "loss": 1.0}) + "\n")
                if watch():
                    raise sweep_job.Stopped
            write_figures(folder, "train", cfg, all_by(Protocol("toys", "", 1), {FIGURE: distance}), 1.0, "a machine")
            return 0

        monkeypatch.setattr(sweep_job, "_run", run)
        return drawn

    return prepare


def names(count: int) -> list[str]:
    return [f"trial={trial:03d}" for trial in range(count)]


def test_a_search_keeps_its_trials_and_comes_out_the_same(
    play: Play, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = play(), None
    assert cli.main([*SEARCH, "sweeper.trials=4", f"out={tmp_path / 'a'}"]) == cli.OK
    printed = capsys.readouterr().out
    second = play()
    assert cli.main([*SEARCH, "sweeper.trials=4", f"out={tmp_path / 'b'}"]) == cli.OK
    assert first == second
    assert len({values["lr_g"] for values in first}) == 4
    assert all(0.1 <= values["r1_gamma"] <= 10 and 5e-4 <= values["lr_g"] <= 1e-2 for values in first)
    best = min(range(4), key=lambda i: abs(math.log(first[i]["r1_gamma"])))
    assert f"best: trial={best:03d}, {FIGURE} " in printed
    assert f"task.training.r1_gamma={first[best]['r1_gamma']}" in printed


def test_more_trials_learn_from_the_first(play: Play, tmp_path: Path) -> None:
    drawn = play()
    for trials in (2, 3):
        words = [*SEARCH[:-1], "sweeper.startup=5", f"sweeper.trials={trials}", f"out={tmp_path}"]
        assert cli.main(words) == cli.OK
    assert len(drawn) == 3
    sweep = Sweep(tmp_path)
    study = open_study(sweep, sweep.record()["search"])
    assert [trial.user_attrs["job"] for trial in study.trials] == names(3)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 3


def test_a_stopped_trial_goes_on_with_its_own_values(play: Play, tmp_path: Path) -> None:
    before = play(**{"trial=001": "stops"})
    command = [*SEARCH, "sweeper.trials=3", f"out={tmp_path}"]
    assert cli.main(command) == cli.INTERRUPTED
    sweep = Sweep(tmp_path)
    assert sweep.status("trial=001").status == STOPPED
    after = play()
    assert cli.main(command) == cli.OK
    assert after[0] == before[1]
    assert len(after) == 2
    assert len(open_study(sweep, sweep.record()["search"]).trials) == 3


def test_a_hopeless_trial_is_pruned_and_a_failed_one_is_told(
    play: Play, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    play(**{"trial=002": "hopeless", "trial=003": "fails"})
    command = [*SEARCH, "sweeper.trials=4", f"out={tmp_path}"]
    assert cli.main(command) == cli.REFUSED
    said = capsys.readouterr()
    assert "trial=002: pruned in " in said.out
    assert "1 of 4 jobs failed, each tried twice (trial=003: diverged)" in said.err
    sweep = Sweep(tmp_path)
    assert [sweep.status(name).status for name in names(4)] == [DONE, DONE, PRUNED, FAILED]
    states = [trial.state.name for trial in open_study(sweep, sweep.record()["search"]).trials]
    assert states == ["COMPLETE", "COMPLETE", "PRUNED", "FAIL"]
    drawn = play()
    assert cli.main(command) == cli.REFUSED  # it is said again, and not tried again
    assert drawn == []


@pytest.mark.parametrize(
    ("parameter", "direction", "said"),
    [
        ({"low": 2.0, "high": 1.0}, "maximize", "must have low below high"),
        ({"low": 0.0, "high": 1.0, "log": True}, "maximize", "above 0 with log"),
        ({"low": 0.0, "high": 1.0, "choices": [1]}, "maximize", "or else choices"),
        ({}, "maximize", "must have low below high"),
        ({"choices": [1, 2]}, "improve", "a search must maximize or minimize, not improve"),
    ],
)
def test_a_space_that_makes_no_sense_is_one_sentence(parameter: dict, direction: str, said: str) -> None:
    whole = {"low": None, "high": None, "log": False, "whole": False, "choices": []} | parameter
    with pytest.raises(GanvasError, match=said):
        check_search({"space": {"task.training.lr_g": whole}, "direction": direction})


def test_without_optuna_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("launch.sweep_space.find_spec", lambda name: None)
    with pytest.raises(GanvasError, match=r"needs a package that is not installed: `pip install 'ganvas\[sweep\]'`"):
        check_search({"space": {}, "direction": "maximize"})
