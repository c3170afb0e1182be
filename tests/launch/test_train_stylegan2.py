"""`ganvas train` for a generator, on the smallest networks: what it leaves behind, how it goes on, what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import DictConfig
from PIL import Image

from launch import cli
from launch.compose import compose
from launch.gan_networks import build, starting_networks
from networks.checkpoints.bundle import read_manifest
from networks.checkpoints.generators import load_discriminator, load_generator, save_generator
from networks.stylegan2 import Discriminator, Generator
from tests.networks import official_pickle
from trainers.stylegan2 import StyleGAN2Trainer

TINY = [
    "task.training.total_images=16", "task.batch_size=4", "task.checkpoint_every=8", "task.log_every=4",
    "task.metrics_every=8", "task.metrics_samples=4", "data.resolution=32", "task.generator.z_dim=4",
    "task.generator.w_dim=4", "task.generator.channel_base=128", "task.generator.channel_max=4",
    "task.discriminator.channels=[4,4,4]", "task.encoder.channels=[4,4,4]", "wandb=disabled", "trainer.threads=1",
]  # fmt: skip
AVATARS = ["experiment=stylegan2/avatars64", "data.count=32", *TINY]
ALONE = [*(word for word in TINY if "encoder" not in word), "task.encoder=null"]  # without an encoder
KID = "kid_efficientnet_lite0_x1000"


def train(*words: str) -> int:
    return cli.main(["train", *words])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on a few avatars."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANVAS_CACHE", str(folder / "cache"))
        assert train(*AVATARS, f"out={folder / 'run'}") == cli.OK
    return folder / "run"


def test_the_bundle_loads_and_says_what_it_is(run: Path) -> None:
    path = run / "export" / "avatars64.safetensors"
    G = load_generator(path)
    assert G.render(G.sample(2, 0)).shape == (2, 3, 32, 32)
    manifest = read_manifest(path)
    assert manifest["images_seen"] == 16
    assert manifest["data"] == {
        "kind": "avatars", "style": "avataaars", "resolution": 32, "count": 32, "images": 32, "seed": 0
    }  # fmt: skip
    assert "avataaars by Pablo Stanley: Free for personal and commercial use" in manifest["licence"]
    assert manifest["command"].startswith("ganvas train experiment=stylegan2/avatars64")
    assert manifest["metrics"].keys() == {KID, f"{KID}_std", "protocol"}
    assert "4 held-out avataaars" in manifest["metrics"]["protocol"]


def test_the_record_is_whole(run: Path) -> None:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss_d" in line] == [4, 8, 12, 16]
    assert [line["step"] for line in lines if KID in line] == [8, 16]
    assert [line["step"] for line in lines if "seconds" in line] == [8, 16]
    assert sorted(file.name for file in (run / "images").iterdir()) == [
        f"course-{KID}.png", "samples-00000008.png", "samples-00000016.png", "training-images.png"
    ]  # fmt: skip
    report = (run / "report.md").read_text()
    assert f"| {KID} | " in report
    assert "| images seen | 16 |" in report
    assert "| wall time | " in report
    for picture in ("samples-00000016", "training-images", f"course-{KID}"):
        assert f"(images/{picture}.png)" in report


def test_a_finished_run_says_its_figures_again_at_once(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (run / "metrics.jsonl").read_text()
    monkeypatch.setattr("launch.gan_training.training_images", lambda cfg: pytest.fail("nothing is left to train"))
    assert train(*AVATARS, f"out={run}") == cli.OK
    out = capsys.readouterr().out
    assert "images_seen: 16" in out
    assert f"{KID}: " in out
    names = ("avatars64", "avatars64_discriminator", "avatars64_encoder")
    assert out.splitlines()[-3:] == [f"bundle: {run / 'export' / name}.safetensors" for name in names]
    assert (run / "metrics.jsonl").read_text() == before


def test_an_interrupted_run_goes_on_to_the_same_weights(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(run.parent / "cache"))

    original = StyleGAN2Trainer.training_step

    def killed(self: StyleGAN2Trainer, *batch: object) -> None:
        if self.images_seen == 12:
            raise RuntimeError("killed")
        original(self, *batch)

    out = f"out={tmp_path / 'run'}"
    with monkeypatch.context() as patch:
        patch.setattr(StyleGAN2Trainer, "training_step", killed)
        assert train(*AVATARS, out) == cli.FAILED
    assert "RuntimeError: killed" in capsys.readouterr().err
    assert train(*AVATARS, out) == cli.OK
    path = Path("export") / "avatars64.safetensors"
    assert load_generator(tmp_path / "run" / path).hash == load_generator(run / path).hash
    steps = [json.loads(line)["step"] for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert steps == [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_divergence_is_one_sentence_and_keeps_the_checkpoint(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(run.parent / "cache"))
    original = StyleGAN2Trainer.training_step

    def poisoned(self: StyleGAN2Trainer, *batch: object) -> None:
        if self.images_seen == 12:
            self.D.b4.out.bias.data.fill_(float("nan"))
        original(self, *batch)

    monkeypatch.setattr(StyleGAN2Trainer, "training_step", poisoned)
    assert train(*AVATARS, f"out={tmp_path / 'run'}") == cli.REFUSED
    err = capsys.readouterr().err.splitlines()[-1]
    assert "ganvas: loss_d is not a number in batch 3 after 12 images: lower task.training.lr_g" in err
    assert "raise task.training.r1_gamma, in a new out=" in err
    assert f"{tmp_path / 'run' / 'checkpoints'} holds the last good state." in err
    clock = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]["clock"]
    assert int(clock) == 8


def photos(folder: Path, count: int) -> Path:
    """Pictures of several sizes, in folders."""
    for i in range(count):
        rng = np.random.default_rng(i)
        pixels = rng.integers(0, 256, (20 + i % 7, 40, 3), dtype=np.uint8)
        file = folder / f"{i % 3}" / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels if i % 4 else pixels[..., 0]).save(file)  # every fourth is grey
    return folder


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "cache"))


@pytest.mark.usefixtures("own_cache")
def test_from_a_folder_of_one_s_own_to_samples(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "experiment=stylegan2/folder", f"images={photos(tmp_path / 'images', 64)}", "resolution=16", "data.mirror=true",
        "data.fit=crop", *(word for word in TINY if not word.startswith("data.")), f"out={tmp_path / 'run'}",
    ]  # fmt: skip
    words = [word for word in words if "channels=" not in word]  # D's and the encoder's are the experiment's own
    rarely = ["task.metrics_every=80", "task.checkpoint_every=80", "task.log_every=40"]
    assert train(*words, "task.training.total_images=80", *rarely) == cli.OK
    said = capsys.readouterr()
    assert "images/s" in said.out
    assert "about " in said.out
    bundle = tmp_path / "run" / "export" / "folder.safetensors"
    manifest = read_manifest(bundle)
    assert manifest["data"] == {
        "kind": "folder", "resolution": 16, "fit": "crop", "mirror": True, "labels": False, "heldout": 0, "images": 64,
        "seed": 0,
    }  # fmt: skip
    assert manifest["licence"] == "that of the training images"
    assert " of 64, evenly by name, which training may have seen" in manifest["metrics"]["protocol"]
    assert Image.open(tmp_path / "run" / "images" / "training-images.png").size == (1024, 1024)
    assert cli.main(["sample", f"generator={bundle}", "n=2", f"out={tmp_path / 'samples'}"]) == cli.OK
    assert len(list((tmp_path / "samples").glob("000*.png"))) == 2


@pytest.mark.usefixtures("own_cache")
def test_a_zip_goes_on_where_it_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = shutil.make_archive(str(tmp_path / "photos"), "zip", photos(tmp_path / "images", 6))
    words = ["experiment=stylegan2/folder", f"images={archive}", "data.mirror=true", *TINY, "task.metrics_every=16"]
    assert train(*words, f"out={tmp_path / 'whole'}") == cli.OK
    original = StyleGAN2Trainer.training_step

    def killed(self: StyleGAN2Trainer, *batch: object) -> None:
        if self.images_seen == 12:
            raise RuntimeError("killed")
        original(self, *batch)

    with monkeypatch.context() as patch:
        patch.setattr(StyleGAN2Trainer, "training_step", killed)
        assert train(*words, f"out={tmp_path / 'halves'}") == cli.FAILED
    assert train(*words, f"out={tmp_path / 'halves'}") == cli.OK
    hashes = {load_generator(tmp_path / run / "export" / "folder.safetensors").hash for run in ("whole", "halves")}
    assert len(hashes) == 1


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """Six photos of two classes, as NVIDIA's dataset tool leaves them."""
    folder = photos(tmp_path / "labelled", 6)
    names = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*.png"))
    labels = {"labels": [[name, i % 2] for i, name in enumerate(names)]}
    (folder / "dataset.json").write_text(json.dumps(labels))
    return folder


