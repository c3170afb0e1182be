"""``ganvas train task=directions``: measured, compared, exported, gone on with, and found by `ganvas edit`."""

from __future__ import annotations

from pathlib import Path

import pytest

from launch import cli
from launch.figures import read_figures
from networks.checkpoints.bundle import read_manifest
from networks.checkpoints.generators import load_generator
from networks.checkpoints.latents import save_latent
from networks.checkpoints.relevance import load_relevance
from tests.clips import tiny_clip

FAST = ["task=directions", "task.relevance.images=2", "task.relevance.samples=32", "task.relevance.batch=1",
        "task.check=6", "wandb=disabled", "trainer.threads=1", "logger=none"]  # fmt: skip


@pytest.fixture(autouse=True)
def clips(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(shared_cache))
    for module in ("train_directions", "text_methods"):
        monkeypatch.setattr(f"launch.{module}.load_clip", lambda spec, legacy=False: tiny_clip())


def test_a_run_is_exported_and_used(tiny_generator: Path, tmp_path: Path, capsys) -> None:
    run = tmp_path / "run"
    words = ["train", *FAST, f"generator={tiny_generator}", f"out={run}"]
    assert cli.main(words) == cli.OK
    figures, relevance = read_figures(run).figures, load_relevance(run / "export" / "directions.safetensors")
    assert figures["channels"].value == relevance.channels
    assert -1 <= figures["agreement_least"].value <= figures["agreement"].value <= 1
    assert figures["channels"].protocol.how == "gradient, 5 deviations"
    assert "a surprised person | b" in (run / "report.md").read_text()
    assert read_manifest(run / "export" / "directions.safetensors")["metrics"]["seconds"] > 0
    assert len(list((run / "checkpoints" / "parts").glob("*.safetensors"))) == 2
    assert cli.main(words) == cli.OK   # nothing is left to do, and nothing changes
    again = load_relevance(run / "export" / "directions.safetensors")
    assert all((again.direction[path] == t).all() for path, t in relevance.direction.items())
    codes = save_latent(tmp_path / "codes.safetensors", load_generator(tiny_generator).sample(1, 0))
    bundle = f"directions={run / 'export' / 'directions.safetensors'}"
    assert cli.main(["edit", f"generator={tiny_generator}", f"latents={codes}", "text=a hat", bundle,
                     f"out={tmp_path / 'edit'}"]) == cli.OK  # fmt: skip


def test_exhaustive_needs_no_check(tiny_generator: Path, tmp_path: Path) -> None:
    words = ["task.relevance.how=exhaustive", "task.relevance.finest=4", f"generator={tiny_generator}"]
    assert cli.main(["train", *FAST, *words, f"out={tmp_path}"]) == cli.OK
    figures = read_figures(tmp_path).figures
    assert figures["channels"].value == 16
    assert "agreement" not in figures


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["generator=null"], "task=directions needs generator=FILE"),
        (["task.relevance.how=guess"], "must be gradient or exhaustive"),
        (["task.relevance.finest=3"], "finest=3 must be at least 4"),
        (["task.texts=[qzx]"], "knows no word"),
        (["task.texts=[a person]"], "are the same to this CLIP"),
        (["task.relevance.truncation=inf"], "task.relevance.truncation=inf must be finite"),
        (["task.check=-1"], "task.check=-1 must be at least 0"),
    ],
)
def test_what_cannot_be_is_one_sentence(words, said, tiny_generator: Path, tmp_path: Path, capsys) -> None:
    given = {word.partition("=")[0]: word for word in [*FAST, f"generator={tiny_generator}", *words]}
    assert cli.main(["train", *given.values(), f"out={tmp_path / 'run'}"]) == cli.REFUSED
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
