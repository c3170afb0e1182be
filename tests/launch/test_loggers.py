"""Loggers beside the record: which there are, that none can fail or delay a run, and what CSV and TensorBoard hold."""

from __future__ import annotations

import csv
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from launch import cli
from launch.compose import compose
from launch.loggers import LOGGERS, Logger, Loggers, check_loggers, open_loggers
from launch.loggers.base import Guest
from launch.loggers.csv_log import CsvLog
from networks.checkpoints.errors import GanvasError


class Notes(Logger):
    """Notes what it is told, in which thread."""

    later = "Come back tomorrow."

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.threads: set[str] = set()
        self.closed = 0

    def scalars(self, values: dict[str, float], step: int) -> None:
        self.steps.append(step)
        self.threads.add(threading.current_thread().name)

    def close(self) -> None:
        self.closed += 1


def config(*loggers: str, wandb: str = "disabled") -> DictConfig:
    return OmegaConf.create({"logger": list(loggers), "wandb": {"mode": wandb}})


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_everything_arrives_in_order_from_one_other_thread() -> None:
    notes = Notes()
    loggers = Loggers([Guest("notes", lambda: notes)])
    for step in range(100):
        loggers.scalars({"loss": 1.0}, step)
    loggers.close()
    loggers.close()
    assert notes.steps == list(range(100))
    assert notes.threads == {"notes"}
    assert notes.closed == 1


def test_what_is_never_used_never_begins() -> None:
    def begin() -> Logger:
        raise AssertionError("nothing was logged")

    Loggers([Guest("notes", begin)]).close()


def test_figures_are_those_of_the_call() -> None:
    """The caller's dictionary is the next step's by the time that the thread comes to it."""
    released, seen = threading.Event(), []

    class Slow(Logger):
        def scalars(self, values: dict[str, float], step: int) -> None:
            released.wait()
            seen.append(values)

    loggers, figures = Loggers([Guest("slow", Slow)]), {"loss": 1.0}
    loggers.scalars(figures, 1)
    figures["loss"] = 2.0
    released.set()
    loggers.close()
    assert seen == [{"loss": 1.0}]


@pytest.mark.parametrize("where", ["begin", "scalars", "close"])
def test_a_failure_is_said_once_and_the_others_go_on(where: str, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(*_: object) -> None:
        raise ConnectionError("no route")

    class Broken(Logger):
        scalars = fail if where == "scalars" else Logger.scalars
        close = fail if where == "close" else Logger.close

    notes = Notes()
    loggers = Loggers([Guest("broken", fail if where == "begin" else Broken), Guest("notes", lambda: notes)])
    for step in range(3):
        loggers.scalars({"loss": 1.0}, step)
    loggers.close()
    assert capsys.readouterr().out.count("ConnectionError: no route") == 1
    assert notes.steps == [0, 1, 2]


def test_a_logger_that_hangs_is_left_behind(capsys: pytest.CaptureFixture[str]) -> None:
    never = threading.Event()

    class Hanging(Notes):
        def scalars(self, values: dict[str, float], step: int) -> None:
            never.wait()

    loggers = Loggers([Guest("slow", Hanging, patience=0.05)])
    begun = time.monotonic()
    for step in range(1000):
        loggers.scalars({"loss": 1.0}, step)
    loggers.close()
    assert time.monotonic() - begun < 60
    assert capsys.readouterr().out == "slow is still busy and is left behind. Come back tomorrow.\n"
    never.set()


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["comet"], "logger=comet is not known: choose of wandb, tensorboard, csv and none."),
        (["none", "csv"], "says both none and some"),
    ],
)
def test_what_is_no_logger_is_refused(names: list[str], says: str) -> None:
    with pytest.raises(GanvasError, match=says):
        check_loggers(config(*names))


