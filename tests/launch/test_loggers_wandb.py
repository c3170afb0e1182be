"""W&B as a guest: what it is told, that it falls back to offline, and that it knows what was made from what."""

from __future__ import annotations

import struct
import sys
import time
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import DictConfig

from launch.compose import compose
from launch.loggers import log_result, open_loggers
from launch.loggers.wandb_log import artifact
from networks.checkpoints.bundle import save_bundle


def config(*words: str) -> DictConfig:
    return compose("train", ["experiment=segmentation/demo", "generator=null", "task.teacher=null", *words])


class FakeRun:
    def __init__(self) -> None:
        self.lines: list[dict[str, float]] = []
        self.summary: dict[str, float] = {}
        self.ended = 0

    def define_metric(self, name: str, step_metric: str) -> None: ...

    def log(self, values: dict[str, float]) -> None:
        self.lines.append(values)

    def finish(self) -> None:
        self.ended += 1


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> types.SimpleNamespace:
    """A W&B without a key; ``online`` can be made to fail."""
    run = FakeRun()
    begun: list[dict[str, Any]] = []

    def init(**arguments: Any) -> FakeRun:
        begun.append(arguments)
        if arguments["mode"] == "online" and module.refuses:
            raise ConnectionError("401 Unauthorized\nConsider something else.")
        return run

    module = types.SimpleNamespace(
        run=run, begun=begun, init=init, Settings=dict, refuses=False, key=False,
        login=lambda prompt, verify: module.key, Image=str, Table=dict,
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


def test_figures_and_what_a_run_is_called(fake: types.SimpleNamespace, tmp_path: Path) -> None:
    folder = tmp_path / "label_curve" / "seed-0"
    log = open_loggers(config("wandb.group=sweep 1", "wandb.tags=[paper]"), "train", folder)
    log.scalars({"loss": 1.0}, 10)
    log.finish({"mIoU": 0.5}, [])
    log.close()
    assert fake.run.lines == [{"loss": 1.0, "step": 10}]
    assert fake.run.summary == {"mIoU": 0.5}
    assert fake.run.ended == 1
    (begun,) = fake.begun
    assert {key: begun[key] for key in ("mode", "group", "job_type", "name", "tags", "dir")} == {
        "mode": "offline", "group": "sweep 1", "job_type": "train", "name": "label_curve/seed-0",
        "tags": ["segmentation", "paper"], "dir": folder,
    }  # fmt: skip
    assert begun["config"]["task"]["labels"] == 16
    assert 0 < begun["settings"]["finish_timeout"] < 120  # W&B gives up before the run does


def test_a_verb_that_tells_all_at_once_is_a_job_of_its_own_type(fake: types.SimpleNamespace, tmp_path: Path) -> None:
    cfg = compose("invert", ["images=a", "generator=none.pkl", "out=b", "logger=wandb"])
    log_result(cfg, "invert", tmp_path, {"psnr": 30.0}, {"sheet": tmp_path / "a.png"}, [{"name": "x", "psnr": 30.0}])
    assert fake.begun[0]["job_type"] == "invert"
    assert fake.run.lines == [
        {"psnr": 30.0, "step": 0}, {"images/sheet": str(tmp_path / "a.png"), "step": 0},
        {"tables/each": {"columns": ["name", "psnr"], "data": [["x", 30.0]]}, "step": 0},
    ]  # fmt: skip
    assert (fake.run.summary, fake.run.ended) == ({"psnr": 30.0}, 1)


def test_disabled_means_not_even_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)  # an import would fail, and be said
    log = open_loggers(config("wandb=disabled"), "train", tmp_path)
    log.scalars({"loss": 1.0}, 1)
    log.close()


@pytest.mark.parametrize(
    ("key", "modes", "says"),
    [
        (False, ["offline"], "`wandb login` stores one"),
        (True, ["online", "offline"], "(401 Unauthorized): logging offline"),
    ],
)
def test_online_that_is_refused_goes_offline(
    fake: types.SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str], key: bool, modes: list[str],
    says: str,
) -> None:  # fmt: skip
    fake.key, fake.refuses = key, True
    log = open_loggers(config("wandb=online"), "train", tmp_path)
    log.scalars({"loss": 1.0}, 1)
    log.close()
    assert [begun["mode"] for begun in fake.begun] == modes
    assert fake.run.lines == [{"loss": 1.0, "step": 1}]
    assert says in capsys.readouterr().out