@pytest.mark.usefixtures("own_cache")
def test_labels_make_a_conditional_generator(labelled: Path, tmp_path: Path) -> None:
    command = ["experiment=stylegan2/folder", f"images={labelled}", *ALONE, "data.labels=true"]
    assert train(*command, f"out={tmp_path / 'run'}") == cli.OK
    G = load_generator(tmp_path / "run" / "export" / "folder.safetensors")
    assert G.c_dim == 2
    one, other = (G.sample(1, 0, torch.eye(2)[[c]]).tensors["ws"] for c in (0, 1))
    assert not torch.equal(one, other)


@pytest.mark.usefixtures("own_cache")
def test_labels_and_an_encoder_do_not_go_together(
    labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["experiment=stylegan2/folder", f"images={labelled}", *TINY, "data.labels=true"]
    assert train(*command, f"out={tmp_path / 'run'}") == cli.REFUSED
    assert "train a conditional generator with task.encoder=null" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


# --- on from trained networks


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Generator | Discriminator]:
    """Networks of an official checkpoint, all different."""
    torch.manual_seed(7)
    small = {"channel_base": 128, "channel_max": 4}
    G, G_ema = (Generator(32, z_dim=4, w_dim=4, mapping_layers=1, **small) for _ in range(2))
    return {"G": G, "G_ema": G_ema, "D": Discriminator(32, **small)}


