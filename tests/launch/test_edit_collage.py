"""``ganvas edit`` of regions: class maps, references, scripts, records, real images, and what is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from editors import load, load_collage, load_edit
from launch import cli
from launch.figures import read_figures
from networks.checkpoints.classes import ClassList
from networks.checkpoints.edits import save_edit
from networks.checkpoints.generators import save_generator
from networks.checkpoints.latents import load_latent, save_latent
from networks.checkpoints.masks import write_mask
from networks.collage.towards import Towards
from networks.latent import Latent
from networks.latent_edit import LatentEdit
from networks.stylegan2 import Generator
from tests.editors.test_collage_editor import NAMES, SIZE, conditional
from tests.networks.test_blobgan import made

CLASSES = ClassList.of_names(("(as it is)", "dog", "bear"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generator, three samples of it, a map of two classes and a mask."""
    found = tmp_path_factory.mktemp("collage")
    save_generator(found / "sngan.safetensors", conditional(), {"label_names": NAMES})
    words = ["sample", f"generator={found / 'sngan.safetensors'}", "n=3", f"out={found / 'samples'}"]
    assert cli.main(words) == cli.OK
    ids = np.zeros((SIZE, SIZE), np.uint8)
    ids[:8, :6], ids[10:, 10:] = 1, 2
    write_mask(found / "map.png", ids, CLASSES)
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[4:12, 4:12] = 255
    Image.fromarray(mask).save(found / "mask.png")
    return found


def edit(folder: Path, out: Path, *words: str) -> int:
    given = [f"latents={folder / 'samples' / 'latents.safetensors'}", f"generator={folder / 'sngan.safetensors'}"]
    keys = {word.partition("=")[0] for word in words}
    keys |= {"latents"} if "image" in keys else set()
    return cli.main(["edit", *(word for word in given if word.partition("=")[0] not in keys), f"out={out}", *words])


def images(out: Path) -> list[np.ndarray]:
    return [np.asarray(Image.open(path)) for path in sorted((out / "images").iterdir())]


def test_a_class_map_paints_its_classes(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [f"classmap={folder / 'map.png'}", "classes=[dog,bear]", "feather=0.03"]
    assert edit(folder, tmp_path / "a", *words) == cli.OK
    printed = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines() if ": " in line)
    assert printed["images"] == "3"
    assert {path.name for path in (tmp_path / "a").iterdir()} == {
        "images", "latents.safetensors", "collage.safetensors", "sheet.png", "strip.png", "figures.json", "config.yaml"
    }  # fmt: skip
    found = read_figures(tmp_path / "a")
    assert set(found.figures) == {"inside", "outside", "region", "seconds"}
    assert found.figures["inside"].value > found.figures["outside"].value
    assert [row["name"] for row in found.each] == ["0000", "0001", "0002"]
    # the record draws the same again
    assert edit(folder, tmp_path / "b", f"script={tmp_path / 'a' / 'collage.safetensors'}") == cli.OK
    assert all(np.array_equal(*pair) for pair in zip(images(tmp_path / "a"), images(tmp_path / "b"), strict=True))
    assert [step.name for step in load_collage(tmp_path / "b" / "collage.safetensors").steps] == ["dog", "bear"]


def test_pasted_back_the_rest_is_the_same_to_the_bit(folder: Path, tmp_path: Path) -> None:
    plain = [np.asarray(Image.open(path)) for path in sorted((folder / "samples").glob("0*.png"))]
    words = [f"classmap={folder / 'map.png'}", "classes=[dog,bear]", "layers=all but the first"]
    outside = np.asarray(Image.open(folder / "map.png")) == 0
    for how in ("poisson", "poisson-mixed"):
        assert edit(folder, tmp_path / how, *words, f"paste={how}") == cli.OK
        for before, after in zip(plain, images(tmp_path / how), strict=True):
            assert np.array_equal(before[outside], after[outside])
            assert not np.array_equal(before, after)


def test_a_reference_is_pasted_with_its_place(folder: Path, tmp_path: Path) -> None:
    samples = folder / "samples" / "latents.safetensors"
    words = [f"reference={samples}", f"mask={folder / 'mask.png'}", "item=0002", "right=0.25", "mirror=true",
             "scale=1.5", "layers=[l1,block2:0.5]", "strength=0.8", "strip=[0,1]"]  # fmt: skip
    assert edit(folder, tmp_path, *words) == cli.OK
    (step,) = load_collage(tmp_path / "collage.safetensors").steps
    assert (step.strength, step.layers) == (0.8, {"l1": 1.0, "block2": 0.5})
    assert (step.transform.right, step.transform.scale, step.transform.mirror) == (0.25, 1.5, True)
    assert torch.equal(step.latent.tensors["z"], load_latent(samples)[0].tensors["z"][2:])