def test_a_missing_package_is_said_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("launch.loggers.find_spec", lambda _: None)
    words = ["train", "experiment=stylegan2/avatars64", "logger=tensorboard", f"out={tmp_path / 'run'}"]
    assert cli.main(words) == cli.REFUSED
    error = capsys.readouterr().err
    assert "needs the package tensorboard: pip install 'ganvas[tensorboard]', or choose logger=csv." in error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("word", "names"), [("logger=csv", ["csv"]), ("logger=[csv,wandb]", ["csv", "wandb"]), ("logger=none", ["none"])]
)
def test_one_logger_needs_no_brackets(word: str, names: list[str]) -> None:
    assert compose("train", ["experiment=segmentation/demo", word]).logger == names


def test_disabled_wandb_and_none_are_no_loggers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = []
    record: Callable[..., Logger] = lambda *_: begun.append(1) or Notes()  # noqa: E731
    monkeypatch.setitem(LOGGERS, "wandb", ("W&B", record))
    offline = "offline"
    for cfg, count in ((config("wandb"), 0), (config("none", wandb=offline), 0), (config("wandb", wandb=offline), 1)):
        loggers = open_loggers(cfg, "train", tmp_path)
        loggers.scalars({"loss": 1.0}, 1)
        loggers.close()
        assert len(begun) == count


def test_csv_has_a_column_for_each_figure(tmp_path: Path) -> None:
    log = CsvLog(tmp_path)
    log.scalars({"loss": 1.0}, 10)
    log.scalars({"loss": 0.5}, 20)
    log.scalars({"kid": 0.25}, 20)
    log.scalars({"loss": 0.125, "kid": 0.5}, 30)
    assert rows(tmp_path) == [
        {"step": "10", "loss": "1.0", "kid": ""}, {"step": "20", "loss": "0.5", "kid": ""},
        {"step": "20", "loss": "", "kid": "0.25"}, {"step": "30", "loss": "0.125", "kid": "0.5"},
    ]  # fmt: skip


def test_a_resumed_csv_goes_on_where_the_run_does(tmp_path: Path) -> None:
    first = CsvLog(tmp_path)
    for step in (10, 20, 30):
        first.scalars({"loss": step / 10}, step)
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write("40")  # the machine went off
    again = CsvLog(tmp_path)
    again.rewind(20)
    again.scalars({"loss": 9.0}, 30)
    assert [(row["step"], row["loss"]) for row in rows(tmp_path)] == [("10", "1.0"), ("20", "2.0"), ("30", "9.0")]


def test_csv_tables(tmp_path: Path) -> None:
    CsvLog(tmp_path).table("classes", ["class", "IoU"], [["hair, dark", 0.5]])
    assert (tmp_path / "tables" / "classes.csv").read_text() == 'class,IoU\n"hair, dark",0.5\n'


def test_tensorboard_has_figures_pictures_and_tables(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    cfg = OmegaConf.merge(config("tensorboard"), {"seed": 3})
    Image.new("RGB", (4, 4), "red").save(tmp_path / "a.png")
    for start in (None, 10):  # the second resumes at 10
        loggers = open_loggers(cfg, "train", tmp_path)
        if start is not None:
            loggers.rewind(start)
        for step in (10, 20):
            if start is None or step > start:
                loggers.scalars({"loss": step / 10}, step)
        loggers.image("samples", tmp_path / "a.png", 20)
        loggers.table("classes", ["class", "IoU"], [["hair", 0.5]])
        loggers.finish({"mIoU": 0.75, "note": "words"}, [])
        loggers.close()
    found = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in found.Scalars("loss")] == [(10, 1.0), (20, 2.0)]
    assert found.Scalars("headline/mIoU")[-1].value == 0.75
    assert found.Tags()["images"] == ["samples"]
    texts = found.Tags()["tensors"]
    assert {"config/text_summary", "classes/text_summary"} <= set(texts)
    assert b"| hair | 0.5 |" in found.Tensors("classes/text_summary")[-1].tensor_proto.string_val[0]
