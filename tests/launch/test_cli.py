"""What a person meets: help, one sentence for each mistake, and the exit status."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

from launch import cli
from launch.errors import Interrupted
from launch.prepare import prepare
from launch.schemas import VERBS as SCHEMAS
from networks.checkpoints.errors import GanvasError, GanvasWarning

ROOT = Path(__file__).parents[2]


def say(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = cli.main(words)
    out, err = capsys.readouterr()
    return status, out, err


def test_our_warnings_are_sentences_and_others_keep_their_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)   # put back afterwards
    prepare()
    assert warnings.formatwarning(GanvasWarning("it may fail."), GanvasWarning, "a.py", 3) == "warning: it may fail.\n"
    assert "a.py:3: UserWarning: what" in warnings.formatwarning(UserWarning("what"), UserWarning, "a.py", 3, "x = 1")


def test_overview_imports_nothing_heavy() -> None:
    probe = "import sys, launch.cli; launch.cli.main(['--help']); print(sorted({'torch', 'hydra'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert all(verb in done.stdout for verb in cli.VERBS)


@pytest.mark.parametrize("verb", cli.VERBS)
def test_help_shows_every_option_and_the_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = say(capsys, verb, "--help")
    assert status == cli.OK
    assert cli.VERBS[verb].example in out
    assert "debug" in out
    assert "None" not in out


def test_help_shows_the_choices_of_every_group(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = say(capsys, "train", "--help")
    assert "trainer=cpu|ddp|gpu" in out
    assert "task/head=default|linear|reference" in out


def test_a_reader_may_leave_early() -> None:
    command = f"{sys.executable} -m launch.cli train --help | head -1"
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("ganvas train")
    assert done.stderr == ""


def test_every_verb_has_a_schema() -> None:
    assert cli.VERBS.keys() == SCHEMAS.keys()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["paint"], "there is no verb `paint`; there are train, sample"),
        (["sample", "seeed=1"], "`ganvas sample` has no option `seeed`; did you mean `seed`?"),
        (["sample", "n=many"], "`n=many` does not fit: Value 'many' of type 'str' could not be converted to Integer."),
        (["sample", "out=x"], "`ganvas sample` needs generator=…; `ganvas sample --help` says more."),
        (["sample", "n=1,2"], "`n=1,2` gives several values: `ganvas sample` takes one; write a list as n=[a,b]."),
        (["sample", "four"], "`four` is not an option: write key=value, as in `ganvas sample --help`."),
        (["sample", "n=[1"], "`n=[1` cannot be read; a list is written n=[a,b]."),
        (["train"], "nothing says what to train: add experiment=NAME (`ganvas configs` lists them)."),
        (["train", "trainer=gpuu"], "there is no trainer `gpuu`; did you mean `gpu`"),
        (["train", "threads=2"], "`ganvas train` has no option `threads`; did you mean `trainer.threads`?"),
        (["train", "experiment=no/such"], "there is no experiment `no/such`"),
        (["configs", "match=no such"], "no experiment's name contains `no such`"),
    ],
)
def test_a_mistake_gets_one_sentence(words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = say(capsys, *words)
    assert status == cli.REFUSED
    assert err.startswith(f"ganvas: {sentence}")
    assert err.count("\n") == 1
    assert out == ""


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = say(capsys, "sample", "generator=/no/such", "out=x", "debug=true")
    assert status == cli.REFUSED
    assert "Traceback" in err


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        (GanvasError("a.png is no picture; remove it"), cli.REFUSED, "a.png is no picture; remove it"),
        (ZeroDivisionError("by zero"), cli.FAILED, "ZeroDivisionError: by zero (debug=true shows where)."),
        (Interrupted("stopped; `ganvas train out=r` resumes it."), cli.INTERRUPTED, "stopped; `ganvas train out=r`"),
        (KeyboardInterrupt(), cli.INTERRUPTED, "stopped."),
        (MemoryError(), cli.REFUSED, "out of memory: lower batch and run the command again."),
        (torch.OutOfMemoryError("CUDA"), cli.REFUSED, "out of memory: lower batch and run"),
        (RuntimeError("DefaultCPUAllocator: can't allocate"), cli.REFUSED, "out of memory: lower batch and run"),
    ],
)
def test_what_a_verb_raises_becomes_a_sentence(
    error: BaseException,
    status: int,
    sentence: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(cfg: object) -> None:
        raise error

    monkeypatch.setattr("launch.sample.run", fail)
    got, _, err = say(capsys, "sample", "generator=g", "out=o")
    assert got == status
    assert err.startswith(f"ganvas: {sentence}")
    assert "Traceback" not in err


def test_operations_that_are_not_there_are_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANVAS_OPS", "cuda")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    status, _, err = say(capsys, "doctor")
    assert status == cli.REFUSED
    assert "GANVAS_OPS=cuda: torch sees no GPU" in err


def test_works_from_another_folder(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "launch.cli", "configs", "match=no such"], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    assert done.returncode == cli.REFUSED
    assert "no experiment's name contains" in done.stderr
