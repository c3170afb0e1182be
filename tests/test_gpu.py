"""The whole path on a GPU (``make gpu-check``): the same numbers as on the CPU, and training that runs.

``GANVAS_TEST_DEVICE=cpu`` runs these tests on the CPU, to see that the tests themselves are sound.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from editors import load
from editors.invert import InversionSettings, invert
from launch import cli
from networks.checkpoints.classes import ClassList
from networks.checkpoints.generators import load_generator, save_generator
from networks.checkpoints.masks import write_mask
from networks.critics import perceptual
from networks.stylegan2 import Discriminator, Generator

DEVICE = os.environ.get("GANVAS_TEST_DEVICE", "cuda")
TRAINER = "trainer=gpu" if DEVICE == "cuda" else "trainer=cpu"

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(DEVICE == "cuda" and not torch.cuda.is_available(), reason="torch sees no GPU here"),
]


@pytest.fixture
def generator_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "cache"))
    torch.manual_seed(0)
    network = Generator(32, z_dim=16, w_dim=16, mapping_layers=2, channel_base=512, channel_max=32)
    return save_generator(tmp_path / "tiny.safetensors", network, {"licence": "CC0-1.0"})


@pytest.fixture
def single_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Convolutions in float32, where a GPU would round their operands to TF32."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.mark.usefixtures("single_precision")
@pytest.mark.parametrize("architecture", ["skip", "resnet", "orig"])
def test_a_generator_draws_the_same(architecture: str) -> None:
    torch.manual_seed(0)
    network = Generator(64, z_dim=32, w_dim=32, channel_base=2048, channel_max=64, architecture=architecture).eval()
    latent = network.sample(4, seed=0)
    expected, maps = network.render(latent, features=True)
    drawn, found = network.to(DEVICE).render(latent.to(DEVICE), features=True)
    torch.testing.assert_close(drawn.cpu(), expected, rtol=1e-3, atol=1e-3)
    for name, value in maps.items():
        torch.testing.assert_close(found[name].cpu(), value, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("half_dtype", ["float16", "bfloat16"])
def test_half_precision_blocks_stay_close(half_dtype: str) -> None:
    torch.manual_seed(0)
    options = {"z_dim": 32, "w_dim": 32, "channel_base": 2048, "channel_max": 64}
    full = Generator(64, **options).eval().to(DEVICE)
    half = Generator(64, **options, num_fp16_res=2, half_dtype=half_dtype, conv_clamp=256).eval().to(DEVICE)
    half.load_state_dict(full.state_dict())
    latent = full.sample(4, seed=0).to(DEVICE)
    difference = (half.render(latent).float() - full.render(latent)).abs().mean()
    assert difference < (0.01 if half_dtype == "float16" else 0.05) * full.render(latent).abs().mean()


@pytest.mark.usefixtures("single_precision")
def test_the_discriminator_s_second_derivatives_are_those_of_the_cpu() -> None:
    torch.manual_seed(0)
    critic, img = Discriminator(32, channel_base=512, channel_max=32), torch.randn(4, 3, 32, 32)

    def penalty(device: str) -> torch.Tensor:
        critic.to(device).zero_grad()
        x = img.to(device).requires_grad_(True)
        (gradient,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
        gradient.square().sum().backward()
        return critic.b4.out.weight.grad.cpu()

    torch.testing.assert_close(penalty(DEVICE), penalty("cpu"), rtol=1e-3, atol=1e-5)


def test_inversion_comes_as_close_as_on_the_cpu(generator_file: Path) -> None:
    settings, critic = InversionSettings(steps=30, samples=64), perceptual("stlpips-alex")
    generator = load_generator(generator_file)
    images = generator.render(generator.sample(4, seed=9)).clamp(-1, 1)
    there = invert(generator.to(DEVICE), images, settings, critic).psnr.cpu()
    here = invert(generator.cpu(), images, settings, critic.cpu()).psnr
    assert (there - here).abs().max() < 2


def test_a_branch_is_trained_and_used(generator_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [
        "train", "experiment=segmentation/avatars16", f"generator={generator_file}", "data.resolution=32", "n=4",
        "task.labels=4", "task.generated=0", "task.teacher=null", "task.inversion.steps=2", "task.folds=0",
        "task.training.least_steps=20", "wandb=disabled", f"out={out}", TRAINER,
    ]  # fmt: skip
    assert cli.main(command) == cli.OK
    editor = load(out / "export" / "segmentation.safetensors", generator_file, device=DEVICE)
    segmentation = editor.segment(editor.generator.sample(2, seed=0).to(DEVICE))
    assert segmentation.mask.shape == (2, 32, 32)


@pytest.mark.parametrize("known", [False, True], ids=["inverted", "known"])
def test_a_folder_is_trained_on_and_judged_by_k_fold(generator_file: Path, tmp_path: Path, known: bool) -> None:
    samples, out = tmp_path / "samples", tmp_path / "run"
    assert cli.main(["sample", f"generator={generator_file}", "n=4", f"out={samples}", f"device={DEVICE}"]) == cli.OK
    (samples / "grid.png").unlink()
    classes, ids = ClassList.of_names(["left", "right"]), np.zeros((32, 32), np.uint8)
    ids[:, 16:] = 1
    for name in ("0000", "0001", "0002", "0003"):
        write_mask(tmp_path / "masks" / f"{name}.png", ids, classes)
    command = [
        "train", "experiment=segmentation/folder", f"generator={generator_file}", f"images={samples}",
        f"masks={tmp_path / 'masks'}", "task.folds=2", "task.inversion.steps=2", "task.training.least_steps=20",
        "task.training.jitter=0.1", "task.training.noise=true", "wandb=disabled", f"out={out}", TRAINER,
    ]  # fmt: skip
    assert cli.main([*command, f"latents={samples / 'latents.safetensors'}"] if known else command) == cli.OK
    assert (out / "images" / "k-fold-on-the-labels.png").exists()
    editor = load(out / "export" / "segmentation.safetensors", generator_file, device=DEVICE)
    assert editor.segment(samples / "0000.png", progress=False).mask.shape == (1, 32, 32)


def test_noise_of_a_seed_is_the_same_as_on_the_cpu() -> None:
    torch.manual_seed(0)
    network = Generator(32, z_dim=16, w_dim=16, channel_base=512, channel_max=32).eval().requires_grad_(False)
    for name, value in network.named_parameters():
        if name.endswith("noise_strength"):
            value.fill_(0.3)
    latent = replace(network.sample(2, seed=0), noise_seed=7)
    expected = network.render(latent)
    torch.testing.assert_close(network.to(DEVICE).render(latent.to(DEVICE)).cpu(), expected, rtol=1e-3, atol=1e-3)


def test_a_generator_is_trained_with_its_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "cache"))
    command = [
        "train", "experiment=stylegan2/avatars64", "data.count=32", "data.resolution=32", "task.batch_size=8",
        "task.discriminator.channels=[8,8,8]", "task.encoder.channels=[8,8,8]", "task.training.total_images=64",
        "task.metrics_samples=16", "wandb=disabled", f"out={tmp_path / 'run'}", TRAINER,
    ]  # fmt: skip
    assert cli.main(command) == cli.OK
    assert load_generator(tmp_path / "run" / "export" / "avatars64.safetensors").img_resolution == 32