def configured(*words: str) -> DictConfig:
    return compose("train", ["experiment=stylegan2/avatars64", *ALONE, *words])


def built(*words: str) -> StyleGAN2Trainer:
    cfg = configured(*words)
    return build(cfg, starting_networks(cfg))


def test_an_official_pickle_brings_all_three_networks(trained: dict, tmp_path: Path) -> None:
    pickle = official_pickle.write(tmp_path / "network.pkl", trained)
    module = built(f"generator={pickle}")
    for name, ours in (("G", module.G), ("G_ema", module.G_ema), ("D", module.D)):
        for key, value in trained[name].state_dict().items():
            torch.testing.assert_close(ours.state_dict()[key], value, rtol=0, atol=0, msg=f"{name}.{key}")
    assert all(p.requires_grad for network in (module.G, module.D) for p in network.parameters())
    assert not any(p.requires_grad for p in module.G_ema.parameters())
    assert module.G.hash == module.G_ema.hash == ""


def test_a_bundle_brings_the_generator_and_a_file_of_its_own_the_discriminator(trained: dict, tmp_path: Path) -> None:
    bundle = save_generator(tmp_path / "g.safetensors", trained["G_ema"], {})
    judge = save_generator(tmp_path / "d.safetensors", trained["D"], {})
    new = built(f"generator={bundle}")
    assert type(new.D).__name__ == "LeanDiscriminator"
    both = built(f"generator={bundle}", f"task.start_discriminator={judge}")
    for network in (both.G, both.G_ema):
        assert torch.equal(network.synthesis.b32.conv1.weight, trained["G_ema"].synthesis.b32.conv1.weight)
    assert torch.equal(both.D.b32.conv0.weight, trained["D"].b32.conv0.weight)


