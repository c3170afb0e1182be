"""``ganvas train task=encoder``: a bundle that inversion then starts from, figures, a sheet, resumption, bad input."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from launch import cli
from launch.record import read_metrics
from networks.checkpoints.bundle import read_manifest
from networks.checkpoints.encoders import find_encoder, load_encoder
from networks.checkpoints.generators import load_generator, save_generator
from networks.encoder import WPlusEncoder
from networks.grids import save_grid
from networks.stylegan2 import Generator
from tests.launch.conftest import SIZE

TINY = [
    f"data.resolution={SIZE}", "data.count=16", "n=3", "task.batch_size=4", "task.training.total_images=16",
    "task.network.width=8", "task.network.hidden=8", "task.network.channels=[8,8,8]", "task.log_every=8",
    "task.checkpoint_every=8", "task.inversion.steps=2", "task.inversion.samples=8", "trainer.threads=1",
    "wandb=disabled",
]  # fmt: skip


@pytest.fixture
def generator(tiny_generator: Path, tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny generator, in a folder of its own."""
    monkeypatch.setenv("GANVAS_CACHE", str(shared_cache))
    (tmp_path / "zoo").mkdir()
    return Path(shutil.copy(tiny_generator, tmp_path / "zoo" / "g.safetensors"))


def test_inversion_starts_from_what_was_trained(
    generator: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert cli.main(["train", "experiment=encoder/avatars64", f"generator={generator}", f"out={run}", *TINY]) == cli.OK
    printed = capsys.readouterr().out
    for name in ("psnr", "perceptual", "psnr_2", "perceptual_2"):
        assert f"\n{name}: " in f"\n{printed}"
    bundle = run / "export" / "avatars64_encoder.safetensors"
    manifest = read_manifest(bundle)
    assert manifest["generator"]["hash"] == load_generator(generator).hash
    assert manifest["images_seen"] == 16
    assert "3 held-out avataaars" in manifest["metrics"]["protocol"]
    assert [line["step"] for line in read_metrics(run / "metrics.jsonl")] == [8, 16]
    assert sorted(path.name for path in (run / "images").iterdir()) == ["heldout-00000008.png", "heldout.png"]
    assert "| and 2 steps |" in (run / "report.md").read_text()
    assert find_encoder(load_generator(generator)) is None
    shutil.copy(bundle, generator.parent)
    assert isinstance(find_encoder(load_generator(generator)), WPlusEncoder)


def test_a_folder_of_images_is_enough(generator: Path, folder: Path, tmp_path: Path) -> None:
    words = ["experiment=encoder/folder", f"generator={generator}", f"images={folder / 'images'}",
             f"out={tmp_path / 'run'}", "task.heldout=3",
             *[word for word in TINY if not word.startswith(("data.", "n="))]]  # fmt: skip
    assert cli.main(["train", *words]) == cli.OK
    assert read_manifest(tmp_path / "run" / "export" / "folder_encoder.safetensors")["kind"] == "encoder"


def test_the_large_experiment_serves_a_generator_of_1024_pixels(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Generator(1024, z_dim=8, w_dim=8, mapping_layers=1, channel_base=2048, channel_max=4)
    generator = load_generator(save_generator(tmp_path / "g.safetensors", network, {}))
    for i in range(2):
        save_grid(generator.render(generator.sample(1, seed=i)).clamp(-1, 1), tmp_path / "images" / f"{i}.png")
    words = ["experiment=encoder/large", f"generator={tmp_path / 'g.safetensors'}", f"images={tmp_path / 'images'}",
             f"out={tmp_path / 'run'}", "task.heldout=2", "task.batch_size=1", "task.training.total_images=1",
             "task.network.channels=[8,8,8,8,8,8]", "task.network.width=8", "task.network.hidden=8",
             "task.inversion.steps=1", "task.inversion.samples=2", "trainer=cpu", "trainer.threads=1",
             "wandb=disabled"]  # fmt: skip
    assert cli.main(["train", *words]) == cli.OK
    encoder = load_encoder(tmp_path / "run" / "export" / "large_encoder.safetensors", generator)
    assert encoder(torch.zeros(1, 3, 1024, 1024)).shape == (1, 18, 8)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["generator="], "an encoder needs generator=FILE"),
        (["data.resolution=64"], "set data.resolution to the generator's"),
        (["task.network.channels=[8]"], "the encoder cannot be built: "),
        (["task.inversion.critic=foo"], "critic must be one of"),
        (["n=1"], "needs at least 2 images"),
        (["task.training.lr=x"], "does not fit"),
        (["task.training.samples_first=0.5", "task.training.latent=0"], "gives them no weight"),
        (["task.training.lr=-1"], "task.training.lr=-1.0 must be at least 0"),
        (["task.batch_size=0"], "task.batch_size=0 must be at least 1"),
        (["task.checkpoint_every=0"], "task.checkpoint_every=0 must be at least 1"),
        (["task.training.total_images=3"], "task.training.total_images=3 must be at least 4"),
        (["trainer.devices=2"], "task=encoder trains on one device"),
        (["seed=-1"], "seed=-1 must be at least 0"),
    ],
)
def test_what_cannot_be_followed_is_one_sentence(
    generator: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    chosen = dict(word.split("=", 1) for word in [f"generator={generator}", *TINY, *words])
    line = [f"{key}={value}" for key, value in chosen.items()]
    assert cli.main(["train", "experiment=encoder/avatars64", f"out={tmp_path / 'run'}", *line]) == cli.REFUSED
    error = capsys.readouterr().err
    assert says in error
    assert not (tmp_path / "run").exists()


def test_labels_are_refused_instead_of_ignored(
    generator: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["experiment=encoder/folder", f"generator={generator}", f"images={tmp_path}", "data.labels=true"]
    assert cli.main(["train", *command, "wandb=disabled", f"out={tmp_path / 'run'}"]) == cli.REFUSED
    assert "data.labels is for generators, an encoder sees none" in capsys.readouterr().err
