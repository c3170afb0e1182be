"""``ganvas edit``: masks, programs and vectors on a small branch; what it writes, and what it refuses."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.avatars import AVATAR_CLASSES
from editors import load, load_edit
from editors.alignment import Alignment
from launch import cli
from launch.figures import read_figures
from networks.checkpoints.edits import save_edit
from networks.checkpoints.generators import load_generator
from networks.checkpoints.heads import save_head
from networks.checkpoints.latents import load_latent, save_latent
from networks.checkpoints.masks import read_mask, write_mask
from networks.grids import save_png, to_uint8
from networks.latent_edit import LatentEdit
from networks.segmentation import head_for, predict

FAST = ("edit.steps=3", "edit.labels=10")


@pytest.fixture(autouse=True)
def cache(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(shared_cache))


@pytest.fixture(scope="module")
def branch(tiny_generator: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A branch with random weights that sees several classes in what the tiny generator draws."""
    generator = load_generator(tiny_generator)
    _, features = generator.render(generator.sample(2, seed=8), features=True)
    for seed in range(50):
        head = head_for(generator, "linear", num_classes=11, seed=seed, members=2)
        shares = np.bincount(predict(head.eval(), features).mask.flatten().numpy()) / (2 * 32 * 32)
        if np.sort(shares)[-2] > 0.2:
            break
    return save_head(
        tmp_path_factory.mktemp("branch") / "branch.safetensors", head, generator, AVATAR_CLASSES.to_json(),
        {"steps": 2, "samples": 8}, {"licence": "CC0-1.0"}, include_generator=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def photos(branch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two images of the generator, one of them twice as large and not square."""
    folder, editor = tmp_path_factory.mktemp("photos"), load(branch)
    first, second = to_uint8(editor.segment(editor.generator.sample(2, seed=8)).image)
    save_png(first, folder / "a.png")
    Image.fromarray(second).resize((64, 48)).save(folder / "b.png")
    return folder


@pytest.fixture(scope="module")
def wished(branch, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Masks of the photos' sizes, each with a block of hair in the middle."""
    folder, editor = tmp_path_factory.mktemp("wished"), load(branch)
    for path in sorted(photos.iterdir()):
        (mask,) = editor.segment(path, progress=False).photo_masks()
        height, width = mask.shape
        mask[height // 3 : height // 2, width // 3 : width // 2] = editor.classes.id_of("hair")
        write_mask(folder / f"{path.stem}.png", mask, editor.classes)
    return folder


def edit(branch, out: Path, *words: str) -> int:
    return cli.main(["edit", f"segmentation={branch}", f"out={out}", *FAST, *words])


def test_a_folder_is_edited_by_masks_of_its_images(
    branch, photos: Path, wished: Path, tmp_path: Path, capsys
) -> None:
    assert edit(branch, tmp_path, f"image={photos}", f"mask={wished}", "paste=feather", "name=hairy") == cli.OK
    printed = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines() if ": " in line)
    assert printed["images"] == "2"
    for name, size in (("a", (32, 32)), ("b", (64, 48))):
        assert Image.open(tmp_path / "images" / f"{name}.png").size == size  # pasted back into the photo
    found = read_figures(tmp_path)
    assert set(found.figures) == {
        "agreement", "inside", "outside", "uncertainty_before", "uncertainty_after", "seconds"
    }  # fmt: skip
    assert all(0 <= row["uncertainty_after"] < 3 for row in found.each)
    assert found.figures["outside"].protocol.images == 2
    assert [row["name"] for row in found.each] == ["a", "b"]
    vector = load_edit(tmp_path / "vector.safetensors")
    assert (vector.name, vector.space) == ("hairy", "w+")
    latent, names = load_latent(tmp_path / "latents.safetensors")
    assert (len(latent), names) == (2, ("a", "b"))
    editor = load(branch)
    assert np.array_equal(
        read_mask(tmp_path / "masks" / "a.png", editor.classes), editor.segment(latent).mask[0].numpy()
    )
    assert (tmp_path / "sheet.png").is_file()


def test_a_vector_is_applied_at_its_strength(branch, photos: Path, wished: Path, tmp_path: Path) -> None:
    learned, out = tmp_path / "learned", tmp_path / "applied"
    assert edit(branch, learned, f"image={photos / 'a.png'}", f"mask={wished / 'a.png'}") == cli.OK
    codes = learned / "latents.safetensors"
    vector = learned / "vector.safetensors"
    assert edit(branch, out, f"latents={codes}", f"vector=[{vector},{vector}]", "strength=[1,-0.5]") == cli.OK
    before, after = load_latent(codes)[0], load_latent(out / "latents.safetensors")[0]
    step = load_edit(vector).delta["ws"]
    assert np.allclose(after.tensors["ws"], before.tensors["ws"] + 0.5 * step, atol=1e-5)
    assert (out / "strip.png").is_file()
    assert not (out / "vector.safetensors").exists()


def test_a_face_is_cut_out_edited_and_put_back(branch, photos: Path, tmp_path: Path) -> None:
    """The photo is larger and turned; what the generator sees is the square of its landmarks."""
    small = np.asarray(Image.open(photos / "a.png").convert("RGB"))
    picture = Image.new("RGB", (160, 120), (90, 120, 150))
    picture.paste(Image.fromarray(small).resize((64, 64)).rotate(90), (40, 30))
    picture.save(tmp_path / "photo.png")
    # Eyes and mouth as in the upright square, turned with it: its right is up in the photo.
    points = [[66, 66], [66, 58], [71, 62], [75, 65], [75, 59]]
    (tmp_path / "photo.json").write_text(json.dumps({"landmarks": points}))
    alignment = Alignment.of(np.array(points, dtype=np.float64))
    photo = np.asarray(picture)
    wish = np.full((120, 160), 255, np.uint8)
    x, y = (round(v) for v in alignment.centre)
    wish[y - 4 : y + 4, x - 4 : x + 4] = AVATAR_CLASSES.id_of("hair")
    write_mask(tmp_path / "wish.png", wish, AVATAR_CLASSES)
    words = [f"image={tmp_path / 'photo.png'}", f"mask={tmp_path / 'wish.png'}", f"landmarks={tmp_path / 'photo.json'}"]
    assert edit(branch, tmp_path / "out", *words, "paste=feather") == cli.OK
    pasted = np.asarray(Image.open(tmp_path / "out" / "images" / "photo.png"))
    assert pasted.shape == photo.shape
    reach = math.ceil(alignment.side / 2 * math.sqrt(2))
    far = np.ones((120, 160), dtype=bool)
    far[max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1] = False
    assert np.array_equal(pasted[far], photo[far])
    assert not np.array_equal(pasted[y - 4 : y + 4, x - 4 : x + 4], photo[y - 4 : y + 4, x - 4 : x + 4])
    assert edit(branch, tmp_path / "cut", *words) == cli.OK
    assert Image.open(tmp_path / "cut" / "images" / "photo.png").size == (32, 32)


def test_a_program_makes_the_mask(branch, photos: Path, tmp_path: Path) -> None:
    editor = load(branch)
    seen = editor.segment(photos / "a.png", progress=False).mask[0].numpy()
    name = editor.classes.names[int(np.bincount(seen.flatten()).argsort()[-2])]
    other = "hair" if name != "hair" else "hat"
    words = (f"image={photos / 'a.png'}", f"program=replace {name.replace(' ', '-')} {other}")
    assert edit(branch, tmp_path, *words) == cli.OK
    assert set(load_edit(tmp_path / "vector.safetensors").region) == {name, other}


@pytest.mark.parametrize(("words", "says"), [
    ((), "give one of mask=, program= and vector="),
    (("program=remove hair", "vector=v.safetensors"), "give one of mask=, program= and vector="),
    (("program=remove hair",), "give one of image= and latents="),
    (("program=paint hair", "image={a}"), "`paint hair` asks for paint"),
    (("program=grow wings 0.1", "image={a}"), "there is no class 'wings'"),
    (("program=remove hair", "image={a}", "classes=[wings]"), "there is no class 'wings'"),
    (("program=remove hair", "image={a}", "paste=glue"), "paste=glue is not known"),
    (("program=remove hair", "image={a}", "refine=3"), "goes with vector= only"),
    (("program=remove hair", "image={a}", "edit.rate=0"), "edit rate must be greater than 0"),
    (("program=remove hair", "image=nowhere"), "neither a file nor a folder"),
    (("program=remove hair", "image={empty}"), "has no images"),
    (("mask={a}", "latents=x.safetensors"), "mask= needs the image itself"),
    (("program=remove hair", "latents=x.safetensors", "landmarks={empty}"), "landmarks= needs the image itself"),
    (("program=remove hair", "image={a}", "landmarks={empty}"), r"has no landmarks \(.json, .txt, .npz, .npy\)"),
    (("program=remove hair", "image={a}", "landmarks={wished}/a.png"), "landmarks are read from .json, .txt"),
    (("program=remove hair", "image={photos}", "landmarks={wished}/a.png"), "one file for 2 images"),
    (("mask={wished}/a.png", "image={photos}"), "is one file for 2 images"),
    (("mask={a}", "image={a}"), "a.png"),
    (("vector=nothing.safetensors", "image={a}"), "there is no file nothing.safetensors"),
    (("vector={a}", "image={a}"), "cannot be read as safetensors"),
    (("vector=[v,w]", "image={a}", "strength=[1,2,3]"), "2 vectors and 3 strengths"),
    (("vector={foreign}", "image={a}"), "belongs to generator ffffffffffff"),
    (("vector={foreign}", "image={a}", "strength=nan"), "strength"),
    (("program=remove hair", "image={a}", "device=cuda"), "sees no GPU|.*"),
])  # fmt: skip
def test_what_cannot_be_done_is_one_sentence(
    branch, photos: Path, wished: Path, tmp_path: Path, capsys, words: tuple[str, ...], says: str
) -> None:
    ws = load(branch).generator.sample(1, 0).tensors["ws"][0]
    save_edit(tmp_path / "foreign.safetensors", LatentEdit("w+", {"ws": ws}, "f" * 64))
    (tmp_path / "empty").mkdir()
    places = {"a": photos / "a.png", "photos": photos, "wished": wished, "empty": tmp_path / "empty",
              "foreign": tmp_path / "foreign.safetensors"}  # fmt: skip
    out = tmp_path / "out"
    assert edit(branch, out, *(word.format(**places) for word in words)) == cli.REFUSED
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ganvas: ")]
    assert len(error) == 1
    assert re.search(says, error[0])
    assert not out.exists()


def test_vectors_of_several_spaces_are_a_sequence(branch, photos: Path, tmp_path: Path, capsys) -> None:
    editor = load(branch)
    latent = editor.generator.sample(2, seed=8)
    styles = editor.generator.in_styles(latent)
    away = LatentEdit("w+", {"ws": latent.tensors["ws"][1] - latent.tensors["ws"][0]})
    more = LatentEdit("s", {path: 0.1 * t[0] for path, t in styles.tensors.items()})
    w, s = (save_edit(tmp_path / f"{edit.space}.safetensors", edit) for edit in (away, more))
    codes = save_latent(tmp_path / "codes.safetensors", latent)
    assert edit(branch, tmp_path / "out", f"latents={codes}", f"vector=[{w},{s}]", "strength=[0.5,1]") == cli.OK
    after = load_latent(tmp_path / "out" / "latents.safetensors")[0]
    assert after.space == "s"
    moved = editor.generator.in_styles(load_edit(w).apply(latent, 0.5)).tensors["b4.conv1"]
    assert np.allclose(after.tensors["b4.conv1"], moved + 0.1 * styles.tensors["b4.conv1"][0], atol=1e-5)
    assert (tmp_path / "out" / "strip.png").is_file()
    for words, said in ((["refine=2"], "refine=2 takes steps in w+"), ([f"vector=[{s},{w}]"], "put edits in s last")):
        given = {word.partition("=")[0]: word for word in (f"latents={codes}", f"vector=[{w},{s}]", *words)}
        assert edit(branch, tmp_path / "refused", *given.values()) == cli.REFUSED
        assert said in capsys.readouterr().err
