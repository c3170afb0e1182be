"""The run directory: what it holds, how it resumes, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from launch.errors import is_disk_full
from launch.figures import Figure, Protocol, all_by, read_figures, values
from launch.record import RunRecord, read_metrics
from launch.schemas import TaskConfig, TrainConfig
from networks.checkpoints.errors import GanvasError


@dataclass
class Toy(TaskConfig):
    """A task."""

    name: str = "toy"
    widths: list[int] = field(default_factory=lambda: [4, 8])
    note: str = "\\${x}"


def config(out: Path | None, **changes: object) -> DictConfig:
    plain = {
        "out": None if out is None else str(out), "command": "ganvas train experiment=a/b seed=0",
        "experiment": "a/b", "wandb": {"mode": "disabled"},
    }  # fmt: skip
    return OmegaConf.merge(OmegaConf.structured(TrainConfig(task=Toy())), plain, OmegaConf.create(changes))


def figures(**numbers: float) -> dict[str, Figure]:
    return all_by(Protocol("squares", "held out", 64), numbers)


def test_holds_what_a_run_directory_holds(tmp_path: Path) -> None:
    record = RunRecord.open(config(tmp_path / "run"))
    record.log({"loss": 1.0}, step=1)
    record.image("samples/1", Image.new("RGB", (2, 2)))
    (record.export / "a.safetensors").touch()
    record.finish(figures(mIoU=0.5))
    names = {path.name for path in record.path.iterdir()}
    assert names == {
        "config.yaml", "command.txt", "metrics.jsonl", "report.md", "figures.json", "images", "checkpoints", "export"
    }  # fmt: skip
    assert (record.path / "command.txt").read_text() == "ganvas train experiment=a/b seed=0\n"
    assert OmegaConf.load(record.path / "config.yaml").task.note == "${x}"
    assert "| mIoU | 0.5 |" in record.report.read_text()


def test_a_picture_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = RunRecord.open(config(tmp_path / "run"))

    def break_off(self: Image.Image, path: Path, **_: object) -> None:
        path.write_bytes(b"half")
        raise MemoryError

    monkeypatch.setattr(Image.Image, "save", break_off)
    with pytest.raises(MemoryError):
        record.image("samples/1", Image.new("RGB", (2, 2)))
    assert [path for path in record.images.rglob("*") if path.is_file()] == []


def test_default_directory_is_the_experiment_and_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first, second = (RunRecord.open(config(None)).path for _ in range(2))
    assert first.parent == second.parent == Path("runs/a/b")
    assert first != second


def test_the_last_lines_are_the_figures_and_the_paths(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = RunRecord.open(config(tmp_path / "run"))
    bundle = record.export / "segmentation.safetensors"
    bundle.touch()
    record.write_report("# my own")
    record.finish(figures(mIoU=0.123456, images=64))
    assert capsys.readouterr().out.splitlines() == [
        "mIoU: 0.1235", "images: 64", f"report: {record.report}", f"bundle: {bundle}"
    ]  # fmt: skip
    assert record.report.read_text() == "# my own"


def test_the_last_line_has_the_figures_however_often_a_run_is_opened(tmp_path: Path) -> None:
    record = RunRecord.open(config(tmp_path))
    record.log({"loss": 2.0}, 5)
    record.log({"loss": 1.0}, 10)
    record.finish(figures(mIoU=0.5, n=64, seconds=3.0))
    again = RunRecord.open(config(tmp_path))
    again.rewind(10)
    again.finish(figures(mIoU=0.5, n=64))
    assert list(read_metrics(again.metrics)) == [
        {"step": 5, "loss": 2.0}, {"step": 10, "loss": 1.0, "mIoU": 0.5, "n": 64, "seconds": 3.0},
    ]  # fmt: skip


def test_the_seconds_are_those_of_the_whole_run_or_nobody_s(tmp_path: Path) -> None:
    RunRecord.open(config(tmp_path / "whole")).finish(figures(mIoU=0.5))
    seconds = read_figures(tmp_path / "whole").seconds
    assert seconds > 0
    RunRecord.open(config(tmp_path / "whole")).finish(figures(mIoU=0.6))
    again = read_figures(tmp_path / "whole")
    assert (again.seconds, values(again.figures)) == (seconds, {"mIoU": 0.6})
    RunRecord.open(config(tmp_path / "parts"))
    RunRecord.open(config(tmp_path / "parts")).finish(figures(mIoU=0.5))
    assert read_figures(tmp_path / "parts").seconds is None


def test_what_a_killed_run_left_half_written_goes(tmp_path: Path) -> None:
    record = RunRecord.open(config(tmp_path))
    (record.checkpoints / ".last.ckpt.x7.part").touch()
    (record.checkpoints / "last.ckpt").touch()
    RunRecord.open(config(tmp_path))
    assert [file.name for file in record.checkpoints.iterdir()] == ["last.ckpt"]


def test_resume_drops_what_will_be_written_again(tmp_path: Path) -> None:
    record = RunRecord.open(config(tmp_path))
    for step in (10, 20, 30):
        record.log({"loss": step / 10}, step)
    with record.metrics.open("a") as file:
        file.write('{"step": 40, "lo')  # the machine went off
    again = RunRecord.open(config(tmp_path))
    assert (record.resumed, again.resumed) == (False, True)
    again.rewind(20)
    again.log({"loss": 9.0}, 30)
    assert [(line["step"], line["loss"]) for line in read_metrics(again.metrics)] == [(10, 1.0), (20, 2.0), (30, 9.0)]


def test_figures_that_are_not_finite_stay_json(tmp_path: Path) -> None:
    record = RunRecord.open(config(tmp_path))
    record.log({"loss": float("nan"), "seen": 3}, step=1)
    assert json.loads(record.metrics.read_text()) == {"step": 1, "loss": None, "seen": 3}


def test_a_line_that_finds_no_room_is_a_full_disk(tmp_path: Path) -> None:
    record = RunRecord.open(config(tmp_path))
    record.metrics.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        record.log({"loss": 1.0}, 1)
    assert is_disk_full(caught.value)


def test_another_configuration_is_refused_by_its_first_key(tmp_path: Path) -> None:
    RunRecord.open(config(tmp_path))
    with pytest.raises(GanvasError, match=r"run with task\.widths=\[4, 8\] and this one has task\.widths=\[4\]"):
        RunRecord.open(config(tmp_path, task={"widths": [4]}))
    assert OmegaConf.load(tmp_path / "config.yaml").task.widths == [4, 8]


def test_hardware_and_logging_may_differ(tmp_path: Path) -> None:
    RunRecord.open(config(tmp_path))
    changed = config(tmp_path, trainer={"devices": 2}, wandb={"mode": "disabled"}, debug=True, command="again")
    assert RunRecord.open(changed).resumed


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(GanvasError, match=r"cannot write into .*file/run: Not a directory; give another out="):
        RunRecord.open(config(tmp_path / "file" / "run"))


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(GanvasError, match="is not a run directory"):
        RunRecord.open(config(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_the_resume_command_names_the_directory(tmp_path: Path) -> None:
    cfg = config(tmp_path / "a b", command="ganvas train experiment=a/b 'out=x y'")
    assert RunRecord.open(cfg).resume_command == f"ganvas train experiment=a/b 'out={tmp_path / 'a b'}'"
