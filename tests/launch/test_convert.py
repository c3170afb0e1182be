"""``ganvas convert``, and foreign checkpoints wherever a generator is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from editors import load
from launch import cli
from networks.checkpoints.bundle import read_manifest
from networks.checkpoints.classifiers import write_classifiers
from networks.checkpoints.encoders import find_encoder
from networks.checkpoints.generators import load_discriminator, load_foreign, load_generator, save_generator
from networks.checkpoints.latents import load_latent
from networks.checkpoints.rosinality import write_rosinality
from networks.encoders import IRSEEncoder
from networks.grids import save_grid
from networks.segmentation import head_for
from networks.segmenters import save_segmenter
from networks.stylegan2 import Discriminator, Generator
from networks.unet import UNet
from tests.launch.conftest import CLASSES, FAST, SIZE, labelled_folder
from tests.networks.official_pickle import write

SMALL = {"channel_base": 256, "channel_max": 16, "mapping_layers": 2}


@pytest.fixture(scope="module")
def pickle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An official snapshot of a conditional generator and its discriminator."""
    torch.manual_seed(0)
    G = Generator(SIZE, z_dim=8, w_dim=8, c_dim=2, num_fp16_res=1, conv_clamp=256.0, **SMALL)
    path = tmp_path_factory.mktemp("official") / "network.pkl"
    return write(path, {"G": G, "D": Discriminator(SIZE, c_dim=2, **SMALL), "G_ema": G})


