"""Every file under ``conf/``: composed, and every experiment run for a moment, twice with the same result."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
from omegaconf import DictConfig

from launch import cli
from launch.compose import GRIDS, choices_of, compose
from launch.figures import read_figures
from launch.options import MANDATORY, default_of, options
from launch.paths import CONF
from launch.rendered import RENDERED
from launch.schemas import VERBS
from launch.sweep_plan import plan
from networks.checkpoints.errors import GanvasError
from tests.fashion_mnist import write_fashion_mnist
from tests.furniture import write_furniture
from tests.launch.conftest import SIZE, tiny_clip, tiny_judges

FILES = sorted(path.relative_to(CONF).with_suffix("").as_posix() for path in CONF.rglob("*.yaml"))
EXPERIMENTS = [name for name in choices_of("experiment") if not name.startswith(GRIDS)]

INVERSION = ["task.inversion.steps=1", "task.inversion.samples=8"]
GENERATOR = ["z_dim=4", "w_dim=4", "mapping_layers=1", "channel_base=64", "channel_max=8"]
BLOBS = ["k=2", "channels=[8,6]", "z_dim=4", "hidden_dim=8", "layers=2", "structure_dim=6", "style_dim=4", "smallest=8"]
DISCRIMINATOR = {"official": ["channel_base=64", "channel_max=8"], "lean": ["channels=[4,4]"],
                 "projected": ["width=4", "feature_resolution=128"]}  # fmt: skip
MOMENT = {  # task -> what makes a run of it last seconds
    "segmentation": [
        *INVERSION, "task.labels=2", "task.heldout=2", "task.generated=0", "task.head.members=2",
        "task.training.passes=1", "task.training.least_steps=2", "task.save_every=1000", "task.pool=16",
    ],
    "encoder": [
        *INVERSION, "task.heldout=2", "task.batch_size=2", "task.training.total_images=4", "task.network.width=8",
        "task.network.hidden=8", "task.network.channels=[8,8,8]",
    ],
    "attributes": ["data.resolution=16", "task.epochs=1", "task.batch_size=2", "task.network.width=8"],
    "identity": [
        "data.resolution=16", "data.count=8", "task.epochs=1", "task.batch_size=4", "task.network.width=8", "n=4",
    ],
    "mapper": [
        "n=2", "task.batch_size=2", "task.training.total_images=4", "task.sources.count=2", "task.network.depth=2",
        "task.network.hidden=4", "task.clip.templates=false", "task.preserve.perceptual=0",
        "task.preserve.outside=0", "task.choose.codes=2",
    ],
    "directions": ["task.relevance.images=2", "task.relevance.samples=16", "task.relevance.batch=2", "task.check=2"],
    "clip": [
        "data.resolution=16", "data.count=8", "task.epochs=1", "task.batch_size=4", "task.network.width=8", "n=24",
        "task.borrowed=1", "task.network.hidden=8",
    ],
    "segmenter": ["task.epochs=1", "task.least_steps=0", "task.batch_size=4", "task.heldout=4", "n=4"],
    "stylegan2": [
        "data.resolution=16", "task.batch_size=4", "task.training.total_images=8", "task.metrics_samples=4",
        "task.training.r1_interval=2", *(f"task.generator.{word}" for word in GENERATOR),
    ],
    "blobgan": [
        "data.resolution=16", "task.batch_size=4", "task.training.total_images=8", "task.metrics_samples=4",
        "task.training.r1_interval=2", *(f"task.generator.{word}" for word in BLOBS),
    ],
    "sngan": [
        "data.resolution=16", "data.count=16", "task.batch_size=4", "task.training.total_images=8",
        "task.metrics_samples=8",
        "task.generator.channels=[8,6,4]", "task.discriminator.channels=[4,4]",
    ],
}  # fmt: skip


@pytest.mark.parametrize("file", FILES)
def test_every_file_composes(file: str) -> None:
    """Roots of verbs with what they must be given, choices of groups in a verb that has the group."""
    group, _, name = file.rpartition("/")
    if not group:
        needed = [f"{key}=x" for key, item in options(VERBS[name]) if default_of(item) == MANDATORY]
        assert compose(name, needed if name != "train" else ["experiment=segmentation/demo"]).debug is False
    elif file.startswith(f"experiment/{GRIDS}"):
        assert plan(compose("sweep", [f"experiment={file.removeprefix('experiment/')}"])).jobs
    elif group.startswith("experiment"):
        assert compose("train", [f"experiment={file.removeprefix('experiment/')}"]).task.name in MOMENT
    elif group == "recipe":
        assert compose("evaluate", [f"recipe={name}"]).recipe.name
    elif group in ("launcher", "sweeper"):
        assert compose("sweep", [f"{group}={name}"]).own == [f"{group}={name}"]
    else:
        owners = {"task/head": "segmentation", "task/network": "segmenter", "task/statements": "mapper",
                  "task/texts": "mapper"}  # fmt: skip
        task = {"task": name, **owners}.get(group, "stylegan2")
        words = {word.partition("=")[0]: word for word in ("data=avatars", f"task={task}", f"{group}={name}")}
        size = ["data.resolution=64"]
        if file == "data/styles" or name == "projection":  # these have labels, and StyleGAN2's task takes them too
            words["task"] = "task=sngan"
        if file == "data/synthesized":  # whose folder says its size
            words["task"], size = "task=segmenter", []
        assert compose("train", [*words.values(), *size])


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_unknown_key_is_refused_in_every_experiment(name: str) -> None:
    task = compose("train", [f"experiment={name}"]).task.name
    for word in ("colour=red", "task.colour=red", "data.colour=red", "trainer.colour=red"):
        with pytest.raises(GanvasError, match=rf"`ganvas train` has no option `{word.partition('=')[0]}`"):
            compose("train", [f"experiment={name}", word])
    assert (CONF.parent / "launch" / f"train_{task}.py").exists()


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_runs_and_a_seed_decides_what_comes_out(
    name: str, tiny_generator: Path, folder: Path, synthesized: Path, tmp_path: Path, shared_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    words = moment(name, tiny_generator, folder, synthesized)
    found = []
    for run in ("first", "second"):
        cache = tmp_path / f"cache of {run}"  # inversions and prepared images are not taken from the other run
        cache.mkdir()
        (shared_cache / "avatars").mkdir(parents=True, exist_ok=True)
        (cache / "avatars").symlink_to(shared_cache / "avatars")
        monkeypatch.setenv("GANVAS_CACHE", str(cache))
        assert cli.main(["train", *words, f"out={tmp_path / run}"]) == cli.OK
        figures = read_figures(tmp_path / run).figures
        found.append({key: figure.value for key, figure in figures.items() if "seconds" not in key})
    assert found[0].keys() == found[1].keys()
    assert found[0]
    assert all(a == b or (math.isnan(a) and math.isnan(b)) for a, b in zip(*map(dict.values, found), strict=True))


def of_texts(cfg: DictConfig, folder: Path) -> Sequence[str]:
    """The words of a moment of edits by text that depend on the experiment."""
    if cfg.task.name == "directions":
        return [f"task.clip={tiny_clip(folder)}"]
    return [*(["task.training.pretrained=2"] if cfg.task.conditioned else []), *tiny_judges(folder)]


def of_debian(kind: str, folder: Path) -> list[str]:
    """The packages that some data come from."""
    if kind == "rooms":
        return [f"data.furniture={write_furniture(folder.parent / 'furniture')}"]
    if kind == "fashion_mnist":
        return [f"data.fashion_mnist={write_fashion_mnist(folder.parent / 'fashion')}"]
    return []


def moment(name: str, generator: Path, folder: Path, samples: Path) -> Sequence[str]:
    """The words of a run that lasts seconds."""
    cfg = compose("train", [f"experiment={name}"])
    words = [f"experiment={name}", "trainer=cpu", "trainer.threads=1", "wandb=disabled", *MOMENT[cfg.task.name]]
    if cfg.task.name in ("mapper", "directions"):
        return [*words, f"generator={generator}", *of_texts(cfg, generator.parent)]
    if cfg.data.kind == "folder":
        words.append(f"images={folder / 'images'}")
    if cfg.task.name in ("segmentation", "encoder"):
        words.append(f"generator={generator}")
        words += [f"data.resolution={SIZE}"] if cfg.data.kind in RENDERED else []
    words += of_debian(cfg.data.kind, folder)
    if cfg.task.name == "encoder" and cfg.data.kind in RENDERED:
        words.append("data.count=4")
    if cfg.task.name == "segmentation":
        words += [f"masks={folder / 'masks'}", "task.folds=2"] if cfg.data.kind == "folder" else []
        words += ["task.curve=[1,2]"] if cfg.task.curve else []
        words += ["task.head.width=8"] if cfg.task.head.kind == "default" else []
    if cfg.task.name == "attributes" and cfg.data.kind == "folder":
        table = folder.parent / "table.csv"
        table.write_text("image,side\na.png,left\nb.png,right\nc.png,left\nd.png,right\n")
        words.append(f"task.table={table}")
    elif cfg.task.name == "attributes":
        words += ["data.count=8", "n=24"]
    if cfg.task.name in ("stylegan2", "blobgan"):
        kind = {"Discriminator": "official", "LeanDiscriminator": "lean", "ProjectedDiscriminator": "projected"}
        sort = kind[cfg.task.discriminator._target_.rpartition(".")[2]]
        words += [f"task.discriminator.{word}" for word in DISCRIMINATOR[sort]]
        words += ["task.encoder.channels=[4,4]"] if cfg.task.get("encoder") is not None else []
        words += ["data.count=8"] if cfg.data.kind in RENDERED else []
        # Whose weights come from no package.
        words += ["task.metrics_features=stlpips-alex"] if cfg.task.metrics_features == "inception" else []
    if cfg.task.name == "segmenter":
        own = "widths=[8,8]" if "widths" in cfg.task.network else "encoder=mobilenet_v2"
        words += [f"task.network.{own}", f"data.folder={samples}" if "folder" in cfg.data else "data.count=16"]
    return words