def test_a_class_and_a_reference_go_together(folder: Path, tmp_path: Path) -> None:
    samples = folder / "samples" / "latents.safetensors"
    words = [f"classmap={folder / 'map.png'}", "classes=[dog,bear]", f"reference={samples}", "item=1",
             f"mask={folder / 'mask.png'}"]  # fmt: skip
    assert edit(folder, tmp_path, *words) == cli.OK
    assert [type(step).__name__ for step in load_collage(tmp_path / "collage.safetensors").steps] == [
        "Paint", "Paint", "Paste"
    ]


def test_a_script_is_data_beside_its_files(folder: Path, tmp_path: Path) -> None:
    steps = [
        {"paint": "cat", "mask": "mask.png", "strength": 0.7, "feather": 0.02, "layers": ["block2", "block3.b2:0.5"]},
        {"paste": "samples/latents.safetensors", "item": "0001", "mask": "mask.png", "down": 0.1,
         "layers": {"block3": 1}, "painted": [{"paint": "dog"}]},
    ]  # fmt: skip
    as_json, as_yaml = folder / "c.json", folder / "c.yaml"
    as_json.write_text(json.dumps(steps))
    as_yaml.write_text(
        "- {paint: cat, mask: mask.png, strength: 0.7, feather: 0.02, layers: [block2, 'block3.b2:0.5']}\n"
        "- {paste: samples/latents.safetensors, item: '0001', mask: mask.png, down: 0.1, layers: {block3: 1},\n"
        "   painted: [{paint: dog}]}\n"
    )
    for script in (as_json, as_yaml):
        assert edit(folder, tmp_path / script.suffix[1:], f"script={script}") == cli.OK
    one, other = (load_collage(tmp_path / kind / "collage.safetensors") for kind in ("json", "yaml"))
    assert one.config() == other.config()
    assert all(torch.equal(tensor, other.tensors()[name]) for name, tensor in one.tensors().items())
    assert one.steps[1].painted[0].name == "dog"


def test_a_whole_class_is_also_an_edit_of_codes(folder: Path, tmp_path: Path) -> None:
    (folder / "whole.yaml").write_text("- {paint: dog}\n")
    assert edit(folder, tmp_path, f"script={folder / 'whole.yaml'}") == cli.OK
    vector, editor = load_edit(tmp_path / "vector.safetensors"), load(folder / "sngan.safetensors")
    latent = vector.apply(load_latent(tmp_path / "latents.safetensors")[0])
    assert torch.equal(latent.label, torch.eye(3)[[2, 2, 2]])
    drawn = images(tmp_path)[0].astype(float)
    assert np.abs((editor.render(latent)[0].permute(1, 2, 0).numpy() + 1) * 127.5 - drawn).max() <= 1


def test_an_edit_of_codes_goes_where_any_edit_goes(folder: Path, tmp_path: Path) -> None:
    (folder / "whole.yaml").write_text("- {paint: dog}\n")
    assert edit(folder, tmp_path / "painted", f"script={folder / 'whole.yaml'}") == cli.OK
    vector = tmp_path / "painted" / "vector.safetensors"
    assert edit(folder, tmp_path / "whole", f"vector={vector}") == cli.OK
    assert edit(folder, tmp_path / "half", f"vector={vector}", "strength=0.5") == cli.OK
    for painted, moved in zip(images(tmp_path / "painted"), images(tmp_path / "whole"), strict=True):
        assert np.abs(painted.astype(int) - moved).max() <= 1
    own = load_latent(folder / "samples" / "latents.safetensors")[0].label
    after = load_latent(tmp_path / "half" / "latents.safetensors")[0].label
    torch.testing.assert_close(after, (own + torch.eye(3)[[2, 2, 2]]) / 2)
    figures = read_figures(tmp_path / "half").figures
    assert set(figures) == {"change", "seconds"}
    assert 0 < figures["change"].value < read_figures(tmp_path / "whole").figures["change"].value
    assert (tmp_path / "half" / "sheet.png").exists()
    assert (tmp_path / "half" / "strip.png").exists()


