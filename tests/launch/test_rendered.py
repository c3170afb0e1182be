"""Rooms and scenes wherever avatars are: labelled, held out, inverted, and a branch and an encoder of a BlobGAN."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from datamodules.avatars import AVATAR_CLASSES
from datamodules.scenes import SCENE_CLASSES
from editors import SegmentationEditor, load
from launch import cli
from launch.figures import read_figures
from launch.rendered import heldout_source, label_few, render
from launch.schemas_data import AvatarsConfig, RoomsConfig, ScenesConfig
from networks.blobgan import Layout
from networks.checkpoints.encoders import find_encoder
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.generators import load_generator, save_generator
from networks.checkpoints.latents import load_latent
from networks.grids import save_grid
from tests.editors.test_collage_editor import conditional
from tests.furniture import write_furniture
from tests.launch.conftest import FAST
from tests.networks.test_blobgan import made

STYLES = ("avataaars", "micah", "lorelei")
SCENES = OmegaConf.structured(ScenesConfig(resolution=32))


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def blobgan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_generator(tmp_path_factory.mktemp("blobs") / "blobgan.safetensors", made(), {})


@pytest.fixture
def rooms(tmp_path: Path) -> DictConfig:
    return OmegaConf.structured(RoomsConfig(furniture=str(write_furniture(tmp_path / "furniture")), resolution=16))


def test_labels_show_every_class_twice_and_are_nested() -> None:
    many, few = (label_few(SCENES, n, seed=1, resolution=32, pool=64) for n in (16, 3))
    assert ((many.class_pixels() > 0).sum(axis=0) >= 2).all()
    assert many.classes == SCENE_CLASSES
    assert many.names[:3] == few.names
    assert few.names[0].startswith("000-scene-labels-1-")
    assert label_few(SCENES, 3, seed=2, resolution=32, pool=64).names != few.names


def test_rooms_are_labelled_by_what_they_show(rooms: DictConfig) -> None:
    found = label_few(rooms, 16, seed=0, resolution=16, pool=16)
    assert len(found) == 16
    assert heldout_source(rooms, 0).data == "rendered rooms with exact masks"


def test_rooms_are_as_many_as_their_resolution_allows_where_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr("launch.rendered.render_rooms", lambda count, *_: asked.append(count))
    data = OmegaConf.structured(RoomsConfig(resolution=128))
    for count, resolution in ((data.count, None), (data.count, 64), (7, None)):
        render(data, count, "train", 0, resolution)
    assert asked == [3789, 10_000, 7]


@pytest.mark.parametrize("data", [SCENES, OmegaConf.structured(AvatarsConfig(resolution=16))])
def test_splits_share_nothing(data: DictConfig) -> None:
    splits = [render(data, 3, split, 0).images for split in ("train", "teacher", "heldout", "labels")]
    for i, one in enumerate(splits):
        assert all(not np.array_equal(one, other) for other in splits[:i])


def test_a_draw_that_cannot_be_is_refused_before_anything_is_drawn() -> None:
    with pytest.raises(GanvasError, match="at least 1, got 0"):
        label_few(SCENES, 0, 0, 32)
    with pytest.raises(GanvasError, match="must hold at least 16 images, got 4"):
        label_few(SCENES, 2, 0, 32, pool=4)


def test_a_branch_of_a_blobgan_segments_scenes(blobgan: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ["experiment=segmentation/scenes16", f"generator={blobgan}", "n=3", "task.labels=4", "task.pool=16",
             f"out={run}", "export.embed_generator=true", *FAST]  # fmt: skip
    assert cli.main(["train", *words]) == cli.OK
    figures = read_figures(run).figures
    assert figures["mIoU"].protocol.data == "drawn scenes with exact masks"
    assert figures["mIoU"].protocol.images == 3
    bundle = run / "export" / "segmentation.safetensors"
    editor = load(bundle)
    assert isinstance(editor, SegmentationEditor)
    assert editor.classes == SCENE_CLASSES
    drawn = editor.segment(editor.generator.sample(2, 0))
    assert drawn.mask.shape == (2, 32, 32)
    seen = editor.segment(torch.from_numpy(render(SCENES, 1, "heldout", 7).images))
    assert seen.latent.space == "layout"                       # which blobs the picture has
    out = tmp_path / "scored"
    words = ["evaluate", f"segmentation={bundle}", "data=scenes", "n=3", f"out={out}"]
    assert cli.main(words) == cli.OK
    assert read_figures(out).figures["mIoU"].value == pytest.approx(figures["mIoU"].value)
    words = ["synthesize", f"segmentation={bundle}", "n=4", "drop=0", f"out={tmp_path / 'samples'}"]
    assert cli.main(words) == cli.OK


def test_masks_of_a_blobgan_are_not_edited_by_descent(blobgan: Path, tmp_path: Path, capsys) -> None:
    run = tmp_path / "run"
    words = ["experiment=segmentation/scenes16", f"generator={blobgan}", "n=2", "task.labels=2", "task.pool=16",
             f"out={run}", *FAST]  # fmt: skip
    assert cli.main(["train", *words]) == cli.OK
    picture = tmp_path / "image.png"
    save_grid(torch.zeros(1, 3, 32, 32), picture)
    words = [f"segmentation={run / 'export' / 'segmentation.safetensors'}", f"generator={blobgan}",
             f"image={picture}", "program=remove bed", f"out={tmp_path / 'edited'}"]  # fmt: skip
    assert cli.main(["edit", *words]) == cli.REFUSED
    assert "needs a generator with W+" in capsys.readouterr().err


def test_an_encoder_of_hidden_codes_is_where_inversion_of_scenes_begins(
    blobgan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    words = ["experiment=encoder/rooms64", "data=scenes", "data.resolution=32", "data.count=8", f"generator={blobgan}",
             "n=2", "task.batch_size=4", "task.training.total_images=8", "task.network.width=8",
             "task.training.samples_first=0.5", "task.network.hidden=8", "task.network.channels=[8,8,8]",
             "task.inversion.steps=1", "task.inversion.samples=8", "trainer.threads=1", "wandb=disabled",
             f"out={run}"]  # fmt: skip
    assert cli.main(["train", *words]) == cli.OK
    monkeypatch.setenv("GANVAS_ZOO", str(run / "export"))
    generator = load_generator(blobgan)
    assert find_encoder(generator)(torch.zeros(2, 3, 32, 32)).shape == (2, 1, 24)
    inverted = tmp_path / "inverted"
    words = [f"generator={blobgan}", "data=scenes", "n=2", "inversion.start=encoder", "inversion.steps=2",
             "inversion.samples=8", f"out={inverted}"]  # fmt: skip
    assert cli.main(["invert", *words]) == cli.OK
    assert read_figures(inverted).figures["psnr"].protocol.data == "drawn scenes"
    capsys.readouterr()
    words = [f"generator={blobgan}", f"layout={inverted / 'latents.safetensors'}", "move=1:+0.2,0",
             f"out={tmp_path / 'moved'}"]  # fmt: skip
    assert cli.main(["edit", *words]) == cli.OK
    (before, names), (after, _) = (load_latent(tmp_path / at / "latents.safetensors") for at in ("inverted", "moved"))
    assert names == ("scene-heldout-0-00000", "scene-heldout-0-00001")
    shift = Layout.of(after).centre - Layout.of(before).centre
    torch.testing.assert_close(shift[:, 1], torch.tensor([[0.2, 0.0]] * 2))


def test_a_labeller_of_scenes_is_trained_and_scored(tmp_path: Path) -> None:
    words = ["experiment=segmenter/rooms", "data=scenes", "data.resolution=32", "data.count=8", "task.epochs=1",
             "task.batch_size=4", "task.heldout=4", "task.network.widths=[8,8]", "trainer.threads=1", "wandb=disabled",
             f"out={tmp_path / 'run'}"]  # fmt: skip
    assert cli.main(["train", *words]) == cli.OK
    protocol = read_figures(tmp_path / "run").figures["mIoU"].protocol
    assert (protocol.data, protocol.split) == (
        "drawn scenes with exact masks at 32x32", "split heldout, seed 0",
    )  # fmt: skip


def test_a_branch_of_a_class_conditional_gan_from_styles(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gan = save_generator(tmp_path / "gan.safetensors", conditional(), {"label_names": STYLES})
    data = ["data.styles=[avataaars,micah]", "data.resolution=16"]
    run = tmp_path / "run"
    words = ["experiment=segmentation/styles16", f"generator={gan}", *data, "n=4", "task.labels=4", "task.pool=16",
             "task.inversion.starts=2", f"out={run}", *FAST]  # fmt: skip
    assert cli.main(["train", *words]) == cli.OK
    protocol = read_figures(run).figures["mIoU"].protocol
    assert protocol.data == "rendered avatars of 2 styles with exact masks"
    editor = load(run / "export" / "segmentation.safetensors", gan)
    assert isinstance(editor, SegmentationEditor)
    assert editor.classes == AVATAR_CLASSES
    assert {"block2", "block3"} <= set(editor.head.feature_names)   # and what the image itself shows
    seen = editor.segment(torch.zeros(2, 3, 16, 16))
    assert seen.mask.shape == (2, 16, 16)
    assert seen.latent.label.shape == (2, 3)
    capsys.readouterr()
    named = [f"segmentation={run / 'export' / 'segmentation.safetensors'}", f"generator={gan}", "data=styles", *data]
    assert cli.main(["evaluate", *named, "n=2"]) == cli.OK
    assert cli.main(["evaluate", *named, "n=2", "data.styles=[avataaars,lorelei]"]) == cli.REFUSED
    assert "lorelei" in capsys.readouterr().err


def test_styles_are_inverted_as_the_class_that_is_given(tmp_path: Path) -> None:
    gan = save_generator(tmp_path / "gan.safetensors", conditional(), {"label_names": STYLES})
    words = [f"generator={gan}", "data=styles", "data.styles=[micah,lorelei]", "data.resolution=16", "n=3",
             "inversion.steps=1", "inversion.samples=8", "inversion.label=micah",
             f"out={tmp_path / 'out'}"]  # fmt: skip
    assert cli.main(["invert", *words]) == cli.OK
    latent, names = load_latent(tmp_path / "out" / "latents.safetensors")
    assert latent.label.argmax(1).tolist() == [1, 1, 1]
    assert [name.partition("-")[0] for name in names] == ["micah", "lorelei", "micah"]
