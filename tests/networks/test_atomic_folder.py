"""A folder is seen whole or not at all, and only what was written this way gives way to another."""

from __future__ import annotations

from pathlib import Path

import pytest

from networks.checkpoints.atomic import atomic_folder
from networks.checkpoints.errors import GanvasError


def write(path: Path, text: str, replaces: str | None = "mark") -> None:
    with atomic_folder(path, replaces) as folder:
        (folder / "mark").write_text(text)
        assert not (path / "mark").exists() or (path / "mark").read_text() != text


def stopped(path: Path) -> None:
    with atomic_folder(path, "mark") as folder:
        (folder / "mark").write_text("two")
        raise KeyboardInterrupt


def test_it_appears_when_all_is_written(tmp_path: Path) -> None:
    write(tmp_path / "deep" / "new", "one")
    assert (tmp_path / "deep" / "new" / "mark").read_text() == "one"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["new"]


def test_an_empty_folder_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    write(tmp_path / "new", "one")


def test_an_error_leaves_nothing_and_keeps_the_old_one(tmp_path: Path) -> None:
    write(tmp_path / "new", "one")
    (tmp_path / "new" / "more").write_text("more")
    with pytest.raises(KeyboardInterrupt):
        stopped(tmp_path / "new")
    assert (tmp_path / "new" / "mark").read_text() == "one"
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    write(tmp_path / "new", "two")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["mark"]


@pytest.mark.parametrize("replaces", [None, "other"])
def test_what_others_wrote_stays(replaces: str | None, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "mark").write_text("by hand")
    with pytest.raises(GanvasError, match="is not an empty folder"):
        write(tmp_path / "new", "one", replaces)
    assert (tmp_path / "new" / "mark").read_text() == "by hand"
    (tmp_path / "file").write_text("")
    with pytest.raises(GanvasError, match="is not an empty folder"):
        write(tmp_path / "file", "one", replaces)
