"""What a person can get wrong about the images of a generator: one sentence, status 2, nothing left behind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from launch import cli
from launch.compose import compose
from launch.data import reference_images
from networks.checkpoints.errors import GanvasError

Break = Callable[[Path], Path]   # what is spoilt -> what images= names


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four images, one in a folder of its own, with labels; the cache beside it."""
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "photos"
    names = ["a.png", "b.png", "c.png", "more/d.png"]
    for i, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (16, 16, 3), np.uint8)).save(folder / name)
    (folder / "dataset.json").write_text(json.dumps({"labels": [[name, i] for i, name in enumerate(names)]}))
    return folder


def zipped(folder: Path) -> Path:
    return Path(shutil.make_archive(str(folder), "zip", folder))


def no_images(folder: Path) -> Path:
    shutil.rmtree(folder)
    folder.mkdir()
    return folder


def zip_without_images(folder: Path) -> Path:
    no_images(folder)
    (folder / "notes.txt").write_text("nothing to see")
    return zipped(folder)


def one_image(folder: Path) -> Path:
    no_images(folder)
    Image.new("RGB", (16, 16)).save(folder / "a.png")
    return folder


def unreadable_image(folder: Path) -> Path:
    (folder / "more" / "d.png").write_text("a poem")
    return folder


def unreadable_image_in_a_zip(folder: Path) -> Path:
    return zipped(unreadable_image(folder))


def truncated_zip(folder: Path) -> Path:
    path = zipped(folder)
    path.write_bytes(path.read_bytes()[:-200])
    return path


def damaged_zip(folder: Path) -> Path:
    path = zipped(folder)
    data = bytearray(path.read_bytes())
    start = data.index(b"b.png") + 100
    data[start : start + 50] = bytes(50)
    path.write_bytes(data)
    return path


def an_image_for_a_folder(folder: Path) -> Path:
    return folder / "a.png"


def nowhere(folder: Path) -> Path:
    return folder / "no" / "such"


def without_labels(folder: Path) -> Path:
    (folder / "dataset.json").unlink()
    return folder


def null_labels(folder: Path) -> Path:
    (folder / "dataset.json").write_text('{"labels": null}')
    return zipped(folder)


def a_label_missing(folder: Path) -> Path:
    (folder / "dataset.json").write_text('{"labels": [["a.png", 0], ["b.png", 1], ["c.png", 1]]}')
    return folder


def broken_labels(folder: Path) -> Path:
    (folder / "dataset.json").write_text('{"labels": [["a.png", 0')
    return folder


def unchanged(folder: Path) -> Path:
    return folder


def refused(images: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The sentence of a run that must be refused and must leave nothing behind, in the cache neither."""
    place = images.parent / "run"
    small = ["task.generator.channel_max=4", "task.metrics_samples=4", "wandb=disabled", "trainer.threads=1"]
    command = ["train", "experiment=stylegan2/folder", f"images={images}", *small, f"out={place}"]
    given = {word.partition("=")[0] for word in words}
    assert cli.main([*command, *words, *([] if "resolution" in given else ["resolution=16"])]) == cli.REFUSED
    error = capsys.readouterr().err
    assert "Traceback" not in error
    (sentence,) = [line for line in error.splitlines() if line.startswith("ganvas: ")]
    assert not place.exists()
    return sentence


@pytest.mark.parametrize(
    ("spoil", "words", "says"),
    [
        (no_images, [], "The folder {path} holds no images (.png, "),
        (zip_without_images, [], "The zip {path} holds no images (.png, "),
        (one_image, [], "a GAN needs at least 2 images to train on, got 1: give more of them."),
        (unreadable_image, [], "{path}/more/d.png cannot be read as an image"),
        (unreadable_image_in_a_zip, [], "{path}/more/d.png cannot be read as an image"),
        (truncated_zip, [], "{path} is neither a folder nor a whole zip"),
        (damaged_zip, [], "b.png in {path} cannot be read"),
        (an_image_for_a_folder, [], "{path} is neither a folder nor a whole zip"),
        (nowhere, [], "There is no folder {path} and no such zip"),
        (without_labels, ["data.labels=true"], "{path}/a.png lies in no folder of a class, and other images do"),
        (null_labels, ["data.labels=true"], "{path}/dataset.json holds no labels: add them, or leave data.labels out."),
        (a_label_missing, ["data.labels=true"], "{path}/dataset.json has no label for more/d.png: add it, or leave"),
        (broken_labels, ["data.labels=true"], "{path}/dataset.json cannot be used ("),
        (unchanged, ["resolution=100"], "data.resolution=100 must be a power of two of at least 16 for a generator"),
        (unchanged, ["resolution=0"], "data.resolution=0 must be a power of two of at least 16 for a generator"),
        (unchanged, ["data.fit=squash"], "data.fit=squash must be pad, crop or stretch."),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_images_that_cannot_be_learned_from(
    folder: Path, spoil: Break, words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    images = spoil(folder)
    sentence = refused(images, words, capsys)
    assert sentence.startswith("ganvas: " + says.format(path=images))
    left = [file.name for file in (folder.parent / "cache").rglob("*") if file.is_file()]
    assert [name for name in left if spoil is not one_image or name.startswith(".")] == []


def test_a_segmentation_has_no_use_for_them(
    folder: Path, tiny_generator: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "experiment=segmentation/folder", f"generator={tiny_generator}", f"images={folder}",
             f"masks={folder}", "wandb=disabled", f"out={folder.parent / 'run'}"]  # fmt: skip
    for option in ("data.mirror=true", "data.fit=crop", "data.labels=true"):
        assert cli.main([*words, option]) == cli.REFUSED
        assert f"{option.partition('=')[0]} is for generators and encoders" in capsys.readouterr().err


def test_a_comparison_with_nothing_is_refused(folder: Path) -> None:
    cfg = compose("evaluate", ["generator=g", "data=folder", f"images={folder}"])
    for n in (0, 1):
        with pytest.raises(GanvasError, match=f"a comparison needs at least 2 images, got {n}"):
            reference_images(cfg, n)
    reference = reference_images(cfg, 2)
    assert reference.images.shape == (2, 3, 16, 16)
    assert " of 4, evenly by name, which training may have seen at 16x16" in reference.what
