"""Everything that a person can get wrong about a segmentation: one sentence, status 2, nothing half-written."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from editors import load
from launch import cli
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.generators import save_generator
from networks.segmenters import save_segmenter
from networks.stylegan2 import Generator
from networks.unet import UNet

Break = Callable[[Path], None]


def mask(folder: Path, name: str = "b") -> Path:
    return folder / "masks" / f"{name}.png"


def image(folder: Path, name: str = "b") -> Path:
    return folder / "images" / f"{name}.png"


def smaller_mask(folder: Path) -> None:
    Image.open(mask(folder)).resize((16, 16), Image.Resampling.NEAREST).save(mask(folder))


def foreign_id(folder: Path) -> None:
    ids = np.array(Image.open(mask(folder)))
    ids[5, 7] = 9
    Image.fromarray(ids).save(mask(folder))


def foreign_id_in_our_palette(folder: Path) -> None:
    picture = Image.open(mask(folder))
    assert picture.mode == "P"
    picture.putpixel((7, 5), 77)
    picture.save(mask(folder))


def foreign_color(folder: Path) -> None:
    colors = np.array(Image.open(mask(folder)).convert("RGB"))
    colors[5, 7] = (1, 2, 3)
    Image.fromarray(colors).save(mask(folder))


def truncated_image(folder: Path) -> None:
    image(folder).write_bytes(image(folder).read_bytes()[:200])


def truncated_mask(folder: Path) -> None:
    mask(folder).write_bytes(mask(folder).read_bytes()[:100])


def no_images(folder: Path) -> None:
    for file in (folder / "images").iterdir():
        file.unlink()


def no_masks(folder: Path) -> None:
    for file in (folder / "masks").glob("*.png"):
        file.unlink()


def no_folder(folder: Path) -> None:
    shutil.rmtree(folder / "masks")


def one_mask_missing(folder: Path) -> None:
    mask(folder).unlink()


def sixteen_bit_mask(folder: Path) -> None:
    ids = np.array(Image.open(mask(folder))).astype(np.uint16)
    ids[5, 7] = 300
    Image.fromarray(ids).save(mask(folder))


def mask_of_a_photo(folder: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)).save(mask(folder))


def mask_with_alpha(folder: Path) -> None:
    rgba = np.array(Image.open(mask(folder)).convert("RGBA"))
    rgba[5, 7, 3] = 10
    Image.fromarray(rgba).save(mask(folder))


def text_for_an_image(folder: Path) -> None:
    image(folder).write_text("a poem")


def everything_ignored(folder: Path) -> None:
    for file in (folder / "masks").glob("*.png"):
        Image.fromarray(np.full((32, 32), 255, np.uint8)).save(file)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (smaller_mask, ["masks/b.png is 16x16", "images/b.png is 32x32", "the same size"]),
        (foreign_id, ["masks/b.png has class id 9 at pixel (x=7, y=5)", "ends at 2", "name the class"]),
        (foreign_id_in_our_palette, ["masks/b.png has class id 77 at pixel (x=7, y=5)", "ends at 2", "name the class"]),
        (foreign_color, ["masks/b.png has colour #010203 at pixel (x=7, y=5)", "classes.json"]),
        (sixteen_bit_mask, ["masks/b.png", "300"]),
        (mask_of_a_photo, ["masks/b.png has colour #", "classes.json"]),
        (mask_with_alpha, ["masks/b.png is partly transparent, first at pixel (x=7, y=5)"]),
        (text_for_an_image, ["images/b.png cannot be read"]),
        (truncated_image, ["images/b.png cannot be read", "truncated", "Save it again"]),
        (truncated_mask, ["masks/b.png cannot be read", "truncated", "Save it again"]),
        (no_images, ["images holds no images", ".png"]),
        (no_masks, ["masks holds no masks", ".png"]),
        (no_folder, ["There is no folder", "masks"]),
        (one_mask_missing, ["images/b.png has no mask b.png", "add it"]),
        (everything_ignored, ["255", "label at least one pixel"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_folder_that_cannot_be_learned_from(refused, folder: Path, spoil: Break, says: list[str]) -> None:
    spoil(folder)
    sentence = refused()
    for part in says:
        assert part in sentence


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["task.passes=3"], "no option `task.passes`; did you mean `task.training.passes`"),
        (["task.training.pases=3"], "no option `task.training.pases`"),
        (["task.training.passes=many"], "`task.training.passes=many` does not fit"),
        (["generator=/no/such.safetensors"], "there is no file /no/such.safetensors"),
        (["generator="], "needs generator=FILE"),
        (["images=/no/such"], "There is no folder /no/such"),
        (["masks="], "data=folder needs images=DIR and masks=DIR"),
        (["classes=/no/such.txt"], "/no/such.txt cannot be read"),
        (["data.resolution=64"], "data.resolution=64, but"),
        (["data=avatars", "data.resolution=64"], "data.resolution=64, but"),
        (["n=3"], "n=3 counts held-out images, and data=folder has none: leave n= out."),
        (["n=3", "images=/no/such"], "n=3 counts held-out images"),
        (["task.curve=[1,2]"], "task.curve needs held-out images"),
        (["task.training.recipe=original"], "trains the reference head"),
        (["task.inversion.steps=-1"], "steps must be at least 0, got -1"),
        (["task.inversion.rate=0"], "rate must be greater than 0, got 0"),
        (["task.inversion.critic=foo"], "critic must be one of stlpips-alex, "),
        (["task.inversion.start=encoder"], "no encoder of this generator lies beside it or in the zoo: use "),
        (["task.head.members=0"], "members must be at least 1"),
        (["task.head.width=0"], "width and hidden must be at least 1, got 0"),
        (["task.head.hidden=0"], "width and hidden must be at least 1, got 8, 0"),
        (["task.head.dropout=1"], "dropout must be at least 0 and less than 1, got 1"),
        (["task.training.recipe=foo"], "recipe must be default or original, got 'foo'"),
        (["task.training.windows=0"], "windows must be at least 1, got 0"),
        (["task.training.learning_rate=-1"], "learning_rate must be a number greater than 0, got -1"),
        (["task.training.passes=0", "task.training.least_steps=0"], "leave nothing to train"),
        (["data=avatars", "data.resolution=32", "task.labels=0"], "must be at least 1, got 0"),
        (["data=avatars", "data.resolution=32", "n=0"], "must be at least 1, got 0"),
        (["data=avatars", "data.resolution=32", "task.labels=2", "task.curve=[1,4]"], "between 1 and the 2 labelled"),
        (["data=avatars", "data.resolution=32", "n=2", "task.teacher=/no/such"], "there is no file /no/such"),
    ],
)
def test_options_that_cannot_be_followed(refused, words: list[str], says: str) -> None:
    assert says in refused(*words)


def test_a_teacher_of_other_classes_is_found_out_before_the_work(refused, tmp_path: Path) -> None:
    teacher = tmp_path / "teacher.safetensors"
    save_segmenter(teacher, UNet(2, [8]), {"classes": {"names": ["a", "b"]}, "metrics": {"miou": 1.0}})
    words = ["data=avatars", "data.resolution=32", "n=2", f"task.teacher={teacher}"]
    assert "labels other classes than the branch: set task.teacher=null" in refused(*words)


def test_another_run_s_folder_is_left_alone(train_folder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    assert train_folder() == cli.REFUSED
    assert "is not a run directory" in capsys.readouterr().err
    assert [file.name for file in out.iterdir()] == ["thesis.txt"]


def grey(file: Path) -> None:
    Image.open(file).convert("L").save(file)


def transparent(file: Path) -> None:
    rgba = Image.open(file).convert("RGBA")
    rgba.putalpha(128)
    rgba.save(file)


def sixteen_bits(file: Path) -> None:
    Image.fromarray(np.asarray(Image.open(file).convert("L")).astype(np.uint16) * 257).save(file)


@pytest.mark.parametrize("change", [grey, transparent, sixteen_bits])
def test_pictures_of_other_kinds_are_read(train_folder, folder: Path, tmp_path: Path, change: Break) -> None:
    change(image(folder))
    assert train_folder("task.training.passes=1") == cli.OK
    shown = np.asarray(Image.open(tmp_path / "run" / "images" / "labelled.png"))
    assert shown.std() > 0


def test_one_labelled_image_is_enough(
    train_folder, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in "bcd":
        image(folder, name).unlink()
        mask(folder, name).unlink()
    assert train_folder("task.folds=4") == cli.OK
    printed = capsys.readouterr().out
    assert "k-fold is left out" in printed
    assert "bundle: " in printed
    assert "from 1 labelled image:" in (tmp_path / "run" / "report.md").read_text()


def test_a_bad_colour_in_the_class_file(refused, tmp_path: Path) -> None:
    classes = tmp_path / "classes.txt"
    classes.write_text("ground #000000\nleft #red\nright\n")
    assert "classes.txt is not usable: line 2 ends in '#red', which is no colour" in refused(f"classes={classes}")


def test_a_class_that_never_occurs_is_kept_and_said(
    train_folder, folder: Path, tiny_generator: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    classes = tmp_path / "classes.txt"
    classes.write_text("ground\nleft\nright\nunicorn\n")
    assert train_folder(f"classes={classes}", "task.folds=2") == cli.OK
    assert "no labelled pixel shows unicorn" in capsys.readouterr().out
    report = (tmp_path / "run" / "report.md").read_text()
    assert "Classes without a labelled pixel, which the branch cannot know: unicorn." in report
    assert "| IoU unicorn | absent |" in report
    editor = load(tmp_path / "run" / "export" / "segmentation.safetensors", tiny_generator)
    assert editor.classes.names[-1] == "unicorn"
    assert editor.head.num_classes == 4


def test_a_bundle_of_another_generator(
    train_folder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train_folder("task.training.passes=1") == cli.OK
    bundle = tmp_path / "run" / "export" / "segmentation.safetensors"
    torch.manual_seed(1)
    other = save_generator(tmp_path / "other.safetensors", Generator(32, z_dim=8, w_dim=8, channel_max=8), {})
    with pytest.raises(GanvasError, match=r"belongs to generator .* give the generator it was trained on"):
        load(bundle, other)
    capsys.readouterr()
    assert cli.main(["evaluate", f"segmentation={bundle}", f"generator={other}", "n=2"]) == cli.REFUSED
    assert "belongs to generator" in capsys.readouterr().err
    with pytest.raises(GanvasError, match=r"needs the generator .* name it with generator="):
        load(bundle)
