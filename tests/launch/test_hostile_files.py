"""Files that are broken, or made to do harm: refused in one sentence, and nothing in them is run."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from launch import cli
from tests.launch.conftest import AvatarRun, Refused, Train


class Hostile:
    """Whoever unpickles this makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_the_trap_works(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Hostile(tmp_path / "made")))
    assert (tmp_path / "made").exists()


@pytest.mark.parametrize("save", [pickle.dump, torch.save], ids=["pickle", "torch"])
@pytest.mark.parametrize("key", ["generator", "task.teacher", "classes"])
def test_a_hostile_file_is_refused_and_not_run(
    refused: Refused, tmp_path: Path, key: str, save: Callable[..., None]
) -> None:
    hostile, made = tmp_path / "model.pkl", tmp_path / "made"
    with hostile.open("wb") as file:
        save(Hostile(made), file)
    words = ["data=avatars", "data.resolution=32", "n=2"] if key == "task.teacher" else []
    assert str(hostile) in refused(f"{key}={hostile}", *words)
    assert not made.exists()


def test_a_checkpoint_that_is_damaged_or_hostile_stops_the_run_and_is_not_run(
    train_folder: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["task.training.passes=1"]
    assert train_folder(*words) == cli.OK
    last, made = tmp_path / "run" / "checkpoints" / "last.ckpt", tmp_path / "made"
    half = last.read_bytes()[:1000]
    bundle = tmp_path / "run" / "export" / "segmentation.safetensors"
    before = bundle.read_bytes()
    for content in (Hostile(made), {"global_step": Hostile(made)}, [], {}, {"global_step": None}, half):
        if content is half:
            last.write_bytes(half)
        else:
            torch.save(content, last)
        capsys.readouterr()
        assert train_folder(*words) == cli.REFUSED
        assert "last.ckpt is damaged or no checkpoint of this task: remove it" in capsys.readouterr().err
        assert not made.exists()
        assert bundle.read_bytes() == before
    last.unlink()
    assert train_folder(*words) == cli.OK


def test_files_that_are_no_generators(refused, tmp_path: Path, tiny_generator: Path) -> None:
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(tiny_generator.read_bytes()[:-1000])
    assert "cut short" in refused(f"generator={cut}")
    changed = bytearray(tiny_generator.read_bytes())
    changed[-5] ^= 1
    cut.write_bytes(changed)
    assert "damaged" in refused(f"generator={cut}")
    cut.write_text("a poem")
    assert "cannot be read as safetensors" in refused(f"generator={cut}")


def test_bundles_that_are_damaged_or_hostile(
    avatar_run: AvatarRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, made = avatar_run.bundle.read_bytes(), tmp_path / "made"
    flipped = bytearray(whole)
    flipped[-5] ^= 1
    broken = tmp_path / "bundle.safetensors"
    for content, says in [
        (whole[:-1000], "cut short"),
        (whole[:100], "cut short"),
        (b"", "cut short"),
        (bytes(flipped), "damaged"),
        (pickle.dumps(Hostile(made)), "another kind of file"),
        (whole.replace(b'\\"format\\": 1', b'\\"format\\": 9'), "bundle format 9"),
        (whole.replace(b'\\"format\\": 1', b'\\"format\\": !'), "not valid JSON"),
    ]:
        broken.write_bytes(content)
        assert cli.main(["evaluate", f"segmentation={broken}", "n=2"]) == cli.REFUSED
        error = capsys.readouterr().err
        assert str(broken) in error
        assert says in error
        assert error.count("\n") == 1
    assert not made.exists()