def test_regions_are_painted_with_codes(tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = Generator(SIZE, z_dim=8, w_dim=8, mapping_layers=2, channel_base=256, channel_max=16)
    generator = save_generator(tmp_path / "stylegan2.safetensors", network, {})
    for name, seed in (("own", 0), ("others", 1)):
        words = [f"generator={generator}", "n=2", f"seed={seed}", f"out={tmp_path / name}"]
        assert cli.main(["sample", *words]) == cli.OK
    own, others = (tmp_path / name / "latents.safetensors" for name in ("own", "others"))
    ids = np.zeros((SIZE, SIZE), np.uint8)
    ids[:8, :6], ids[10:, 10:] = 1, 2
    write_mask(tmp_path / "map.png", ids, CLASSES)
    words = [f"generator={generator}", f"latents={own}", f"classmap={tmp_path / 'map.png'}"]
    for name, chosen in (("all", []), ("named", ["classes=[0000,1]"])):
        given = [*words, f"codes={others}", *chosen, f"out={tmp_path / name}"]
        assert cli.main(["edit", *given]) == cli.OK
    assert all(np.array_equal(*pair) for pair in zip(images(tmp_path / "all"), images(tmp_path / "named"), strict=True))
    first, second = load_collage(tmp_path / "all" / "collage.safetensors").steps
    assert [first.name, second.name] == ["0000", "0001"]
    codes = load_latent(others)[0].tensors["ws"]
    assert torch.equal(first.style, codes[:1])
    assert torch.equal(second.style, codes[1:])


def test_real_images_are_projected_edited_and_pasted_back(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "cache"))
    photos = tmp_path / "photos"
    photos.mkdir()
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (24, 32), np.uint8)).save(photos / "grey.png")
    Image.fromarray(rng.integers(0, 256, (24, 32, 4), np.uint8)).save(photos / "rgba.png")
    mask = np.zeros((24, 32), np.uint8)
    mask[6:18, 6:18] = 255
    Image.fromarray(mask).save(tmp_path / "photo_mask.png")
    fast = ["inversion.steps=2", "inversion.samples=12", "inversion.starts=2"]
    words = [f"image={photos}", f"reference={photos / 'grey.png'}", f"mask={tmp_path / 'photo_mask.png'}",
             "paste=poisson", *fast]  # fmt: skip
    assert edit(folder, tmp_path / "out", *words) == cli.OK
    said = capsys.readouterr().err
    assert re.search(r"warning: the projection of .*rgba \(\d+\.\d dB\).* did not converge; the best codes are", said)
    shown = images(tmp_path / "out")
    assert [image.shape for image in shown] == [(24, 32, 3)] * 2
    grey = np.asarray(Image.open(photos / "grey.png").convert("RGB"))
    assert np.array_equal(shown[0][mask == 0], grey[mask == 0])  # as it is drawn, finer than the generator's pixels
    assert not np.array_equal(shown[0], grey)
    assert "psnr" in read_figures(tmp_path / "out").figures
    assert load_latent(tmp_path / "out" / "latents.safetensors")[0].label.shape == (2, 3)


