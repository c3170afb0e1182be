"""``ganvas evaluate recipe=blobs``: an ideal judge gives ideal figures, two kinds of judges, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from datamodules.scenes import SCENE_CLASSES
from launch import cli
from launch.evaluate_blobs import Judge, Seen, Trial
from launch.figures import read_figures
from networks.blobgan import BlobGenerator, Layout
from networks.checkpoints.classes import ClassList
from networks.checkpoints.generators import load_generator, save_generator
from networks.checkpoints.heads import save_head
from networks.grids import save_grid
from networks.latent import Latent
from networks.segmentation import head_for
from networks.segmenters import save_segmenter
from networks.unet import UNet
from tests.networks.test_blobgan import made

CLASSES = ClassList(("wall", "bed", "lamp"), ((0, 0, 0), (200, 30, 30), (30, 30, 200)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generator, a branch of it, and a labeller."""
    found = tmp_path_factory.mktemp("blobs")
    save_generator(found / "blobgan.safetensors", made(), {})
    generator = load_generator(found / "blobgan.safetensors")
    head = head_for(generator, "linear", 8, seed=0, members=2).eval()
    save_head(found / "branch.safetensors", head, generator, SCENE_CLASSES.to_json(), {}, {})
    torch.manual_seed(0)
    save_segmenter(found / "unet.safetensors", UNet(8, [8]), {"classes": SCENE_CLASSES.to_json(), "metrics": {}})
    return found


def by_weights(generator: BlobGenerator, latent: Latent) -> Seen:
    """What blobs themselves say: blob 0 is a bed, blob 1 a lamp, all else the wall; painted in these colours."""
    weights = generator.synthesis.weights(Layout.of(latent))[generator.img_resolution]
    masks = (weights[:, 1:] > 0.5).float().mul(torch.tensor([1.0, 2.0])[:, None, None]).amax(1).to(torch.uint8)
    colors = torch.tensor([[-1.0, -1, -1], [1, 0, 0], [0, 0, 1]])
    return Seen(colors[masks.long()].permute(0, 3, 1, 2).contiguous(), masks)


def test_blobs_that_are_what_they_draw_get_ideal_figures() -> None:
    generator = made(k=2)
    centre = torch.tensor([[[0.25, 0.5], [0.75, 0.5]], [[0.3, 0.3], [0.8, 0.7]]])
    layout = Layout.of(generator.sample(2, 0)).replace(
        centre=centre, size=torch.full((2, 2), 0.5), log_aspect=torch.zeros(2, 2)
    )
    judge = Judge("itself", CLASSES, lambda latent: by_weights(generator, latent))
    latent = layout.latent()
    trial = Trial(generator, judge, latent, frozenset({0}), 0.125, batch=1)
    assert trial.association.label.tolist() == [1, 2]
    assert trial.association.consistency.tolist() == [1.0, 1.0]
    for blob in (0, 1):
        found = trial.outcome(blob)
        assert found.follows.all()
        torch.testing.assert_close(found.followed.share, torch.ones(2), atol=0.1, rtol=0)   # edges are pixels
        torch.testing.assert_close(found.followed.error, torch.zeros(2), atol=0.0125, rtol=0)
        assert (found.gone == 1).all()
        assert (found.removal.psnr > 15).all()
        # Nothing is measured of what counts as background.
        found = replace(trial, background=frozenset({0, 1, 2})).outcome(blob)
        assert found.followed is None
        assert len(found.gone) == 0


def evaluate(folder: Path, *words: str) -> int:
    given = {word.partition("=")[0]: word for word in
             ["recipe=blobs", "recipe.background=[wall,floor]", f"generator={folder / 'blobgan.safetensors'}", "n=3",
              *words]}  # fmt: skip
    return cli.main(["evaluate", *(word for word in given.values() if not word.endswith("="))])


@pytest.mark.parametrize("judge", ["segmentation=branch", "segmenter=unet"])
def test_a_judge_of_either_kind_gives_a_report(judge: str, folder: Path, tmp_path: Path, capsys) -> None:
    key, name = judge.split("=")
    assert evaluate(folder, f"{key}={folder / name}.safetensors", f"out={tmp_path}") == cli.OK
    figures = read_figures(tmp_path).figures
    assert {"consistency", "purity", "move_share", "removal_share", "move_psnr_outside"} <= figures.keys()
    protocol = figures["move_share"].protocol
    assert (protocol.data, protocol.split, protocol.images) == ("samples", "seed 0, truncation 1", 3)
    assert protocol.network.startswith({"segmentation": "branch ", "segmenter": "segmenter "}[key])
    assert figures["move_psnr_outside"].protocol.network is None
    assert figures["removal_perceptual_outside"].protocol.network == "stlpips-alex"
    report = (tmp_path / "report.md").read_text()
    assert "| all pixels |" in report
    assert report.count("\n| 0 | ") == 2                      # a row in each table
    assert OmegaConf.load(tmp_path / "config.yaml").recipe.background == ["wall", "floor"]
    assert f"\nreport: {tmp_path / 'report.md'}\n" in capsys.readouterr().out


def test_scenes_may_be_given(folder: Path, tmp_path: Path) -> None:
    generator = folder / "blobgan.safetensors"
    assert cli.main(["sample", f"generator={generator}", "n=4", "seed=5", f"out={tmp_path / 'drawn'}"]) == cli.OK
    found = []
    for words in ([f"layout={tmp_path / 'drawn' / 'latents.safetensors'}"], ["seed=5"]):
        out = tmp_path / str(len(found))
        assert evaluate(folder, f"segmenter={folder / 'unet.safetensors'}", f"out={out}", *words) == cli.OK
        found.append(read_figures(out).figures)
    assert found[0]["purity"].value == pytest.approx(found[1]["purity"].value)
    assert found[0]["purity"].protocol.data.startswith("scenes of ")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "judged by one of segmentation=BUNDLE"),
        (["segmenter={unet}", "segmentation={branch}"], "judged by one of segmentation=BUNDLE"),
        (["segmenter={unet}", "generator="], "recipe=blobs needs generator=FILE"),
        (["segmenter={unet}", "recipe.background=[wall,ceiling]"], "ceiling"),
        (["segmenter={unet}", "recipe.move=0"], "recipe.move=0.0 must be a part of the image's width"),
        (["segmenter={branch}"], "branch.safetensors"),
        (["segmenter={unet}", "n=0"], "n=0 must be at least 1"),
        (["segmenter={unet}", "generator={stylegan}"], "is not of a BlobGAN"),
        (["segmenter={unet}", "layout={image}"], "image.png"),
        (["segmenter={unet}", "recipe={}"], "segmenter= is for recipe=blobs"),
    ],
)
def test_a_mistake_gets_one_sentence(
    words: list[str], says: str, folder: Path, tiny_generator: Path, tmp_path: Path, capsys
) -> None:
    save_grid(torch.zeros(1, 3, 8, 8), tmp_path / "image.png")
    files = {"unet": folder / "unet.safetensors", "branch": folder / "branch.safetensors",
             "stylegan": tiny_generator, "image": tmp_path / "image.png"}  # fmt: skip
    if words[-1:] == ["recipe={}"]:
        line = ["evaluate", f"segmenter={files['unet']}", f"generator={folder / 'blobgan.safetensors'}"]
        assert cli.main(line) == cli.REFUSED
    else:
        assert evaluate(folder, *(word.format(**files) for word in words)) == cli.REFUSED
    error = capsys.readouterr().err
    assert says in error
    assert len([line for line in error.splitlines() if line]) == 1