def test_training_goes_on_from_a_run_s_own_networks(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(run.parent / "cache"))
    first = run / "export" / "avatars64.safetensors"
    judge = run / "export" / "avatars64_discriminator.safetensors"
    words = ["experiment=stylegan2/avatars64", "data.count=32", *ALONE, f"generator={first}",
             f"task.start_discriminator={judge}", "task.training.total_images=4"]  # fmt: skip
    assert train(*words, f"out={tmp_path / 'on'}") == cli.OK
    path = tmp_path / "on" / "export" / "avatars64.safetensors"
    before, after = load_generator(first), load_generator(path)
    assert read_manifest(path)["started_from"] == before.hash
    assert before.hash != after.hash
    one, other = (load_discriminator(file).stem.weight for file in (judge, path.with_name(judge.name)))
    assert 0 < (one - other).abs().max() < 0.02  # a batch at a rate of 0.0025; a new one would be elsewhere


@pytest.mark.usefixtures("own_cache")
def test_training_on_keeps_the_average(trained: dict, labelled: Path, tmp_path: Path) -> None:
    """The first batch must not put G in the place of the average that the file holds."""
    pickle = official_pickle.write(tmp_path / "network.pkl", trained)
    words = ["experiment=stylegan2/folder", f"images={labelled}", f"generator={pickle}",
             *(word for word in ALONE if "task.discriminator" not in word)]  # fmt: skip
    assert train(*words, "task.training.total_images=4", f"out={tmp_path / 'on'}") == cli.OK
    after = load_generator(tmp_path / "on" / "export" / "folder.safetensors").synthesis.b4.const
    G, average = (trained[name].synthesis.b4.const for name in ("G", "G_ema"))
    assert (after - average).norm() < 0.01 * (G - average).norm()


@pytest.mark.parametrize("name", ["auto", "paper256", "config_f", "cifar", "projected"])
@pytest.mark.usefixtures("own_cache")
def test_the_shipped_recipes_take_a_step_with_labels(name: str, labelled: Path, tmp_path: Path) -> None:
    """Their own settings but for the sizes, on images of two classes."""
    cfg = compose("train", [f"experiment=stylegan2/{name}"])
    small = [f"task.{part}.channel_max=4" for part in ("generator", "discriminator") if "channel_max" in cfg.task[part]]
    batch = max(cfg.task.discriminator.get("mbstd_group_size") or 2, 2)
    words = [f"experiment=stylegan2/{name}", f"images={labelled}", "resolution=32", "data.labels=true", *small,
             "task.generator.z_dim=8", "task.generator.w_dim=8", f"task.batch_size={batch}", "task.metrics_samples=4",
             f"task.training.total_images={batch}", "wandb=disabled", "trainer.threads=1"]  # fmt: skip
    more = ["task.discriminator.width=2", "task.discriminator.feature_resolution=128"] if name == "projected" else []
    assert train(*words, *more, f"out={tmp_path / 'run'}") == cli.OK
    assert load_generator(tmp_path / "run" / "export" / f"{name}.safetensors").c_dim == 2


def test_a_start_that_does_not_fit_is_one_sentence(
    run: Path, labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "cache"))
    bundle = run / "export" / "avatars64.safetensors"
    words = ["experiment=stylegan2/folder", f"images={labelled}", f"generator={bundle}", "wandb=disabled",
             "task.encoder=null", "task.metrics_samples=4", f"out={tmp_path / 'run'}"]  # fmt: skip
    for more, sentence in (
        (["resolution=32", "data.labels=true"], "takes labels of width 0 and the images labels of width 2"),
        (["resolution=64"], "resolution=64 is not that of the generator in"),
        (["resolution=32", "task.generator.z_dim=5"], "z_dim=5 is not that of the generator in "),
        (["resolution=32", f"task.start_discriminator={bundle}"], "is a bundle of kind 'stylegan2', not a discrimin"),
    ):
        assert train(*words, *more) == cli.REFUSED
        assert sentence in capsys.readouterr().err
        assert not (tmp_path / "run").exists()