def convert(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """The exit status, and what was printed or complained of."""
    capsys.readouterr()
    status = cli.main(["convert", *words])
    said = capsys.readouterr()
    return status, said.out if status == cli.OK else said.err


def test_a_pickle_becomes_a_bundle_that_is_the_same_generator(
    pickle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "made" / "g.safetensors"
    status, said = convert(capsys, f"source={pickle}", f"out={out}", "check=true")
    assert status == cli.OK
    one, other = load_generator(pickle), load_generator(out)
    assert f"hash: {other.hash}\n" in said
    assert one.hash == other.hash
    image = other.render(other.sample(4, seed=0))
    assert f"image_mean: {image.mean().item():.5f}\nimage_std: {image.std().item():.5f}\n" in said
    assert said.endswith(f"written: {out}\n")
    manifest = read_manifest(out)
    assert manifest["source"] == {"file": "network.pkl", "format": "stylegan2-ada-pytorch pickle", "network": "G_ema"}
    assert manifest["command"].startswith("ganvas convert ")


def test_a_discriminator_becomes_a_bundle_too(pickle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "d.safetensors"
    assert convert(capsys, f"source={pickle}", f"out={out}", "network=D", "check=true")[0] == cli.OK
    assert read_manifest(out)["kind"] == "stylegan2_discriminator"


def test_a_bundle_becomes_rosinality_s_and_comes_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    wide = Generator(16, z_dim=8, w_dim=8, mapping_layers=1, conv_clamp=256.0)
    bundle = save_generator(tmp_path / "g.safetensors", wide, {})
    status, said = convert(capsys, f"source={bundle}", f"out={tmp_path / 'g.pt'}")
    assert status == cli.OK
    assert "conv_clamp=256 has no equivalent there" in said
    assert convert(capsys, f"source={tmp_path / 'g.pt'}", f"out={tmp_path / 'back.safetensors'}")[0] == cli.OK
    assert load_generator(tmp_path / "back.safetensors").hash == load_generator(bundle).hash


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An official snapshot of networks that rosinality's format holds, each with other weights."""
    torch.manual_seed(0)
    G, G_ema = (Generator(16, z_dim=8, w_dim=8, mapping_layers=1) for _ in range(2))
    path = tmp_path_factory.mktemp("official") / "network.pkl"
    return write(path, {"G": G, "D": Discriminator(16), "G_ema": G_ema})


@pytest.mark.parametrize("network", [None, "G"])
def test_the_network_asked_for_is_the_one_in_rosinality_s_format(
    three: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], network: str | None
) -> None:
    out = tmp_path / "g.pt"
    words = [f"network={network}"] if network else []
    assert convert(capsys, f"source={three}", f"out={out}", *words)[0] == cli.OK
    assert load_generator(out).hash == load_foreign(three, network or "G_ema").hash
    assert load_foreign(three, "G").hash != load_foreign(three, "G_ema").hash


def test_a_discriminator_becomes_rosinality_s_and_comes_back(
    three: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    straight, bundle, again = (tmp_path / name for name in ("straight.pt", "d.safetensors", "again.pt"))
    assert convert(capsys, f"source={three}", f"out={bundle}", "network=D")[0] == cli.OK
    status, said = convert(capsys, f"source={bundle}", f"out={again}", "check=true")
    assert status == cli.OK
    D = load_discriminator(bundle)
    assert said == f"hash: {D.hash}\nwritten: {again}\n"
    assert convert(capsys, f"source={three}", f"out={straight}", "network=D")[0] == cli.OK
    assert load_discriminator(again).hash == load_discriminator(straight).hash == D.hash


def test_a_file_of_e4e_gives_its_encoder_and_its_generator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    decoder = Generator(16, z_dim=8, w_dim=8, mapping_layers=1)
    write_rosinality(tmp_path / "g.pt", decoder)
    encoder = IRSEEncoder(16, 6, 8, offsets=True, channels=[16, 32, 48, 64], units=[1, 1, 1, 1])
    weights = {f"encoder.{name}": value for name, value in encoder.state_dict().items() if name != "latent_avg"}
    theirs = torch.load(tmp_path / "g.pt", weights_only=True)["g_ema"]
    weights |= {f"decoder.{name}": value for name, value in theirs.items()}
    average = torch.linspace(0, 1, 8).repeat(6, 1)
    opts = {"encoder_type": "Encoder4Editing", "start_from_latent_avg": True}
    source = tmp_path / "e4e.pt"
    torch.save({"state_dict": weights, "opts": opts, "latent_avg": average}, source)

    assert convert(capsys, f"source={source}", f"out={tmp_path / 'zoo' / 'g.safetensors'}")[0] == cli.OK
    generator = load_generator(tmp_path / "zoo" / "g.safetensors")
    assert torch.equal(generator.w_avg, average[0])
    assert torch.equal(generator.synthesis.b16.conv1.weight, decoder.synthesis.b16.conv1.weight)
    words = [f"source={source}", f"out={tmp_path / 'zoo' / 'e.safetensors'}", f"generator={source}", "check=true"]
    status, said = convert(capsys, *words)
    assert status == cli.OK
    assert "psnr of samples: " in said
    monkeypatch.setenv("GANVAS_ZOO", "")
    found = find_encoder(generator)
    assert isinstance(found, IRSEEncoder)
    assert f"hash: {found.hash}\n" in said
    manifest = read_manifest(tmp_path / "zoo" / "e.safetensors")
    assert manifest["source"] == {"file": "e4e.pt", "format": "e4e checkpoint", "network": "E"}
    latents = tmp_path / "inverted"
    images = tmp_path / "images"
    save_grid(generator.render(generator.sample(1, seed=0)).clamp(-1, 1), images / "a.png")
    inversion = ["inversion.start=encoder", "inversion.steps=0", "inversion.samples=8", f"out={latents}"]
    where = [f"images={images}", f"generator={tmp_path / 'zoo' / 'g.safetensors'}"]
    assert cli.main(["invert", *where, *inversion]) == cli.OK
    assert load_latent(latents / "latents.safetensors")[0].tensors["ws"].shape == (1, 6, 8)


def test_classifiers_of_editgan_become_a_branch_and_come_back(
    tiny_generator: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generator = load_generator(tiny_generator)
    head = head_for(generator, "reference", len(CLASSES), constants=True, members=2).eval()
    write_classifiers(tmp_path / "made" / "model.pth", head)
    (tmp_path / "classes.txt").write_text("\n".join(CLASSES.names))
    bundle, own = tmp_path / "branch.safetensors", [f"generator={tiny_generator}"]
    words = [f"source={tmp_path / 'made'}", f"out={bundle}", *own, f"classes={tmp_path / 'classes.txt'}", "check=true"]
    status, said = convert(capsys, *words)
    assert status == cli.OK
    assert said.startswith("members: 2\n")
    assert said.endswith(f"%\nwritten: {bundle}\n")
    manifest = read_manifest(bundle)
    assert manifest["classes"]["names"] == list(CLASSES.names)
    assert manifest["source"] == {"file": "made", "format": "EditGAN classifier", "network": "S"}
    editor = load(bundle, tiny_generator)
    seen = editor.segment(generator.sample(2, seed=0))
    _, maps = generator.render(generator.sample(2, seed=0), features=True)
    torch.testing.assert_close(seen.probabilities, head(maps).mean(0).softmax(1), rtol=0, atol=1e-5)

    status, said = convert(capsys, f"source={bundle}", f"out={tmp_path / 'back.pth'}")
    assert (status, said) == (cli.OK, "".join(f"written: {tmp_path / f'back_{i}.pth'}\n" for i in range(2)))
    for i in range(2):
        first, again = (torch.load(tmp_path / name, weights_only=True)["model_state_dict"]
                        for name in (f"made/model_{i}.pth", f"back_{i}.pth"))  # fmt: skip
        assert first.keys() == again.keys()
        assert all(torch.equal(first[name], again[name]) for name in first)


def test_a_class_file_has_a_line_for_each_output(
    tiny_generator: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head = head_for(load_generator(tiny_generator), "reference", 3, constants=True, members=1).eval()
    write_classifiers(tmp_path / "model.pth", head)
    (tmp_path / "classes.txt").write_text("only\ntwo")
    words = [f"source={tmp_path / 'model_0.pth'}", f"out={tmp_path / 'b.safetensors'}", f"generator={tiny_generator}"]
    status, said = convert(capsys, *words, f"classes={tmp_path / 'classes.txt'}")
    assert status == cli.REFUSED
    assert "classes.txt has 2 classes, and" in said
    assert convert(capsys, *words)[0] == cli.OK
    assert read_manifest(tmp_path / "b.safetensors")["classes"]["names"] == ["class 0", "class 1", "class 2"]


def test_what_cannot_be_converted(
    pickle: Path, tiny_generator: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = tmp_path / "there.safetensors"
    there.write_text("mine")
    text = tmp_path / "text.pkl"
    text.write_text("hello")
    new = tmp_path / "new.safetensors"
    encoder = f"generator={tiny_generator}"
    for words, says in {
        (f"source={pickle}", f"out={there}"): "there.safetensors is already there: choose another out=",
        (f"source={pickle}", f"out={tmp_path / 'g.txt'}"): "must end in .safetensors, a bundle, or in .pt, rosi",
        (f"source={tiny_generator}", f"out={tmp_path / 'g.onnx'}"): "kind 'stylegan2': give one of kind 'segmenter'",
        (f"source={pickle}", f"out={tmp_path / 'g.onnx'}", "network=G"): "has neither network= nor generator=",
        ("source=zoo/segmenter_avatars64.safetensors", f"out={tmp_path / 'g.onnx'}", "resolution=50"): "multiple of 16",
        (f"source={pickle}", f"out={new}", "network=X"): "network=X must be one of G_ema, G, D, E, S",
        (f"source={pickle}", f"out={new}", "network=E"): "network=E, an encoder, and network=S, a segm",
        (f"source={pickle}", f"out={new}", "network=G", f"generator={pickle}"): "the other networks have none",
        (f"source={pickle}", f"out={new}", "network=S"): "a segmentation branch, need generator=FILE, the",
        (f"source={pickle}", f"out={new}", "classes=c.txt"): "it goes with network=S only",
        (f"source={pickle}", f"out={new}", encoder, "network=S"): "network.pkl holds no pixel classifier",
        (f"source={tiny_generator}", f"out={tmp_path / 'c.pth'}"): "does not describe a segmentation head",
        (f"source={pickle}", f"out={tmp_path / 'e.pt'}", f"generator={pickle}"): "must end in .safetensors, a bundle.",
        (f"source={text}", f"out={new}", f"generator={pickle}"): "text.pkl holds no encoder that Ganvas conv",
        (f"source={pickle}", f"out={new}", encoder): "network.pkl holds no encoder that Ganvas converts; give",
        (f"source={text}", f"out={new}"): "text.pkl is no checkpoint that Ganvas converts; give a .pkl of",
        (f"source={tiny_generator}", f"out={new}"): "is no checkpoint that Ganvas converts",
        (f"source={tiny_generator}", f"out={tmp_path / 'g.pt'}"): "g.pt cannot be written: rosinality's network has",
        (f"source={tmp_path / 'no.pkl'}", f"out={new}"): "there is no file",
        (f"source={tmp_path / 'no.pkl'}", f"out={tmp_path / 'g.pt'}"): "there is no file",
        (f"source={pickle}", f"out={tmp_path / 'd.pt'}", "network=D"): "network has c_dim=0, and this one 2",
        (f"source={tiny_generator}", f"out={tmp_path / 'd.pt'}", "network=D"): "'stylegan2', not a discriminator",
    }.items():
        status, said = convert(capsys, *words)
        assert (status, said.count("\n")) == (cli.REFUSED, 1)
        assert says in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["text.pkl", "there.safetensors"]
    assert there.read_text() == "mine"


def test_samples_and_the_main_job_straight_from_a_pickle(
    pickle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "cache"))
    assert cli.main(["sample", f"generator={pickle}", "n=4", f"out={tmp_path / 'samples'}"]) == cli.OK
    folder = labelled_folder(pickle, tmp_path / "labelled")
    run = tmp_path / "run"
    words = ["experiment=segmentation/folder", f"generator={pickle}", f"images={folder / 'images'}",
             f"masks={folder / 'masks'}", "task.folds=0", f"out={run}", *FAST]  # fmt: skip
    assert cli.main(["train", *words]) == cli.OK
    bundle = run / "export" / "segmentation.safetensors"
    assert read_manifest(bundle)["generator"]["hash"] == load_generator(pickle).hash
    assert read_manifest(bundle)["classes"]["names"] == list(CLASSES.names)


def test_a_segmenter_becomes_an_onnx_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    classes = {"names": ["a", "b"], "palette": [[0, 0, 0], [9, 9, 9]]}
    network = UNet(2, (8, 8))
    trained = {"classes": classes, "trained_on": {"resolution": 32}}
    source = save_segmenter(tmp_path / "s.safetensors", network, trained)
    status, said = convert(capsys, f"source={source}", f"out={tmp_path / 's.onnx'}")
    assert status == cli.OK
    lines = dict(line.split(": ", 1) for line in said.splitlines())
    assert lines["input"] == "image [N, 3, 32, 32] in [-1, 1]"
    assert lines["output"] == "logits [N, 2, 32, 32]"
    assert float(lines["largest_difference"]) < 1e-4
    assert (tmp_path / "s.onnx").stat().st_size > 1000
