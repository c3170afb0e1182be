"""``ganvas invert`` on a tiny random generator."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from editors.invert import InversionSettings
from launch import cli
from launch import invert as verb
from launch.figures import read_figures, values
from launch.schema_inversion import InversionConfig
from networks.checkpoints.generators import load_generator, save_generator
from networks.checkpoints.latents import load_latent
from networks.grids import save_png, to_uint8
from networks.stylegan2 import Generator

FAST = ("inversion.steps=2", "inversion.samples=8", "inversion.batch=2")


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    generator = Generator(16, z_dim=8, w_dim=8, mapping_layers=2, channel_base=128, channel_max=8)
    return save_generator(tmp_path_factory.mktemp("zoo") / "tiny.safetensors", generator, {})


@pytest.fixture
def images(bundle: Path, tmp_path: Path) -> Path:
    generator = load_generator(bundle)
    for name, pixels in zip("cab", to_uint8(generator.render(generator.sample(3, seed=5))), strict=True):
        save_png(pixels, tmp_path / "images" / f"{name}.png")
    return tmp_path / "images"


def invert(bundle: Path, images: Path, out: Path, *words: str) -> int:
    given = [f"images={images}", f"generator={bundle}", f"out={out}", *FAST, *words]
    chosen = dict(word.split("=", 1) for word in given)
    return cli.main(["invert", *(f"{key}={value}" for key, value in chosen.items())])


def test_writes_latents_that_render_to_the_reconstructions(
    bundle: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a, b = [c]"
    assert invert(bundle, images, out) == cli.OK
    latent, names = load_latent(out / "latents.safetensors")
    assert names == ("a", "b", "c")
    generator = load_generator(bundle)
    assert latent.generator_hash == generator.hash
    for name, pixels in zip(names, to_uint8(generator.render(latent)), strict=True):
        written = np.asarray(Image.open(out / "reconstructions" / f"{name}.png"))
        # Another batch size may round differently, by one step.
        assert np.abs(written.astype(int) - pixels).max() <= 1
    record = read_figures(out)
    assert [each["name"] for each in record.each] == ["a", "b", "c"]
    found = values(record.figures)
    assert found["psnr"] == pytest.approx(np.mean([each["psnr"] for each in record.each]), rel=1e-4)
    assert record.figures["psnr"].protocol.generator == generator.hash
    assert record.figures["perceptual"].protocol.network == "stlpips-alex"
    assert OmegaConf.load(out / "config.yaml").inversion.steps == 2
    lines = capsys.readouterr().out.splitlines()
    assert lines[-5:] == [
        "images: 3", f"psnr: {found['psnr']:.2f}", f"perceptual: {found['perceptual']:.4f}",
        f"contact sheet: {out / 'contact_sheet.png'}", f"latents: {out / 'latents.safetensors'}",
    ]  # fmt: skip
    assert not list(out.rglob(".*"))


@pytest.mark.parametrize("box", [(0, 0, 16, 16), (0, 3, 16, 13), (5, 0, 8, 16)])
def test_one_file_gets_the_code_that_it_gets_in_a_folder(
    bundle: Path, images: Path, tmp_path: Path, box: tuple[int, int, int, int]
) -> None:
    Image.open(images / "b.png").crop(box).save(images / "b.png")
    assert invert(bundle, images / "b.png", tmp_path / "one", "inversion.batch=1") == cli.OK
    one, names = load_latent(tmp_path / "one" / "latents.safetensors")
    assert names == ("b",)
    assert invert(bundle, images, tmp_path / "all", "inversion.seed=0") == cli.OK
    all_of_them, _ = load_latent(tmp_path / "all" / "latents.safetensors")
    assert torch.equal(one.tensors["ws"][0], all_of_them.tensors["ws"][1])


def test_ctrl_c_says_how_to_go_on_and_the_rest_gives_the_same(
    bundle: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "other cache"))
    invert(bundle, images, tmp_path / "whole")
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "cache"))
    original = verb.InversionCache.put
    kept = []

    def stop_after_two(self, key, ws, generator_hash):
        original(self, key, ws, generator_hash)
        kept.append(key)
        if len(kept) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(verb.InversionCache, "put", stop_after_two)
    capsys.readouterr()
    assert invert(bundle, images, tmp_path / "out") == cli.INTERRUPTED
    assert "the same command goes on" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(verb.InversionCache, "put", original)
    assert invert(bundle, images, tmp_path / "out") == cli.OK
    whole, resumed = (load_latent(tmp_path / name / "latents.safetensors")[0] for name in ("whole", "out"))
    torch.testing.assert_close(resumed.tensors["ws"], whole.tensors["ws"], rtol=1e-4, atol=1e-4)


def test_held_out_avatars_need_no_folder(bundle: Path, tmp_path: Path) -> None:
    words = ["data=avatars", "n=2", "inversion.start=mean", "logger=csv", f"generator={bundle}", *FAST]
    for seed in (0, 1):
        assert cli.main(["invert", *words, f"seed={seed}", f"out={tmp_path / str(seed)}"]) == cli.OK
    first, second = (read_figures(tmp_path / str(seed)) for seed in (0, 1))
    protocol = first.figures["psnr"].protocol
    assert (protocol.data, protocol.split, protocol.images) == ("rendered avataaars", "split heldout, seed 0", 2)
    assert values(first.figures) != values(second.figures)
    logged = (tmp_path / "0" / "tables" / "each.csv").read_text().splitlines()
    assert (logged[0], len(logged)) == ("name,psnr,perceptual", 3)


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("images=/no/such", "images=/no/such is neither an image nor a folder"),
        ("generator=/no/such.safetensors", "there is no file /no/such.safetensors"),
        ("inversion.start=far", "inversion start must be one of auto, encoder, nearest, mean"),
        ("inversion.critic=eyes", "critic must be one of stlpips-alex, "),
        ("inversion.steps=-1", "inversion steps must be at least 0, got -1"),
        ("data=avatars", "images= and data=avatars both say what to invert: leave one of them out."),
        ("logger=paper", "logger=paper is not known: choose of wandb, tensorboard, csv and none."),
        ("images=null", "nothing says what to invert: give images=, an image or a folder, or data=avatars."),
        ("n=3", "n=3 counts held-out rendered images, and images= gives all it has: leave n= out."),
    ],
)
def test_what_cannot_be_used_is_one_sentence_and_nothing_is_written(
    bundle: Path, images: Path, tmp_path: Path, word: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invert(bundle, images, tmp_path / "out", word) == cli.REFUSED
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_command_line_has_the_library_s_defaults() -> None:
    schema = InversionConfig()
    settings = InversionSettings()
    assert InversionSettings(**{f.name: getattr(schema, f.name) for f in fields(settings)}) == settings
