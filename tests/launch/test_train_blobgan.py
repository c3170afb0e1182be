"""``task=blobgan``: what a run leaves, and mistakes in one sentence."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from torch.utils.flop_counter import FlopCounterMode

from launch import cli
from launch.compose import compose
from launch.figures import read_figures
from launch.record import read_metrics
from launch.reports.blobs import blob_colors, blob_grid
from launch.sweep_plan import plan
from networks.blobgan import Jitter, Layout
from networks.checkpoints.generators import load_generator

ROOT = Path(__file__).parents[2]
TINY = [
    "train", "task=blobgan", "task/discriminator=lean", "data=scenes", "data.resolution=16", "data.count=8",
    "task.discriminator.channels=[4,4]", "task.generator.k=2", "task.generator.channels=[8,6]",
    "task.generator.z_dim=4", "task.generator.hidden_dim=8", "task.generator.layers=2", "task.generator.smallest=8",
    "task.generator.structure_dim=6", "task.generator.style_dim=4", "task.batch_size=4", "task.metrics_samples=4",
    "task.training.total_images=16", "task.checkpoint_every=8", "wandb=disabled", "trainer.threads=1",
]  # fmt: skip


def test_a_run_leaves_a_generator_sheets_with_blobs_and_their_use(tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert cli.main([*TINY, f"out={out}"]) == cli.OK
    generator = load_generator(out / "export" / "blobgan.safetensors")
    assert Layout.of(generator.sample(2, 0)).k == 2
    sheets = sorted(path.name for path in (out / "images").glob("blobs-*"))
    assert sheets == ["blobs-00000008.png", "blobs-00000016.png"]
    use = [line for line in read_metrics(out / "metrics.jsonl") if "coverage" in line]
    assert [line["step"] for line in use] == [8, 16, 16]  # the last: with the headline figures
    assert use[0].keys() >= {"coverage", "entropy", "dead_blobs", "blobs_in_use", "spread"}
    figures = read_figures(out).figures
    assert figures["coverage"].value == use[-1]["coverage"]
    assert figures["spread"].protocol.images == 256
    assert cli.main([*TINY, f"out={out}"]) == cli.OK  # nothing is left to train


def test_two_devices_keep_one_record(tmp_path: Path) -> None:
    words = [*TINY, "trainer.devices=2", "task.metrics_every=8"]
    alone = {name: value for name, value in os.environ.items() if name not in ("LOCAL_RANK", "RANK", "WORLD_SIZE")}
    done = subprocess.run(
        [sys.executable, "-m", "launch.cli", *words], cwd=tmp_path, env={**alone, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    assert done.stdout.count("images_seen: 16") == done.stdout.count("report: ") == 1
    (out,) = (tmp_path / "runs" / "blobgan").iterdir()
    lines = list(read_metrics(out / "metrics.jsonl"))
    assert sum("coverage" in line for line in lines) == 3  # as of one device
    assert sum("kid_efficientnet_lite0_x1000" in line for line in lines) == 2  # on the way, and at the end
    assert load_generator(out / "export" / "blobgan.safetensors").img_resolution == 16
    assert cli.main([*words, f"out={out}"]) == cli.OK  # nothing is left to train, so that nothing is started


def test_a_run_on_two_devices_is_stopped_as_one_on_one(tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = [word for word in TINY if "total_images" not in word]
    alone = {name: value for name, value in os.environ.items() if name not in ("LOCAL_RANK", "RANK", "WORLD_SIZE")}
    (tmp_path / "scratch").mkdir()
    run = subprocess.Popen(
        [sys.executable, "-m", "launch.cli", *words, "trainer.devices=2", "task.training.total_images=1000000",
         f"out={out}"],
        env={**alone, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path / "scratch")}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    until(lambda: (out / "checkpoints" / "last.ckpt").exists() and list((tmp_path / "scratch").glob("ganvas-*")))
    run.terminate()
    _, said = run.communicate(timeout=60)
    assert run.returncode == cli.TERMINATED
    assert said.count("ganvas: stopped; `ganvas train ") == said.count("ganvas: ") == 1
    until(lambda: not list((tmp_path / "scratch").glob("ganvas-*")))  # the other process has left, too


def until(seen: Callable[[], object]) -> None:
    """Wait for it."""
    end = time.monotonic() + 120
    while not seen():
        assert time.monotonic() < end
        time.sleep(0.2)


def test_samples_can_be_drawn_from_the_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert cli.main([*TINY, "task.training.total_images=4", f"out={out}"]) == cli.OK
    bundle = out / "export" / "blobgan.safetensors"
    assert cli.main(["sample", f"generator={bundle}", "n=3", f"out={tmp_path / 'samples'}"]) == cli.OK
    assert (tmp_path / "samples" / "latents.safetensors").exists()
    capsys.readouterr()
    assert cli.main([*TINY[:1], "task=stylegan2", *TINY[2:7], f"generator={bundle}", "wandb=disabled",
                     f"out={tmp_path / 'other'}"]) == cli.REFUSED  # fmt: skip
    assert "holds a generator of kind blobgan, and task=stylegan2 trains another" in capsys.readouterr().err


def test_arguments_of_a_network_that_is_trained_on_are_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The experiment's may differ, for nobody typed them."""
    words, out = [*TINY, "task.training.total_images=4"], tmp_path / "run"
    assert cli.main([*words, f"out={tmp_path / 'first'}"]) == cli.OK
    judge, bundle = (tmp_path / "first" / "export" / f"blobgan{part}.safetensors" for part in ("_discriminator", ""))
    on = [f"generator={bundle}", f"task.start_discriminator={judge}"]
    capsys.readouterr()
    for more, sentence in (
        (["task.generator.k=5"], f"task.generator.k=5 is not that of the generator in {bundle}, which has k=2:"),
        (["task.generator={k:5}"], "task.generator.k=5 is not that of the generator in"),
        (["task.generator.aspect_bound=3"], "task.generator.aspect_bound=3.0 is not that of the generator in"),
        (["task.generator.c_model=9"], f"=9 is not that of the generator in {bundle}, which has channels=[8, 6]"),
        (["task.discriminator.channels=[4,8]"], f"that of the discriminator in {judge}, which has channels=[4, 4]"),
        (["task/discriminator=official"], "task/discriminator asks for a Discriminator, and the discriminator in"),
    ):
        base = [word for word in words if not (more[0].startswith("task/") and word.startswith("task.discriminator"))]
        assert cli.main([*base, *on, *more, f"out={out}"]) == cli.REFUSED
        assert sentence in capsys.readouterr().err
        assert not out.exists()
    assert cli.main([*words, *on, "task.generator.channels=null", f"out={out}"]) == cli.OK
    plain = [word for word in words if not word.startswith(("task.generator", "task.discriminator"))]
    assert cli.main([*plain, *on, f"out={tmp_path / 'plain'}"]) == cli.OK
    assert load_generator(tmp_path / "plain" / "export" / "blobgan.safetensors").k == 2


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["task.generator.k=0"], "the networks of task=blobgan cannot be built: k must be at least 1"),
        (["task.generator.k=500"], "task.generator.k=500 must be at most 191: no more blobs can be rendered."),
        (["data=folder", "task.generator.k=500", "data.resolution=16", "images=/no/such"], "k=500 must be at most 191"),
        (["task.generator.channels=[8]"], "cannot be built: channels must be 2 positive counts, of 8, ..., 16"),
        (["task.training.jitter_end=2"], "jitter_end must be in (0, 1]"),
        (["data=folder", "data.labels=true", "data.resolution=16", "images=x"], "task=blobgan takes no labels"),
        (["trainer.devices=0"], "trainer.devices=0 must be at least 1"),
        (["trainer.devices=-1"], "trainer.devices=-1 must be at least 1, or on GPUs -1"),
        (["trainer.num_nodes=2"], "trainer.num_nodes=2 needs a launcher"),
        (["data=rooms", "data.resolution=16"], "data=rooms needs data.furniture=PATH: the Debian package"),
        (["data=rooms", "data.furniture=nowhere"], "data.furniture=nowhere does not exist: give the Debian package"),
    ],
)
def test_a_mistake_gets_one_sentence(
    words: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = [word for word in TINY if not (words[0].startswith("data=") and word.startswith("data"))]
    assert cli.main([*base, *words, f"out={tmp_path / 'run'}"]) == cli.REFUSED
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["lsun_bedrooms", "scenes32"])
def test_an_empty_folder_is_refused_before_the_first_step(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("launch.gan_training.build", lambda *_: pytest.fail("a network is built"))
    (tmp_path / "images").mkdir()
    words = ["train", f"experiment=blobgan/{name}", "data=folder", f"images={tmp_path / 'images'}", "wandb=disabled",
             "data.resolution=16", "task.metrics_features=stlpips-alex"]  # fmt: skip
    assert cli.main([*words, f"out={tmp_path / 'run'}"]) == cli.REFUSED
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert f"{tmp_path / 'images'} holds no images (.png, " in said[0]
    assert not (tmp_path / "run").exists()


def test_weights_that_are_missing_are_asked_for_before_any_image_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("launch.gan_training.training_images", lambda *_: pytest.fail("images are read"))
    words = ["train", "experiment=blobgan/lsun_bedrooms", f"images={tmp_path}", "task.metrics_weights=/no/such"]
    assert cli.main([*words, f"out={tmp_path / 'run'}"]) == cli.REFUSED
    assert "there is no file /no/such: metrics_weights= must name the file" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_bedrooms_of_lsun_are_trained_as_in_the_release() -> None:
    cfg = compose("train", ["experiment=blobgan/lsun_bedrooms", "images=bedrooms"])
    with torch.device("meta"):
        judge, G = instantiate(cfg.task.discriminator), instantiate(cfg.task.generator)
        module = instantiate(cfg.task.training, generator=G, discriminator=judge)
    # StyleGANDiscriminator(size=256, channel_multiplier=2): 28.86 M parameters, 128 channels at 256x256.
    assert sum(p.numel() for p in judge.parameters()) == pytest.approx(28.86e6, rel=1e-3)
    assert judge.b256.fromrgb.weight.shape[0] == 128
    assert (module.r1_gamma / 2, module.r1_interval, module.loss, module.final_lr) == (50, 16, "logistic", 1.0)
    assert module.jitter == Jitter(0.04, 0.5, 0.1)
    assert module.jitter_end is None
    for seen in (192, 10**8):  # accumulate(..., 0.5 ** (32 / 10000)), once a batch of 24 on each of 8 GPUs
        module.clock.fill_(seen)
        assert module._ema_decay(cfg.task.batch_size) == pytest.approx(0.5 ** (32 / 10_000))
    g, d = module.configure_optimizers()
    assert (g.defaults["lr"], g.defaults["betas"], g.defaults["eps"]) == (0.002, (0, 0.99), 1e-5)
    assert d.defaults["lr"] == pytest.approx(0.002 * 16 / 17)
    assert d.defaults["betas"] == (0, pytest.approx(0.99 ** (16 / 17)))
    assert set(cfg.task.metrics) == {"kid", "fid", "precision", "recall"}
    assert (cfg.task.metrics_features, cfg.task.metrics_samples) == ("inception", 50_000)


# Of ops of our own, from the shapes of their arguments: a product with each blob's style, and with the kernel.
OPERATIONS = {
    torch.ops.ganvas.spatial_modulation: lambda x, w, s, *_, **__: 2 * w[1] * math.prod(x),
    torch.ops.ganvas.spatial_projection: lambda x, w, s, kernel, **__: 2 * (w[1] + kernel[0]) * math.prod(x),
}


def test_the_baseline_has_blobgans_parameters_and_operations() -> None:
    grid = compose("sweep", ["experiment=paper/blobgan_baseline", "size=zoo", "data.furniture=x"])
    arms = {job.at["generator"]: job.words for job in plan(grid).jobs}
    assert set(arms) == {"BlobGAN", "StyleGAN2"}
    weights, operations = {}, {}
    for name, words in arms.items():
        G = instantiate(compose("train", words).task.generator).to("meta")  # where convolutions are PyTorch's: counted
        weights[name] = sum(p.numel() for p in G.parameters())
        with FlopCounterMode(display=False, custom_mapping=OPERATIONS) as counter, torch.no_grad():
            G(torch.zeros(1, G.z_dim, device="meta"))
        operations[name] = counter.get_total_flops()
    assert operations["BlobGAN"] == pytest.approx(1.38e9, rel=0.01)
    for counts in (weights, operations):
        assert counts["StyleGAN2"] == pytest.approx(counts["BlobGAN"], rel=0.03)


def test_blobs_have_colours_of_their_own(tmp_path: Path) -> None:
    assert len({tuple(color) for color in blob_colors(12)}) == 13
    assert cli.main([*TINY, "task.training.total_images=4", f"out={tmp_path / 'run'}"]) == cli.OK
    generator = load_generator(tmp_path / "run" / "export" / "blobgan.safetensors")
    scenes = generator.sample(5, 0)
    assert blob_grid(generator, scenes).size[0] > blob_grid(generator, scenes, columns=1).size[0]