def test_a_folder_against_frozen_features(tmp_path: Path) -> None:
    """Three images a batch: this discriminator compares none of them, so any number will do."""
    (tmp_path / "images").mkdir()
    for i in range(6):
        pixels = np.random.default_rng(i).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{i}.png")
    shared = [word for word in TINY if not word.startswith(("task.discriminator", "task.encoder"))]
    words = ["experiment=stylegan2/projected", f"images={tmp_path / 'images'}", *shared, f"out={tmp_path / 'run'}"]
    small = ["task.discriminator.width=2", "task.discriminator.feature_resolution=128", "task.batch_size=3"]
    assert train(*words, *small, "task.metrics_features=efficientnet-lite0") == cli.REFUSED  # it teaches
    assert train(*words, *small, "task.training.total_images=6") == cli.OK
    metrics = read_manifest(tmp_path / "run" / "export" / "projected.safetensors")["metrics"]
    assert metrics.keys() == {"kid_stlpips_alex_x1000", "kid_stlpips_alex_x1000_std", "protocol"}
    state = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert any(name.startswith("D.projection.") for name in state)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["task.batch_size=6"], "task.batch_size=6 must be a multiple of 4: 4 is the discriminator's mbstd"),
        (["task.training.r1_interval=0"], "the networks of task=stylegan2 cannot be built: r1_interval"),
        (["task.encoder.w_dim=3"], "the networks of task=stylegan2 cannot be built: task.encoder.w_dim=3 is not the"),
        (["generator=zoo/avatars64.safetensors"], "the encoder of task.encoder would start from nothing"),
        (["seed=-1"], "seed=-1 must be at least 0."),
        (["task.training.lr_g=-1"], "task.training.lr_g=-1.0 must be at least 0."),
        (["task.log_every=0"], "task.log_every=0 must be at least 1."),
        (["task.metrics_samples=1"], "task.metrics_samples=1 must be at least 2."),
        (["trainer.devices=2"], "trainer.devices=2 starts the command again for each device: run `ganvas train` by"),
        (["trainer.devices=2", "task.batch_size=2"], "task.batch_size=2 leaves nothing to sample: half of the batch"),
        (["trainer.devices=3", "task.batch_size=8"], "task.batch_size=8 must be a multiple of 3, the number"),
        (["trainer.devices=2", "task.batch_size=12"], "task.batch_size=12 must be a multiple of 8: 4 is"),
        (["trainer.devices=2", "trainer.strategy=fsdp"], "trainer.strategy=fsdp is not for task=stylegan2"),
        (["n=4"], "n=4 is no option of task=stylegan2: give task.metrics_samples=4."),
        (["trainer.precision=16-mixed"], "trainer.precision=16-mixed does not go with the R1 penalty"),
        (["task.training.graphs=true", "trainer.precision=bf16-mixed"], "task.training.graphs=true does not go with"),
        (["task.training.graphs=true", "task.training.compile=true"], "task.training.graphs=true and task.train"),
        (["task.training.graphs=true", "task/augment=diffaugment"], "task.training.graphs=true does not go with"),
        (["data.resolution=48"], "data.resolution=48 must be a power of two of at least 16 for a generator: use 32 or"),
        (["data.resolution=8"], "data.resolution=8 must be a power of two of at least 16 for a generator: use 16 or"),
        (["data.resolution=64"], "the networks of task=stylegan2 cannot be built: channels must have one count for"),
        (["task.start_discriminator=d.pkl"], "task.start_discriminator needs the generator that it was trained with"),
        (["generator=/no/such.pkl"], "there is no file /no/such.pkl"),
        (["task.training.loss=wgan"], "the networks of task=stylegan2 cannot be built: loss must be logistic or hinge"),
        (["task.generator.img_channels=1"], "the images are 3x32x32 (channels, height, width) and the generator draws"),
        (["task.metrics_features=vgg"], "unknown feature network 'vgg'"),
        (["task.metrics=[kid,is]"], "unknown metric 'is': choose from kid, fid, precision, recall."),
        (["task.metrics=[]"], "no metric is named"),
        (["task.metrics=[recall]", "task.metrics_samples=3"], "precision and recall need more than 3 images, got 3"),
        (["task.metrics_weights=a.pth"], "efficientnet-lite0 has its own weights, so a.pth would not be used"),
        (["data=folder", "data.resolution=32"], "data=folder needs images=DIR"),
        (["data=folder", "images=/no/such"], "There is no folder /no/such"),
    ],
)
def test_a_mistake_gets_one_sentence(
    words: list[str], sentence: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("GANVAS_CACHE", str(run.parent / "cache"))
    base = [word for word in AVATARS if not (words[0] == "data=folder" and word.startswith("data.count"))]
    assert train(*base, *words, f"out={tmp_path / 'run'}") == cli.REFUSED
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"ganvas: {sentence}")


