"""Shards come back as they went in, whole or not at all, and what was interrupted goes on without duplicates."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from datamodules.folder import read_folder
from datamodules.shards import Shard, SynthesizedFolder, name_of
from networks.checkpoints.classes import ClassList
from networks.checkpoints.errors import GanvasError

CLASSES = ClassList.of_names(("ground", "left", "right"))
SIZE = 8


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "cache"))


def plan(**changes: object) -> dict:
    return {
        "layout": "tar", "n": 10, "shard": 4, "seed": 0, "classes": CLASSES.to_json(), "resolution": SIZE,
        "command": "ganvas synthesize n=10", **changes,
    }  # fmt: skip


def item(number: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(number)
    mask = random.choice([0, 1, 2, 255], (SIZE, SIZE)).astype(np.uint8)
    return random.integers(0, 256, (3, SIZE, SIZE), dtype=np.uint8), mask


def shard(numbers: range, dropped: set[int] = frozenset()) -> Shard:
    kept = tuple(i for i in numbers if i not in dropped)
    pairs = [item(i) for i in kept]
    images = np.array([image for image, _ in pairs], np.uint8).reshape(-1, 3, SIZE, SIZE)
    masks = np.array([mask for _, mask in pairs], np.uint8).reshape(-1, SIZE, SIZE)
    others = np.array([item(i)[1] for i in numbers if i in dropped], np.uint8).reshape(-1, SIZE, SIZE)
    return Shard(tuple(numbers), tuple(i / 10 for i in numbers), kept, images, masks, others)


def filled(path: Path, dropped: set[int] = frozenset(), **changes: object) -> SynthesizedFolder:
    folder = SynthesizedFolder.begin(path, plan(**changes))
    for number in folder.missing():
        folder.write(number, shard(folder.items(number), dropped))
    return folder


@pytest.mark.parametrize("layout", ["tar", "png"])
def test_what_was_kept_comes_back_in_order(tmp_path: Path, layout: str) -> None:
    filled(tmp_path / "a", {0, 5}, layout=layout)
    found = SynthesizedFolder.open(tmp_path / "a").read()
    kept = [i for i in range(10) if i not in (0, 5)]
    assert found.names == tuple(map(name_of, kept))
    assert found.classes == CLASSES
    for i, image, mask in zip(kept, found.images, found.masks, strict=True):
        assert np.array_equal(image, item(i)[0])
        assert np.array_equal(mask, item(i)[1])


def test_files_are_what_every_tool_reads(tmp_path: Path) -> None:
    folder = filled(tmp_path / "a", layout="png")
    plain, own = read_folder(tmp_path / "a" / "images", tmp_path / "a" / "masks"), folder.read()
    assert np.array_equal(plain.images, own.images)
    assert np.array_equal(plain.masks, own.masks)
    assert plain.classes == CLASSES


def test_webdataset_reads_the_tars(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    filled(tmp_path / "a")
    files = sorted(str(path) for path in (tmp_path / "a").glob("shard-*.tar"))
    assert len(files) == 3
    samples = list(webdataset.WebDataset(files, shardshuffle=False).decode("rgb8").to_tuple("png", "json"))
    assert [said["number"] for _, said in samples] == list(range(10))
    assert samples[3][1]["uncertainty"] == pytest.approx(0.3)
    assert np.array_equal(samples[3][0].transpose(2, 0, 1), item(3)[0])


def test_a_killed_process_leaves_a_shard_to_be_done_again_and_no_duplicate(tmp_path: Path) -> None:
    folder = SynthesizedFolder.begin(tmp_path / "a", plan(layout="png"))
    folder.write(0, shard(folder.items(0)))
    folder.write(1, shard(folder.items(1)))
    (tmp_path / "a" / "index" / "00001.json").unlink()  # killed between the images and the entry
    again = SynthesizedFolder.begin(tmp_path / "a", plan(layout="png"))
    assert again.missing() == [1, 2]
    with pytest.raises(GanvasError, match="is not finished, 2 of 3 shards are missing: run its command again, `ganvas"):
        again.read()
    for number in again.missing():
        again.write(number, shard(again.items(number)))
    assert again.read().names == tuple(map(name_of, range(10)))
    assert len(list((tmp_path / "a" / "images").iterdir())) == 10


def test_the_same_shard_has_the_same_bytes(tmp_path: Path) -> None:
    one, other = (filled(tmp_path / name).path / "shard-00001.tar" for name in ("a", "b"))
    assert one.read_bytes() == other.read_bytes()


def test_more_items_are_added_and_the_last_short_shard_is_made_anew(tmp_path: Path) -> None:
    filled(tmp_path / "a")
    grown = SynthesizedFolder.begin(tmp_path / "a", plan(n=13))
    assert grown.missing() == [2, 3]
    for number in grown.missing():
        grown.write(number, shard(grown.items(number)))
    assert len(grown.read()) == 13
    with pytest.raises(GanvasError, match="holds a synthesis of n=13, and this one asks for n=10"):
        SynthesizedFolder.begin(tmp_path / "a", plan())


def test_the_index_says_what_was_drawn(tmp_path: Path) -> None:
    folder = filled(tmp_path / "a", {2, 9})
    index = folder.index()
    assert index["numbers"].tolist() == list(range(10))
    assert index["numbers"][~index["kept"]].tolist() == [2, 9]
    assert index["uncertainty"].tolist() == pytest.approx([i / 10 for i in range(10)])
    masks = folder.read().masks
    assert index["pixels"].tolist() == [(masks == k).sum() for k in range(3)]
    assert index["shown"].tolist() == [8, 8, 8]
    assert index["dropped"].tolist() == [2, 2, 2]


def test_a_changed_folder_is_read_anew(tmp_path: Path) -> None:
    folder = filled(tmp_path / "a")
    assert len(folder.read()) == 10
    folder.write(0, shard(folder.items(0), {1}))
    assert len(folder.read()) == 9


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"seed": 1}, "holds a synthesis with seed=0, and this one has seed=1: give the same options to go on"),
        ({"layout": "png"}, "holds a synthesis with layout=tar"),
        ({"classes": {"names": ["a"], "palette": [[0, 0, 0]]}}, "holds a synthesis with classes="),
    ],
)
def test_another_synthesis_is_refused(tmp_path: Path, changes: dict, sentence: str) -> None:
    filled(tmp_path / "a")
    with pytest.raises(GanvasError, match=sentence):
        SynthesizedFolder.begin(tmp_path / "a", plan(**changes))


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "diary.txt").write_text("mine")
    with pytest.raises(GanvasError, match="exists and is no synthesis"):
        SynthesizedFolder.begin(tmp_path / "a", plan())
    with pytest.raises(GanvasError, match="was not written by `ganvas synthesize`"):
        SynthesizedFolder.open(tmp_path / "a")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda path: (path / "shard-00001.tar").unlink(), "shard-00001.tar cannot be read"),
        (lambda path: (path / "shard-00001.tar").write_bytes(b"x" * 2000), "shard-00001.tar cannot be read"),
        (lambda path: empty(path / "shard-00001.tar"), "shard-00001.tar ends after 0 of 4 images"),
        (lambda path: other(path / "shard-00001.tar"), "shard-00001.tar does not hold what its index says"),
        (lambda path: (path / "index" / "00001.json").write_text("{"), "00001.json is damaged"),
        (lambda path: (path / "synthesis.json").write_text("{}"), "synthesis.json is damaged"),
        (lambda path: newer(path / "synthesis.json"), "is of format 2 and this version reads 1"),
    ],
)
def test_damage_is_named(tmp_path: Path, spoil, sentence: str) -> None:
    filled(tmp_path / "a")
    spoil(tmp_path / "a")
    with pytest.raises(GanvasError, match=sentence):
        SynthesizedFolder.open(tmp_path / "a").read()


def empty(path: Path) -> None:
    tarfile.open(path, "w").close()


def other(path: Path) -> None:
    path.write_bytes(path.with_name("shard-00000.tar").read_bytes())


def newer(path: Path) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 2}))