def write_map(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> Path:
    Image.fromarray(change(np.zeros((SIZE, SIZE, 3), np.uint8))).save(path)
    return path


@pytest.fixture(scope="module")
def bad(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files that cannot be used, by name."""
    found, latent = tmp_path_factory.mktemp("bad"), load_latent(folder / "samples" / "latents.safetensors")[0]

    def foreign(rgb: np.ndarray) -> np.ndarray:
        rgb[3, 5] = (1, 2, 3)
        return rgb

    scripts = {
        "overlap": "- {paint: dog, mask: MASK}\n- {paint: cat, mask: MASK}\n", "keys": "- {paint: dog, right: 1}\n",
        "fly": "- {fly: dog}\n", "table": "paint: dog\n", "broken": "- {paint: dog\n", "class": "- {paint: horse}\n",
        "number": "- {paint: dog, strength: much}\n", "layer": "- {paint: dog, layers: block7}\n", "empty": "[]\n",
        "file": "- {paint: dog, mask: no.png}\n", "covers": "- {paint: dog, mask: WHITE}\n",
        "nothing": "- {paint: dog, mask: BLACK}\n", "mirror": "- {paste: CODES, mirror: perhaps}\n",
    }  # fmt: skip
    for name, value in (("WHITE", 255), ("BLACK", 0)):
        Image.fromarray(np.full((SIZE, SIZE), value, np.uint8)).save(found / f"{name}.png")
    for name, text in scripts.items():
        for word, path in {"MASK": folder / "mask.png", "WHITE": found / "WHITE.png", "BLACK": found / "BLACK.png",
                           "CODES": folder / "samples" / "latents.safetensors"}.items():  # fmt: skip
            text = text.replace(word, str(path))
        (found / f"{name}.yaml").write_text(text)
    save_generator(found / "blobgan.safetensors", made(), {})
    toward = Towards("z", torch.eye(3)[:1], (1.0,))
    return {
        **{name: found / f"{name}.yaml" for name in scripts},
        "color": write_map(found / "color.png", foreign), "black": write_map(found / "black.png", lambda rgb: rgb),
        "small": write_map(found / "small.png", lambda rgb: rgb[:8, :8] + np.array([128, 0, 0], np.uint8)),
        "other": save_latent(found / "f.safetensors", Latent("z", latent.tensors, latent.label, "f" * 64)),
        "blobgan": found / "blobgan.safetensors",
        "vector": save_edit(found / "vector.safetensors", LatentEdit("z", {}, None, (), "", toward), {}),
        "foreign": save_edit(found / "foreign.safetensors", LatentEdit("z", {}, "f" * 64, (), "", toward), {}),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["classmap={color}", "classes=dog"], "has colour #010203 at pixel (x=5, y=3), which is the colour of no"),
        (["classmap={small}", "classes=dog"], "is 8x8, which is not the 16x16 of the generator"),
        (["classmap={map}", "classes=dog"], "has class id 2 at pixel"),
        (["classmap={map}", "classes=[dog,horse]"], "there is no class 'horse'; there are bear, cat, dog"),
        (["classmap={map}", "classes=[dog,dog]"], "is used twice"),
        (["classmap={black}"], "the class map is empty"),
        (["script={overlap}"], "the regions of dog and cat overlap in 64 pixels"),
        (["script={covers}"], "covers everything"),
        (["script={nothing}"], "is empty: paint white"),
        (["script={keys}"], "has right, which paint does not know"),
        (["script={fly}"], "must have one of paint, map, paste"),
        (["script={table}"], "must be a list of steps"),
        (["script={broken}"], "cannot be read"),
        (["script={class}"], "there is no class 'horse'"),
        (["script={number}"], "strength=much must be a number from 0 to 1"),
        (["script={layer}"], "there is no layer block7"),
        (["script={empty}"], "a collage needs a step"),
        (["script={file}"], "There is no file"),
        (["script={mirror}"], "mirror=perhaps must be true or false"),
        (["script=/no/such.yaml"], "cannot be read"),
        (["script={keys}", "classmap={map}"], "give one or the other"),
        (["reference={other}", "mask={mask}"], "belong to generator ffffffffffff"),
        (["reference={codes}", "mask={mask}", "item=7"], "has no item 7: it has 0000 to 0002"),
        (["reference={codes}", "mask={mask}", "scale=0"], "a scale above 0"),
        (["reference={codes}", "mask={mask}", "layers=[block2:2]"], "layer block2=2 must be a number from 0 to 1"),
        (["classmap={map}", "mask={mask}"], "mask= says where reference= arrives"),
        (["classmap={map}", "codes={codes}", "classes=[0000,0009]"], "has no item 0009: it has 0000 to 0002"),
        (["classmap={map}", "codes=/no/such.safetensors"], "no file /no/such.safetensors"),
        (["script={keys}", "codes={codes}"], "codes= says what the colours of classmap= stand for"),
        (["vector={other}"], "f.safetensors"),
        (["vector={vector}", "mask={mask}"], "mask= does not go with vector= and generator= alone"),
        (["vector={vector}", "strength=[1,2]"], "1 vectors and 2 strengths"),
        (["vector={vector}", "image=/no/such.png", "latents={codes}"], "give one of image= and latents="),
        (["vector={foreign}"], "the vector cannot be applied: this edit belongs to generator ffffffffffff"),
        (["classmap={map}", "right=0.1"], "right= is about what is pasted"),
        (["script={keys}", "classes=dog"], "classes= says what the colours of classmap= stand for"),
        (["classmap={map}", "strength=2"], "must be from 0 to 1"),
        (["classmap={map}", "strip=[2]"], "has no factor from 0 to 1"),
        (["classmap={map}", "paste=glue"], "paste=glue is not known"),
        (["classmap={map}", "program=grow hair 1"], "program= does not go with a collage"),
        (["classmap={map}", "generator={blobgan}"], "a collage needs StyleGAN2 or the class-conditional GAN"),
        (["classmap={map}", "image=/no/such.png"], "is neither a file nor a folder"),
        (["classmap={map}", "image=/no/such.png", "latents={codes}"], "give one of image= and latents="),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    folder: Path, bad: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    files = {**bad, "map": folder / "map.png", "mask": folder / "mask.png",
             "codes": folder / "samples" / "latents.safetensors"}  # fmt: skip
    given = [word.format(**files) for word in words]
    if any(word.startswith("latents=") for word in given) and any(word.startswith("image=") for word in given):
        status = cli.main(["edit", f"generator={folder / 'sngan.safetensors'}", f"out={tmp_path / 'out'}", *given])
    else:
        status = edit(folder, tmp_path / "out", *given)
    assert status == cli.REFUSED
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ganvas: ")]
    assert len(said) == 1
    assert says in said[0]
    assert not (tmp_path / "out").exists()


def test_without_a_generator_nothing_is_drawn(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["edit", f"classmap={folder / 'map.png'}", f"out={tmp_path}"]) == cli.REFUSED
    assert "a collage needs generator=FILE" in capsys.readouterr().err
