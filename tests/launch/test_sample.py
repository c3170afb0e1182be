"""``ganvas sample`` on a tiny random generator."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from launch import cli
from networks.checkpoints.generators import load_generator, save_generator
from networks.checkpoints.latents import load_latent
from networks.grids import to_uint8
from networks.stylegan2 import Generator


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    generator = Generator(16, z_dim=8, w_dim=8, mapping_layers=2, channel_base=128, channel_max=8)
    return save_generator(tmp_path_factory.mktemp("zoo") / "tiny.safetensors", generator, {})


def sample(bundle: Path, out: Path, *words: str) -> int:
    return cli.main(["sample", f"generator={bundle}", f"out={out}", *words])


def test_writes_images_grid_and_latents_that_give_them_again(bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "a, b = [c]"
    assert sample(bundle, out, "n=3", "batch=2", "seed=5") == cli.OK
    assert sorted(path.name for path in out.iterdir()) == [
        "0000.png", "0001.png", "0002.png", "grid.png", "latents.safetensors"
    ]  # fmt: skip
    latent, names = load_latent(out / "latents.safetensors")
    assert names == ("0000", "0001", "0002")
    again = to_uint8(load_generator(bundle).render(latent))
    for index, pixels in enumerate(again):
        with Image.open(out / f"{index:04d}.png") as picture:
            written = torch.as_tensor(list(picture.tobytes()))
        # Another batch size may round differently, by one step.
        assert (written - torch.as_tensor(pixels).flatten().long()).abs().max() <= 1


def test_an_image_depends_only_on_its_seed_and_index(bundle: Path, tmp_path: Path) -> None:
    sample(bundle, tmp_path / "one", "n=1", "seed=3")
    sample(bundle, tmp_path / "many", "n=5", "seed=3")
    one, _ = load_latent(tmp_path / "one" / "latents.safetensors")
    many, _ = load_latent(tmp_path / "many" / "latents.safetensors")
    torch.testing.assert_close(one.tensors, many[:1].tensors)


def test_an_image_that_is_not_finite_is_not_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    generator = Generator(16, z_dim=8, w_dim=8, mapping_layers=2, channel_base=128, channel_max=8)
    with torch.no_grad():
        generator.synthesis.b16.torgb.weight.fill_(3e38)
    loud = save_generator(tmp_path / "loud.safetensors", generator, {})
    assert sample(loud, tmp_path / "out", "n=2") == cli.REFUSED
    assert "the generator draws NaN or infinite pixels for code " in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("words", [["n=0"], ["batch=0"], ["truncation=nan"], ["generator=/no/such.safetensors"]])
def test_nonsense_is_refused_before_anything_is_written(
    words: list[str], bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sample(bundle, tmp_path / "out", *words) == cli.REFUSED
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sample(bundle, tmp_path / "out", "device=cuda") == cli.REFUSED
    assert "torch sees no GPU here: use device=cpu" in capsys.readouterr().err
