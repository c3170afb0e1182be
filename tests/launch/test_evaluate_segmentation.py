"""``ganvas evaluate segmentation=BUNDLE``."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from editors import load
from editors.invert import _Problem
from launch import cli
from launch.figures import read_figures
from tests.launch.conftest import AvatarRun


@pytest.fixture(autouse=True)
def cache(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(shared_cache))


def figures(text: str) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)


def test_it_finds_what_the_run_found(avatar_run: AvatarRun, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["evaluate", f"segmentation={avatar_run.bundle}", "n=4"]) == cli.OK
    found, before = figures(capsys.readouterr().out), figures("\n".join(avatar_run.printed))
    assert "4 rendered avataaars with exact masks (split heldout, seed 0)" in found["protocol"]
    for name in ("mIoU", "mIoU_datasetgan_rule", "pixel_accuracy", "ece", "aurc"):
        assert float(found[name]) == pytest.approx(float(before[name]), abs=1e-3)


def test_a_folder_for_the_figures_keeps_them_with_their_protocol(avatar_run: AvatarRun, tmp_path: Path) -> None:
    words = [f"segmentation={avatar_run.bundle}", "n=2", f"out={tmp_path / 'kept'}"]
    assert cli.main(["evaluate", *words]) == cli.OK
    kept = read_figures(tmp_path / "kept")
    assert kept.verb == "evaluate"
    assert kept.figures["mIoU"].protocol.images == 2
    assert {"mIoU", "ece", "IoU skin"} < kept.figures.keys()
    assert (tmp_path / "kept" / "config.yaml").exists()
    report = (tmp_path / "kept" / "report.md").read_text()
    assert f"| area under the risk-coverage curve | {kept.figures['aurc'].value:.4g} |" in report
    for picture in ("predictions", "classes-iou", "coverage", "reliability"):
        assert f"](images/{picture}.png)" in report
        assert Image.open(tmp_path / "kept" / "images" / f"{picture}.png").size > (200, 200)


def test_a_folder_and_a_class_that_it_never_shows(
    train_folder, tiny_generator: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    classes = tmp_path / "classes.txt"
    classes.write_text("ground\nleft\nright\nunicorn\n")
    assert train_folder(f"classes={classes}") == cli.OK
    capsys.readouterr()
    words = ["evaluate", f"segmentation={tmp_path / 'run' / 'export' / 'segmentation.safetensors'}",
             f"generator={tiny_generator}", f"images={folder / 'images'}", f"masks={folder / 'masks'}"]  # fmt: skip
    assert cli.main([*words, "n=2"]) == cli.OK
    found = figures(capsys.readouterr().out)
    assert found["protocol"].startswith("2 images of ")
    assert found["IoU unicorn"] == "absent"
    assert float(found["mIoU_datasetgan_rule"]) <= float(found["mIoU"])


def test_the_editor_sees_a_photo_as_training_did(
    train_folder, tiny_generator: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in [*(folder / "images").glob("*.png"), *(folder / "masks").glob("*.png")]:
        Image.open(file).crop((0, 4, 32, 28)).resize((80, 60), Image.Resampling.NEAREST).save(file)
    assert train_folder("task.training.passes=1") == cli.OK

    def again(*_: object) -> None:
        pytest.fail("the inversion of training is not found")

    monkeypatch.setattr(_Problem, "optimise", again)
    result = load(tmp_path / "run" / "export" / "segmentation.safetensors", tiny_generator).segment(
        [folder / "images" / f"{name}.png" for name in "abcd"], progress=False
    )
    assert (result.mask[:, :4] == 255).all()
    assert (result.mask[:, 4:28] != 255).all()
    assert [mask.shape for mask in result.photo_masks()] == [(60, 80)] * 4


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["segmentation=/no/such.safetensors"], "there is no file /no/such.safetensors"),
        (["segmentation={generator}"], "is no segmentation bundle: give it as generator="),
        (["segmentation={bundle}", "images=/no/such"], "both images=DIR and masks=DIR"),
        (["segmentation={bundle}", "images=/no/such", "masks=/no/such"], "There is no folder /no/such"),
        (["segmentation={bundle}", "data=folder"], "images=DIR with masks=DIR, or with data=avatars"),
        (["segmentation={bundle}", "n=0"], "n=0 leaves nothing to score"),
        ([], "nothing says what to evaluate"),
    ],
)
def test_what_cannot_be_evaluated(
    avatar_run: AvatarRun, words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    named = [word.format(generator=avatar_run.generator, bundle=avatar_run.bundle) for word in words]
    assert cli.main(["evaluate", *named]) == cli.REFUSED
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


def test_masks_of_other_classes_are_refused(
    avatar_run: AvatarRun, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("L", (32, 32), 200).save(folder / "masks" / "a.png")
    words = [f"segmentation={avatar_run.bundle}", f"images={folder / 'images'}", f"masks={folder / 'masks'}"]
    assert cli.main(["evaluate", *words]) == cli.REFUSED
    assert "has class id 200" in capsys.readouterr().err


def test_a_folder_that_names_other_classes_is_refused(
    avatar_run: AvatarRun, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "masks" / "classes.json").write_text('["sky", "sea", "sand"]')
    words = [f"segmentation={avatar_run.bundle}", f"images={folder / 'images'}", f"masks={folder / 'masks'}"]
    assert cli.main(["evaluate", *words]) == cli.REFUSED
    assert "the masks have the classes sky, sea, sand, and" in capsys.readouterr().err
