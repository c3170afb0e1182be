"""Labels of what ``ganvas sample`` drew: its codes are used as they are, and only if they are the images'."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from launch import cli, train_segmentation
from networks.checkpoints.bundle import read_manifest
from networks.checkpoints.latents import load_latent, save_latent
from networks.checkpoints.masks import write_mask
from tests.launch.conftest import CLASSES, SIZE, Refused, Train
from trainers.segmentation import train_head

LABELLED = ("0000", "0002", "0003", "0005")  # of six samples


@pytest.fixture(scope="module")
def drawn(tiny_generator: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a person has after `ganvas sample` and some labelling: ``samples`` (with its grid) and ``masks``."""
    place = tmp_path_factory.mktemp("drawn")
    assert cli.main(["sample", f"generator={tiny_generator}", "n=6", "seed=3", f"out={place / 'samples'}"]) == cli.OK
    ids = np.zeros((SIZE, SIZE), np.uint8)
    ids[8:, : SIZE // 2], ids[8:, SIZE // 2 :] = 1, 2
    for name in LABELLED:
        write_mask(place / "masks" / f"{name}.png", ids, CLASSES)
    return place


@pytest.fixture
def place(drawn: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(drawn, tmp_path / "drawn"))


def words(place: Path) -> list[str]:
    samples = place / "samples"
    return [f"images={samples}", f"masks={place / 'masks'}", f"latents={samples / 'latents.safetensors'}"]


def test_the_codes_of_labelled_samples_are_used_as_they_are(
    train_folder: Train, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    learned = []

    def spy(head, generator, labels, *arguments, **named):
        learned.append(labels)
        return train_head(head, generator, labels, *arguments, **named)

    monkeypatch.setattr(train_segmentation, "train_head", spy)
    assert train_folder(*words(place), "task.folds=2") == cli.OK
    printed = capsys.readouterr().out
    assert "inverting" not in printed
    assert "the codes of 4 labelled images are known" in printed
    codes, names = load_latent(place / "samples" / "latents.safetensors")
    (labels,) = learned
    assert torch.equal(labels.latents.tensors["ws"], codes[[names.index(name) for name in LABELLED]].tensors["ws"])
    report = (tmp_path / "run" / "report.md").read_text()
    assert "their codes are known, not inverted: those of `" in report
    assert "4 labelled images, rendered from known codes, segmented by a head that did not see it" in report
    assert read_manifest(tmp_path / "run" / "export" / "segmentation.safetensors")["trained_on"]["codes"] == "known"


def test_a_picture_that_is_not_square_is_judged_without_its_margin(
    train_folder: Train, place: Path, capsys: pytest.CaptureFixture
) -> None:
    for file in [*(place / "samples").glob("0*.png"), *(place / "masks").iterdir()]:
        with Image.open(file) as image:
            image.crop((0, 6, SIZE, SIZE - 6)).save(file)  # what is left lies in the square where it was
    assert train_folder(*words(place)) == cli.OK
    assert "the codes of 4 labelled images are known" in capsys.readouterr().out


def other_generator(file: Path) -> None:
    codes, names = load_latent(file)
    save_latent(file, replace(codes, generator_hash="0" * 64), names)


def no_names(file: Path) -> None:
    save_latent(file, load_latent(file)[0])


def one_missing(file: Path) -> None:
    codes, names = load_latent(file)
    save_latent(file, codes[:5], names[:5])


def another_order(file: Path) -> None:
    codes, names = load_latent(file)
    save_latent(file, codes, names[::-1])


def another_shape(file: Path) -> None:
    codes, names = load_latent(file)
    save_latent(file, codes.replace(ws=codes.tensors["ws"][:, :3]), names)


def another_kind(file: Path) -> None:
    file.write_bytes(b"not a bundle")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (other_generator, "these latents belong to generator 000000000000, not to "),
        (no_names, "does not say which image each code belongs to"),
        (one_missing, "holds no code named '0005', which is a labelled image"),
        (another_order, "renders to another image than the labelled one"),
        (another_shape, "are not such as this generator takes (ws must be [N, 8, 8], got [4, 3, 8])"),
        (another_kind, "cannot be read as safetensors"),
        (Path.unlink, "there is no file"),
    ],
)
def test_codes_that_are_not_those_of_the_images(refused: Refused, place: Path, spoil, says: str) -> None:
    spoil(place / "samples" / "latents.safetensors")
    assert says in refused(*words(place))


def test_avatars_have_no_known_codes(refused: Refused, place: Path) -> None:
    said = refused("experiment=segmentation/avatars16", "data.resolution=32", words(place)[2])
    assert "latents= goes with data=folder" in said


def test_a_mask_of_no_sample(refused: Refused, place: Path) -> None:
    (place / "samples" / "0003.png").unlink()
    assert "0003.png has no image of that name" in refused(*words(place))
