"""``ganvas label``: a folder to label, what was labelled, and the branch that is trained on it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.annotations.shapes import decode
from datamodules.folder import read_classes, read_folder
from launch import cli
from launch.label_kit import CLASSES
from networks.checkpoints.bundle import read_manifest
from networks.checkpoints.generators import load_generator
from networks.checkpoints.latents import load_latent, save_latent
from networks.checkpoints.masks import write_mask
from networks.grids import save_png, to_uint8
from tests.launch.conftest import SIZE, AvatarRun, Train

EYE = {"label": "eye", "shape_type": "rectangle", "points": [[4, 4], [12, 10]]}
FACE = {"label": "face", "shape_type": "rectangle", "points": [[2, 2], [28, 28]]}


def label(*words: str) -> int:
    return cli.main(["label", *words])


@pytest.fixture(scope="module")
def fresh_kit(tiny_generator: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("kits") / "kit"
    classes = out.parent / "names.txt"
    classes.write_text("background\nface\neye\n")
    words = [f"generator={tiny_generator}", "n=4", "candidates=12", f"classes={classes}", f"out={out}"]
    assert label(*words) == cli.OK
    return out


@pytest.fixture
def kit(fresh_kit: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(fresh_kit, tmp_path / "kit"))


def draw(kit: Path, names: list[str], shapes: list[dict]) -> None:
    for name in names:
        data = {"shapes": shapes, "imagePath": f"{name}.png", "imageHeight": SIZE, "imageWidth": SIZE}
        (kit / "images" / f"{name}.json").write_text(json.dumps(data))


def names_of(kit: Path) -> list[str]:
    return sorted(path.stem for path in (kit / "images").glob("*.png"))


def complaint(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert label(*words) == cli.REFUSED
    sentences = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ganvas: ")]
    assert len(sentences) == 1
    return sentences[0]


# Choosing


def test_a_kit_holds_pictures_classes_and_codes_that_give_the_pictures(fresh_kit: Path, tiny_generator: Path) -> None:
    codes, names = load_latent(fresh_kit / "latents.safetensors")
    assert sorted(names) == names_of(fresh_kit)
    assert len({*names}) == 4
    drawn = to_uint8(load_generator(tiny_generator).render(codes))
    for name, pixels in zip(names, drawn, strict=True):
        with Image.open(fresh_kit / "images" / f"{name}.png") as picture:
            assert np.abs(np.asarray(picture).astype(int) - pixels).max() <= 1
    assert (fresh_kit / "labels.txt").read_text().splitlines() == ["__ignore__", "background", "face", "eye"]
    assert read_classes(fresh_kit / CLASSES).names == ("background", "face", "eye")
    assert [entry["name"] for entry in json.loads((fresh_kit / "cvat" / "labels.json").read_text())] == [
        "face", "eye", "ignore",
    ]  # fmt: skip
    coco = json.loads((fresh_kit / "cvat" / "coco.json").read_text())
    assert [(entry["file_name"], entry["height"]) for entry in coco["images"]] == [(f"{n}.png", SIZE) for n in names]
    assert (coco["annotations"], [entry["name"] for entry in coco["categories"]]) == ([], ["face", "eye"])
    readme = (fresh_kit / "README.md").read_text()
    assert f"ganvas label import={fresh_kit} out={fresh_kit}-labelled" in readme
    assert max(map(len, readme.replace(str(fresh_kit), "").replace(str(tiny_generator), "").splitlines())) <= 120


def test_the_same_command_chooses_the_same_and_a_shorter_one_the_beginning(
    fresh_kit: Path, tiny_generator: Path, tmp_path: Path
) -> None:
    words = [f"generator={tiny_generator}", "candidates=12", "batch=5", f"out={tmp_path / 'again'}", "n=2"]
    assert label(*words) == cli.OK
    assert load_latent(tmp_path / "again" / "latents.safetensors")[1] == load_latent(
        fresh_kit / "latents.safetensors")[1][:2]  # fmt: skip


def test_a_later_round_takes_others(fresh_kit: Path, tiny_generator: Path, tmp_path: Path) -> None:
    words = [f"generator={tiny_generator}", "candidates=12", "n=8", f"earlier={fresh_kit}", f"out={tmp_path / 'more'}"]
    assert label(*words) == cli.OK
    assert {*names_of(tmp_path / "more")} | {*names_of(fresh_kit)} == {f"s0-{i:05d}" for i in range(12)}


def test_a_branch_s_doubt_decides_and_its_masks_are_proposed(
    avatar_run: AvatarRun, tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(shared_cache))
    out = tmp_path / "kit"
    assert label(f"segmentation={avatar_run.bundle}", "n=2", "candidates=6", f"out={out}") == cli.OK
    classes = read_classes(out / CLASSES)
    assert len(classes) == 11
    assert classes.to_json() == read_manifest(avatar_run.bundle)["classes"]
    coco = json.loads((out / "cvat" / "coco.json").read_text())
    shutil.unpack_archive(out / "cvat" / "proposals.zip", tmp_path / "proposals")
    _, names = load_latent(out / "latents.safetensors")
    for image in coco["images"]:
        with Image.open(tmp_path / "proposals" / "SegmentationClass" / image["file_name"]) as png:
            painted = np.asarray(png)
        mask = np.zeros((SIZE, SIZE), np.uint8)
        for found in coco["annotations"]:
            if found["image_id"] == image["id"]:
                mask[decode(found["segmentation"])] = found["category_id"] - 1
        np.testing.assert_array_equal(classes.paint(mask), painted)
    # What the branch proposes can be imported as it is: that is what an export of it without a correction would be.
    assert label(f"import={tmp_path / 'proposals'}", f"kit={out}", f"out={tmp_path / 'done'}") == cli.OK
    assert read_folder(tmp_path / "done" / "images", tmp_path / "done" / "masks").names == tuple(sorted(names))


def test_proposals_for_real_images_have_their_size(
    avatar_run: AvatarRun, tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(shared_cache))
    pixels = np.random.default_rng(0).integers(0, 255, (48, 80, 3), np.uint8)
    save_png(pixels, tmp_path / "photos" / "wide.png")
    words = [f"images={tmp_path / 'photos'}", "inversion.steps=1", "inversion.samples=8", "n=1"]
    assert label(f"segmentation={avatar_run.bundle}", *words, f"out={tmp_path / 'kit'}") == cli.OK
    shutil.unpack_archive(tmp_path / "kit" / "cvat" / "proposals.zip", tmp_path / "proposals")
    with Image.open(tmp_path / "proposals" / "SegmentationClass" / "wide.png") as mask:
        assert mask.size == (80, 48)
    (image,) = json.loads((tmp_path / "kit" / "cvat" / "coco.json").read_text())["images"]
    assert (image["width"], image["height"]) == (80, 48)


def test_real_images_keep_their_form_and_come_with_codes(
    tiny_generator: Path, train_folder: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generator, photos, kit = load_generator(tiny_generator), tmp_path / "photos", tmp_path / "kit"
    for i, image in enumerate(to_uint8(generator.render(generator.sample(4, seed=0)))):
        save_png(image[4:28], photos / f"{i}.png")  # not square
    words = ["inversion.steps=2", "inversion.samples=8", f"generator={tiny_generator}"]
    assert label(f"images={photos}", *words, "n=2", f"out={kit}") == cli.OK
    names = names_of(kit)
    assert len(names) == 2
    for name in names:
        assert (kit / "images" / f"{name}.png").read_bytes() == (photos / f"{name}.png").read_bytes()
        shape = {"label": "thing", "points": [[5, 2], [30, 2], [30, 20]]}
        data = {"shapes": [shape], "imagePath": f"{name}.png", "imageHeight": 24, "imageWidth": SIZE}
        (kit / "images" / f"{name}.json").write_text(json.dumps(data))
    (kit / CLASSES).write_text("background\nthing\n")
    done = tmp_path / "done"
    assert label(f"import={kit}", f"out={done}") == cli.OK
    printed = capsys.readouterr().out
    assert "latents=" not in printed  # training inverts them again, and has them from the cache
    assert f"generator={tiny_generator} images={done / 'images'} masks={done / 'masks'}" in printed
    assert train_folder(f"images={done / 'images'}", f"masks={done / 'masks'}") == cli.OK
    more = [f"images={photos}", *words, "n=2", f"earlier={kit}", f"out={tmp_path / 'more'}"]
    assert label(*more) == cli.OK
    assert {*names_of(tmp_path / "more")} | {*names} == set("0123")


# The way back


def test_what_was_labelled_trains_a_branch(kit: Path, train_folder: Train, tmp_path: Path, capsys) -> None:
    first, second, third, last = names_of(kit)
    draw(kit, [first, second], [EYE, FACE])
    draw(kit, [third], [])
    out = tmp_path / "done"
    assert label(f"import={kit}", f"out={out}") == cli.OK
    printed = capsys.readouterr().out
    assert f"not labelled yet, left out: {third}, {last}\n" in printed
    assert "face: in 2 of 2 images, 61.3% of the pixels" in printed
    assert f"latents={out / 'latents.safetensors'}" in printed
    labelled = read_folder(out / "images", out / "masks")
    assert labelled.names == (first, second)
    assert labelled.classes.names == ("background", "face", "eye")
    truth = np.zeros((SIZE, SIZE), np.uint8)
    truth[2:28, 2:28], truth[4:10, 4:12] = 1, 2
    np.testing.assert_array_equal(labelled.masks, np.stack([truth, truth]))

    words = [f"images={out / 'images'}", f"masks={out / 'masks'}", f"latents={out / 'latents.safetensors'}"]
    assert train_folder(*words, "task.folds=2") == cli.OK
    manifest = read_manifest(tmp_path / "run" / "export" / "segmentation.safetensors")
    assert manifest["classes"]["names"] == ["background", "face", "eye"]
    assert manifest["trained_on"]["codes"] == "known"

    draw(kit, [third, last], [FACE])  # the work goes on, and the same command reads it
    assert label(f"import={kit}", f"out={out}") == cli.OK
    assert read_folder(out / "images", out / "masks").names == (first, second, third, last)
    assert load_latent(out / "latents.safetensors")[1] == (first, second, third, last)


def test_two_rounds_are_joined(kit: Path, tiny_generator: Path, tmp_path: Path) -> None:
    more = tmp_path / "more"
    classes = f"classes={kit / CLASSES}"
    words = [f"generator={tiny_generator}", "candidates=12", "n=2", f"earlier={kit}", classes, f"out={more}"]
    assert label(*words) == cli.OK
    for place in (kit, more):
        draw(place, names_of(place), [FACE])
    out = tmp_path / "done"
    assert label(f"import=[{kit},{more}]", f"out={out}") == cli.OK
    codes, names = load_latent(out / "latents.safetensors")
    assert list(names) == sorted([*names_of(kit), *names_of(more)])
    own, known = load_latent(more / "latents.safetensors")
    place = names.index(known[0])
    assert torch.equal(codes[place].tensors["ws"], own[0].tensors["ws"])


def test_an_export_elsewhere_finds_pictures_classes_and_codes_in_the_kit(kit: Path, tmp_path: Path) -> None:
    name = names_of(kit)[0]
    export = tmp_path / "export.json"
    export.write_text(json.dumps({
        "images": [{"id": 1, "file_name": f"{name}.png", "height": SIZE, "width": SIZE}],
        "categories": [{"id": 1, "name": "eye"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[4, 4, 12, 4, 12, 10, 4, 10]]}],
    }))  # fmt: skip
    assert label(f"import={export}", f"kit={kit}", f"out={tmp_path / 'done'}") == cli.OK
    done = read_folder(tmp_path / "done" / "images", tmp_path / "done" / "masks")
    assert done.classes.names == ("background", "face", "eye")
    assert np.unique(done.masks[0][4:10, 4:12]).tolist() == [2]
    assert load_latent(tmp_path / "done" / "latents.safetensors")[1] == (name,)


def test_every_problem_is_named_and_can_be_left_out(kit: Path, tmp_path: Path, capsys) -> None:
    first, second, *rest = names_of(kit)
    draw(kit, [first], [FACE, {**EYE, "label": "eyes"}, {**EYE, "points": [[1, 1], [99, 9]]}])
    draw(kit, [second, *rest], [FACE])
    capsys.readouterr()
    assert label(f"import={kit}", f"out={tmp_path / 'done'}") == cli.REFUSED
    said = capsys.readouterr()
    assert "shape 3 ('eye') has a point at (99, 9), outside the 32x32 image" in said.out
    assert "shape 2 ('eyes') has a label that is no class (did you mean 'eye'?)" in said.out
    assert said.err.count("\n") == 1
    assert f"ganvas: {kit / 'images' / first}.json: " in said.err
    assert ", and 1 more: mend it, or add skip=true" in said.err
    assert not (tmp_path / "done").exists()
    assert label(f"import={kit}", f"out={tmp_path / 'done'}", "skip=true") == cli.OK
    assert "not labelled yet" not in capsys.readouterr().out
    assert read_folder(tmp_path / "done" / "images", tmp_path / "done" / "masks").names == (second, *rest)


# What is refused


def test_what_cannot_be_imported(kit: Path, tmp_path: Path, capsys) -> None:
    out = f"out={tmp_path / 'done'}"
    assert f"{kit} holds no labels" in complaint(capsys, f"import={kit}", out)
    draw(kit, names_of(kit), [])
    assert "no image in" in complaint(capsys, f"import={kit}", out)
    assert label(f"import={kit}", out, "empty=true") == cli.OK
    draw(kit, names_of(kit), [FACE])
    assert "overlap=above is not known" in complaint(capsys, f"import={kit}", out, "overlap=above")
    assert "kit=/no is no folder" in complaint(capsys, f"import={kit}", out, "kit=/no")
    assert "truncation=nan must be finite" in complaint(capsys, "generator=/no", out, "truncation=nan")
    assert "labelled in" in complaint(capsys, f"import=[{kit},{kit}]", out)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("")
    assert "is not an empty folder" in complaint(capsys, f"import={kit}", f"out={tmp_path / 'mine'}")
    codes, names = load_latent(kit / "latents.safetensors")
    save_latent(kit / "latents.safetensors", codes[:2], names[:2])
    assert "holds no code of the labelled image" in complaint(capsys, f"import={kit}", out)


def test_rounds_with_different_classes(kit: Path, tmp_path: Path, capsys) -> None:
    other = Path(shutil.copytree(kit, tmp_path / "other"))
    (other / CLASSES).write_text("background\neye\nface\n")
    for place in (kit, other):
        draw(place, names_of(place), [FACE])
    said = complaint(capsys, f"import=[{kit},{other}]", f"out={tmp_path / 'done'}")
    assert "have different classes: give one list, classes=FILE" in said


def test_masks_by_hand_are_read_too(kit: Path, tmp_path: Path) -> None:
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[4:9] = 2
    write_mask(kit / "masks" / f"{names_of(kit)[0]}.png", mask, read_classes(kit / CLASSES))
    assert label(f"import={kit}", f"out={tmp_path / 'done'}") == cli.OK
    done = read_folder(tmp_path / "done" / "images", tmp_path / "done" / "masks")
    np.testing.assert_array_equal(done.masks[0], mask)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give generator=, to choose images to label, or import="),
        (["generator=zoo/none.safetensors"], "none.safetensors"),
        (["generator=G", "n=0"], "n=0 must be at least 1"),
        (["generator=G", "n=5", "candidates=4"], "n=5 images cannot be chosen of candidates=4, which leave 4"),
        (["generator=G", "features=colours"], "unknown feature network 'colours'"),
        (["generator=G", "images=/no/such"], "/no/such"),
        (["generator=G", "classes=/no/such.txt"], "/no/such.txt cannot be read"),
        (["generator=G", "earlier=/no/such"], "there is no file /no/such/latents.safetensors"),
        (["segmentation=G"], "is a generator: give it as generator="),
    ],
)
def test_what_cannot_be_chosen(words: list[str], said: str, tiny_generator: Path, tmp_path: Path, capsys) -> None:
    given = [word.replace("=G", f"={tiny_generator}") for word in words]
    assert said in complaint(capsys, *given, f"out={tmp_path / 'kit'}")
    assert not (tmp_path / "kit").exists()


def test_a_folder_with_labels_in_it_is_never_overwritten(kit: Path, tiny_generator: Path, capsys) -> None:
    draw(kit, names_of(kit), [FACE])
    said = complaint(capsys, f"generator={tiny_generator}", "n=2", "candidates=4", f"out={kit}")
    assert "is not an empty folder" in said
    assert len([*(kit / "images").glob("*.json")]) == 4