def test_a_missing_package_does_not_stop_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    log = open_loggers(config(), "train", tmp_path)
    log.scalars({"loss": 1.0}, 1)
    log.close()
    assert "the run goes on" in capsys.readouterr().out


def test_a_bundle_is_one_artifact_for_the_run_that_makes_it_and_the_run_that_uses_it(tmp_path: Path) -> None:
    made = save_bundle(tmp_path / "a.safetensors", {"w": torch.zeros(2)}, {"kind": "toy", "metrics": {"fid": 3.0}})
    renamed = tmp_path / "other name.safetensors"
    renamed.write_bytes(made.read_bytes())
    out, _ = artifact(made)
    out.add_file(str(made), name=made.suffix, policy="immutable")
    used, aliases = artifact(renamed)
    used.add_reference(renamed.as_uri(), name=renamed.suffix)
    assert (out.name, out.type, out.digest) == (used.name, used.type, used.digest)
    assert out.name.startswith("toy-")
    assert aliases[0] == "other-name"
    assert out.metadata["metrics"] == {"fid": 3.0}


def test_offline_for_real_is_ready_to_sync(tmp_path: Path) -> None:
    """Figures, a table, what was used and what was made, in one file beside the record."""
    used = save_bundle(tmp_path / "used.safetensors", {"w": torch.zeros(2)}, {"kind": "toy"})
    made = save_bundle(tmp_path / "made.safetensors", {"w": torch.ones(2)}, {"kind": "branch"})
    pickled = tmp_path / "teacher.pkl"
    pickled.write_bytes(b"of another code base")
    cfg = config(f"generator={used}", f"task.teacher={pickled}", "wandb.group=a-sweep")
    log = open_loggers(cfg, "train", tmp_path / "run")
    (tmp_path / "run").mkdir()
    log.scalars({"loss": 1.0}, 1)
    log.table("classes", ["class", "IoU"], [["hair", 0.5]])
    log.overlays("labelled", np.zeros((1, 4, 4, 3), np.uint8), {"label": np.zeros((1, 4, 4), np.uint8)}, ["ground"])
    log.finish({"mIoU": 1.0}, [made])
    log.close()
    (file,) = (tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb")
    until = time.monotonic() + 20
    while not (records := _records(file)) or records[-1].WhichOneof("record_type") != "exit":
        assert time.monotonic() < until, "W&B's service writes on its own, but not for so long"
        time.sleep(0.1)
    run = next(record.run for record in records if record.WhichOneof("record_type") == "run")
    assert (run.run_group, run.job_type, run.display_name) == ("a-sweep", "train", f"{tmp_path.name}/run")
    artifacts = {
        artifact.type: artifact.use_after_commit
        for artifact in (record.artifact for record in records if record.WhichOneof("record_type") == "artifact")
        if artifact.type in ("toy", "branch", "checkpoint")
    }
    assert artifacts == {"toy": True, "checkpoint": True, "branch": False}
    assert list((tmp_path / "run" / "wandb").glob("offline-run-*/files/media/table/tables/classes*.json"))


def _records(file: Path) -> list[Any]:
    """The records of a ``.wandb`` file: after 7 bytes in the layout of LevelDB's log, in blocks of 32 KiB."""
    from wandb.proto import wandb_internal_pb2

    data, at, parts, found = file.read_bytes(), 7, [], []
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:  # no header fits into what is left of the block
            at += 32768 - at % 32768
            continue
        length, kind = struct.unpack_from("<HB", data, at + 4)
        parts.append(data[at + 7 : at + 7 + length])
        at += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            record = wandb_internal_pb2.Record()
            record.ParseFromString(b"".join(parts))
            found.append(record)
            parts = []
    return found
