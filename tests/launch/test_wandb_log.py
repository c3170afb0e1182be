"""W&B as a guest: it sees what the record sees, and its failures stay its own."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from launch.wandb_log import WandbLog


def settings(mode: str = "offline") -> DictConfig:
    return OmegaConf.create({"mode": mode, "project": "ganvas", "entity": None, "group": None})


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
    run = FakeRun()
    begun: list[dict[str, object]] = []
    module = types.SimpleNamespace(
        run=run, begun=begun, init=lambda **arguments: begun.append(arguments) or run, Settings=dict,
        login=lambda prompt, verify: False,
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


def test_scalars_and_summary_arrive(fake: types.SimpleNamespace, tmp_path: Path) -> None:
    log = WandbLog(settings(), tmp_path, {"seed": 0})
    log.scalars({"loss": 1.0}, 10)
    log.finish({"mIoU": 0.5}, [])
    log.close()
    assert fake.run.lines == [{"loss": 1.0, "step": 10}]
    assert fake.run.summary == {"mIoU": 0.5}
    assert fake.run.ended == 1
    assert (fake.begun[0]["config"], fake.begun[0]["mode"]) == ({"seed": 0}, "offline")


def test_disabled_means_not_even_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)  # an import would raise
    log = WandbLog(settings("disabled"), tmp_path, {})
    log.scalars({"loss": 1.0}, 1)
    log.finish({}, [])


def test_online_without_a_key_goes_offline(
    fake: types.SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    WandbLog(settings("online"), tmp_path, {}).scalars({"loss": 1.0}, 1)
    assert fake.begun[0]["mode"] == "offline"
    assert "wandb login" in capsys.readouterr().out


def test_a_failure_is_said_once_and_the_run_goes_on(
    fake: types.SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(values: object) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(fake.run, "log", refuse)
    log = WandbLog(settings(), tmp_path, {})
    for step in range(3):
        log.scalars({"loss": 1.0}, step)
    log.finish({"mIoU": 1.0}, [])
    assert capsys.readouterr().out.count("W&B logging stopped (ConnectionError: no route)") == 1
    assert fake.run.ended == 1


def test_a_missing_package_does_not_stop_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    WandbLog(settings(), tmp_path, {}).scalars({"loss": 1.0}, 1)
    assert "the run goes on" in capsys.readouterr().out


def test_offline_for_real_writes_beside_the_record(tmp_path: Path) -> None:
    bundle = tmp_path / "a.safetensors"
    bundle.write_bytes(b"weights")
    log = WandbLog(settings(), tmp_path, {"seed": 0})
    log.scalars({"loss": 1.0}, 1)
    log.finish({"mIoU": 1.0}, [bundle])
    assert list(tmp_path.glob("wandb/offline-run-*/*.wandb"))