def test_a_damaged_checkpoint_is_named(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "checkpoints" / "last.ckpt").write_bytes(b"half")
    assert train(*AVATARS, f"out={tmp_path / 'run'}") == cli.REFUSED
    assert "last.ckpt is damaged or no checkpoint of this task: remove it, and" in capsys.readouterr().err


def test_every_metric_is_logged_kept_and_said_again(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(run.parent / "cache"))
    words = [*AVATARS, "task.metrics=[recall,fid]", "task.metrics_features=stlpips-alex", f"out={tmp_path / 'run'}"]
    assert train(*words) == cli.OK
    names = {"fid_stlpips_alex", "recall_stlpips_alex"}
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if names <= line.keys()] == [8, 16]
    metrics = read_manifest(tmp_path / "run" / "export" / "avatars64.safetensors")["metrics"]
    assert metrics.keys() == {*names, "protocol"}
    first = [line for line in capsys.readouterr().out.splitlines() if "stlpips" in line]
    assert len(first) == 2
    assert train(*words) == cli.OK  # finished: nothing is measured again
    assert [line for line in capsys.readouterr().out.splitlines() if "stlpips" in line] == first


def test_evaluate_prints_every_figure_by_both_networks_with_its_protocol(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(run.parent / "cache"))
    bundle = run / "export" / "avatars64.safetensors"
    words = ["evaluate", f"generator={bundle}", "data=avatars", "data.resolution=32", "n=4"]
    assert cli.main(words) == cli.OK
    lines = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert lines["reference"] == "4 held-out avataaars (split heldout, seed 0) at 32x32"
    assert lines["samples"] == "4, seed 0, truncation 1"
    # What training measured at its end is the same figure.
    assert float(lines[KID]) == pytest.approx(read_manifest(bundle)["metrics"][KID], rel=1e-3)
    names = ["kid_{}_x1000", "kid_{}_x1000_std", "fid_{}", "precision_{}", "recall_{}"]
    expected = [name.format(net) for net in ("efficientnet_lite0", "stlpips_alex") for name in names]
    assert [name for name in lines if name in expected] == expected
    assert "100 subsets of 4" in lines["protocol"]
    assert "FID: of 4 and 4 images" in lines["protocol"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "nothing says what to evaluate: give generator=BUNDLE, segmentation=BUNDLE, recipe=NAME or "),
        (["generator=/no/such"], "there is no file /no/such"),
        (["generator=g", "n=1"], "n=1 must be at least 2"),
        (["generator={bundle}", "metrics_features=[]"], "metrics_features=[] measures nothing"),
        (["generator={bundle}", "data.resolution=32", "n=4", "metrics_features=[inception]", "metrics_weights=/no/f"],
         "there is no file /no/f: metrics_weights= must name the file pt_inception-2015-12-05-6726825d.pth"),
        (["generator={bundle}", "n=4"], "the images are 3x64x64 (channels, height, width) and the generator draws"),
    ],
)
def test_evaluate_refuses_in_one_sentence(
    words: list[str], sentence: str, run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(run.parent / "cache"))
    words = [word.format(bundle=run / "export" / "avatars64.safetensors") for word in words]
    assert cli.main(["evaluate", *words]) == cli.REFUSED
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"ganvas: {sentence}")
