"""``ganvas evaluate recipe=blobs``: an ideal judge gives ideal figures, two kinds of judges, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor

from datamodules.scenes import SCENE_CLASSES
from launch import cli
from launch.blob_trial import Judge, Seen, Trial
from launch.blob_truth import Truth, figures, verdict
from launch.figures import Source, read_figures
from networks.blobgan import BlobGenerator, Layout
from networks.checkpoints.classes import ClassList
from networks.checkpoints.generators import load_generator, save_generator
from networks.checkpoints.heads import save_head
from networks.checkpoints.latents import save_latent
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
    save_segmenter(found / "others.safetensors", UNet(3, [8]), {"classes": CLASSES.to_json(), "metrics": {}})
    return found


def by_weights(generator: BlobGenerator, latent: Latent) -> Seen:
    """What blobs themselves say: blob 0 is a bed, blob 1 a lamp, all else the wall; painted in these colours."""
    weights = generator.synthesis.weights(Layout.of(latent))[generator.img_resolution]
    masks = (weights[:, 1:] > 0.5).float().mul(torch.tensor([1.0, 2.0])[:, None, None]).amax(1).to(torch.uint8)
    colors = torch.tensor([[-1.0, -1, -1], [1, 0, 0], [0, 0, 1]])
    return Seen(colors[masks.long()].permute(0, 3, 1, 2).contiguous(), masks)


def two_blobs() -> tuple[BlobGenerator, Latent]:
    """Two scenes with a round blob on either side."""
    generator = made(k=2)
    centre = torch.tensor([[[0.25, 0.5], [0.75, 0.5]], [[0.3, 0.3], [0.8, 0.7]]])
    layout = Layout.of(generator.sample(2, 0)).replace(
        centre=centre, size=torch.full((2, 2), 0.5), log_aspect=torch.zeros(2, 2)
    )
    return generator, layout.latent()


def test_blobs_that_are_what_they_draw_get_ideal_figures() -> None:
    generator, latent = two_blobs()
    judge = Judge("itself", CLASSES, lambda latent: by_weights(generator, latent))
    trial = Trial(generator, judge, latent, frozenset({0}), 0.125, batch=1)
    assert trial.association.label.tolist() == [1, 2]
    assert trial.association.consistency.tolist() == [1.0, 1.0]
    for blob in (0, 1):
        found = trial.outcome(blob)
        assert found.follows.all()
        torch.testing.assert_close(found.followed.share, torch.ones(2), atol=0.1, rtol=0)   # edges are pixels
        torch.testing.assert_close(found.followed.error, torch.zeros(2), atol=0.0125, rtol=0)
        assert found.arrived.all()
        assert (found.gone == 1).all()
        assert (found.removal.psnr > 15).all()
        # Nothing is measured of what counts as background.
        found = replace(trial, background=frozenset({0, 1, 2})).outcome(blob)
        assert found.followed is None
        assert len(found.gone) == 0


def beside_truth(shown: Callable[[Tensor], Tensor], instances: Tensor | None = None) -> dict[str, float]:
    """Figures where blobs are what is truly there, and the judge says ``shown`` of the masks that blobs make."""
    generator, latent = two_blobs()
    exact = by_weights(generator, latent)

    def see(latent: Latent) -> Seen:
        seen = by_weights(generator, latent)
        return Seen(seen.images, shown(seen.masks))

    told = exact.masks if instances is None else instances
    truth = Truth(exact.images, exact.masks, told, Source("two blobs"), "as they are")
    trial = Trial(generator, Judge("a judge", CLASSES, see), latent, frozenset({0}), 0.125)
    found = verdict(trial, truth, [trial.outcome(blob) for blob in trial.association.used])
    return {name: figure.value for name, figure in figures(trial, truth, found, "edits").items()}


def test_an_ideal_judge_says_what_is_true() -> None:
    found = beside_truth(lambda masks: masks)
    ideal = {"truth_object_blobs": 2, "truth_object_classes": 2, "truth_consistency": 1, "truth_objects": 4,
             "judge_miou": 1, "judge_accuracy": 1, "judge_same_class": 1, "judge_sees": 1, "judge_missed": 0,
             "judge_offset": 0, "real_move_success": 1, "real_moves": 4, "real_removal_share": 1,
             "real_removal_success": 1, "real_removals": 4}  # fmt: skip
    assert {name: found[name] for name in ideal} == ideal
    assert found["real_move_share"] == pytest.approx(1, abs=0.1)      # edges are pixels
    assert found["real_move_share"] == found["real_move_share_judged"]
    assert found["real_move_error"] < 0.0125


def test_what_a_judge_says_changes_nothing_of_what_is_true() -> None:
    ideal = beside_truth(lambda masks: masks)
    aside = beside_truth(lambda masks: masks.roll(2, dims=2))           # it sees all 2 of 32 pixels to the right
    blind = beside_truth(torch.zeros_like)
    for found in (aside, blind):
        for name in (name for name in ideal if name.startswith("truth_")):
            assert found[name] == ideal[name]
    assert aside["judge_offset"] == pytest.approx(2 / 32)
    assert aside["real_move_share_judged"] == pytest.approx(ideal["real_move_share"])
    assert 0 < aside["judge_missed"] < 0.5
    assert aside["judge_miou"] < 1
    # Who sees no object before an edit cannot say that it has gone, or stayed.
    assert (blind["judge_sees"], blind["real_moves"], blind["real_removals"]) == (0, 0, 0)
    assert math.isnan(blind["real_removal_share"])


def test_an_object_that_cannot_be_told_is_not_measured() -> None:
    generator, latent = two_blobs()
    masks = by_weights(generator, latent).masks
    found = beside_truth(lambda masks: masks, torch.where(masks == 2, 0, masks))      # no lamp can be told
    assert (found["truth_objects"], found["real_moves"], found["real_removals"]) == (2, 2, 2)
    parts = masks.clone()
    for scene in parts:                                                               # a pixel of another lamp
        scene.view(-1)[(scene == 2).flatten().nonzero()[0]] = 3
    found = beside_truth(lambda masks: masks, parts)
    assert (found["truth_objects"], found["real_moves"], found["real_removals"]) == (4, 2, 4)


def test_held_out_scenes_have_their_truth_beside_the_judge(folder: Path, tmp_path: Path, capsys) -> None:
    words = ["data=scenes", "inversion.steps=1", "inversion.samples=8", "seed=1"]
    judge = f"segmenter={folder / 'unet.safetensors'}"
    assert evaluate(folder, judge, *words, f"out={tmp_path / 'a'}") == cli.OK
    found = read_figures(tmp_path / "a").figures
    assert {"move_psnr_outside", "consistency", "truth_consistency", "judge_miou", "real_removals"} <= found.keys()
    said = {name: found[name].protocol for name in ("consistency", "truth_purity", "judge_miou", "real_move_share")}
    assert {(p.data, p.split, p.images) for p in said.values()} == {
        ("drawn scenes with exact masks", "split heldout, seed 1", 3)
    }
    assert all(p.how.startswith("inverted in 1 steps, ") for p in said.values())
    assert said["truth_purity"].network is None
    assert said["truth_purity"].how.endswith("by the exact masks alone")
    assert said["judge_miou"].how.endswith("the judge against the exact masks before any edit")
    assert said["real_move_share"].how.endswith("by the exact masks before it and by the judge after it")
    assert said["consistency"].how.endswith("before and after it by the judge")
    report = (tmp_path / "a" / "report.md").read_text()
    assert report.count("| all pixels |") == 2
    assert "## Beside the exact masks" in report
    assert "\nprotocol of real_moves: 3 drawn scenes" in capsys.readouterr().out

    # The same layouts, found beforehand; those of other scenes are refused.
    generator, layout = f"generator={folder / 'blobgan.safetensors'}", tmp_path / "inverted" / "latents.safetensors"
    assert cli.main(["invert", generator, *words, "n=4", f"out={layout.parent}"]) == cli.OK
    assert evaluate(folder, judge, *words, f"layout={layout}", f"out={tmp_path / 'b'}") == cli.OK
    again = read_figures(tmp_path / "b").figures
    assert again["truth_purity"].value == pytest.approx(found["truth_purity"].value)
    assert again["inversion_psnr"].value == pytest.approx(found["inversion_psnr"].value, abs=1e-3)
    assert again["truth_purity"].protocol.how == f"layouts of {layout}, by the exact masks alone"
    capsys.readouterr()
    assert evaluate(folder, judge, "data=scenes", "seed=2", f"layout={layout}") == cli.REFUSED
    assert "is not of these pictures, scene-heldout-2-00000 and so on: give what" in capsys.readouterr().err
def test_an_object_that_stays_behind_has_not_arrived() -> None:
    generator = made(k=1)
    layout = Layout.of(generator.sample(2, 0))
    layout = layout.replace(centre=torch.full((2, 1, 2), 0.3), size=torch.ones(2, 1), log_aspect=torch.zeros(2, 1))
    still = by_weights(generator, layout.latent())
    judge = Judge("blind", CLASSES, lambda latent: still)
    found = Trial(generator, judge, layout.latent(), frozenset({0}), 0.125).outcome(0)
    assert found.follows.all()
    assert found.arrived.tolist() == [False, False]


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
    of_blobs = [line for line in report.partition("## What became")[2].splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in of_blobs}) == 1
    assert " goes along | error | success | " in of_blobs[0]
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
        (["segmenter={unet}", "data=folder"], "data=folder says not what is where"),
        (["segmenter={unet}", "data=rooms"], "data=rooms needs data.furniture=PATH"),
        (["segmenter={others}", "recipe.background=[wall]", "data=scenes"], "the judge knows wall, bed, lamp"),
        (["segmenter={unet}", "layout={crowd}"], "have 200 blobs, and 1 to 191 can be rendered"),
        (["segmenter={unet}", "layout={needles}"], "have a log_aspect outside of [-40, 40]"),
        (["segmenter={unet}", "recipe={}"], "segmenter= is for recipe=blobs"),
    ],
)
def test_a_mistake_gets_one_sentence(
    words: list[str], says: str, folder: Path, tiny_generator: Path, tmp_path: Path, capsys
) -> None:
    save_grid(torch.zeros(1, 3, 8, 8), tmp_path / "image.png")
    scenes = Layout.of(made().sample(1, 0))
    crowd, needles = scenes.take([0, 1] * 100), scenes.replace(log_aspect=torch.full((1, 3), 500.0))
    saved = {name: save_latent(tmp_path / f"{name}.safetensors", layout.latent())
             for name, layout in {"crowd": crowd, "needles": needles}.items()}  # fmt: skip
    files = saved | {"unet": folder / "unet.safetensors", "others": folder / "others.safetensors",
             "branch": folder / "branch.safetensors",
             "stylegan": tiny_generator, "image": tmp_path / "image.png"}  # fmt: skip
    if words[-1:] == ["recipe={}"]:
        line = ["evaluate", f"segmenter={files['unet']}", f"generator={folder / 'blobgan.safetensors'}"]
        assert cli.main(line) == cli.REFUSED
    else:
        assert evaluate(folder, *(word.format(**files) for word in words)) == cli.REFUSED
    error = capsys.readouterr().err
    assert says in error
    assert len([line for line in error.splitlines() if line]) == 1
