"""The options of every verb as dataclasses: what may be configured, of which type, and what it means.

Hydra composes ``conf/<verb>.yaml`` on top of these, so an unknown or mistyped key is refused before any work starts.
No torch here: ``ganvas <verb> --help`` reads the same classes and must be quick.

The options of one subject live in a module of their own, ``launch/schemas_<subject>.py``, found by its name: it holds
dataclasses whose fields come from :func:`option`, and ``SCHEMAS: dict[str, type]`` from ``group/name`` to the class.
Hydra knows each as ``group/name_schema``, and ``conf/<group>/<name>.yaml`` starts with ``defaults: [name_schema]``.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from launch.options import MANDATORY, default_of, option
from launch.schema_bases import (
    DataConfig,
    ExportConfig,
    LoggedConfig,
    TaskConfig,
    TrainerConfig,
    VerbConfig,
    WandbConfig,
    logger_option,
)
from launch.schema_edit import EditConfig
from launch.schema_evaluate import EvaluateConfig
from launch.schema_inversion import InversionConfig


@dataclass
class TrainConfig(LoggedConfig):
    """Train what an experiment describes; the same command with the same out= resumes it."""

    experiment: str | None = option(None, "a complete run from conf/experiment (`ganvas configs` lists them)")
    logger: list[str] = logger_option("wandb")
    seed: int = option(0, "seed of everything random")
    out: str | None = option(None, "run directory; default runs/<experiment>/<time>", free=True)
    generator: str | None = option(None, "generator bundle, e.g. zoo/avatars64.safetensors", bundle=True)
    images: str | None = option(None, "folder of images; for a generator or an encoder also nested ones, or a zip")
    masks: str | None = option(None, "folder of PNG index masks named like the images")
    classes: str | None = option(
        None, "file of the masks' classes: .txt, one a line, `name` or `name #rrggbb`; or .json, a list of names or "
        '{"names": [...], "palette": [[r, g, b], ...]}'
    )  # fmt: skip
    latents: str | None = option(
        None, "the images' codes as `ganvas sample` or `ganvas invert` wrote them, instead of inverting; "
        "images without a mask are then left out. Of a mapper: codes to learn on, also .pt or .npz of other programs"
    )  # fmt: skip
    n: int | None = option(None, "how many held-out avatars are evaluated; null for the experiment's number")
    task: TaskConfig = option(TaskConfig, "what is trained")
    data: DataConfig = option(DataConfig, "where images come from")
    trainer: TrainerConfig = option(TrainerConfig, "devices and precision", free=True)
    export: ExportConfig = option(ExportConfig, "what goes into the bundle")


@dataclass
class SampleConfig(VerbConfig):
    """Draw images from a generator: PNGs, a grid and the latents."""

    generator: str = option(MANDATORY, "generator bundle")
    out: str = option(MANDATORY, "folder to write to")
    n: int = option(16, "how many images")
    seed: int = option(0, "image i depends only on (seed, i)")
    truncation: float = option(1.0, "1 for the whole variety, towards 0 for the average image")
    batch: int = option(16, "images rendered at once", memory=True)
    device: str = option("cpu", "cpu or cuda")


@dataclass
class ConvertConfig(VerbConfig):
    """Turn a checkpoint of another code base into a bundle, or a bundle into rosinality's, EditGAN's or ONNX."""

    source: str = option(
        MANDATORY, "a .pkl of stylegan2-ada-pytorch or stylegan3, a .pt of rosinality's stylegan2-pytorch, pSp, e4e or "
        "StyleCLIP's mapper, a .ckpt of BlobGAN, an .npz of neural-collage, EditGAN's encoder or classifier .pth; any "
        "generator or discriminator, or a mapper of StyleCLIP's kind, for out=*.pt; a segmentation bundle, for "
        "out=*.pth; or a segmenter's bundle, for out=*.onnx"
    )  # fmt: skip
    out: str = option(
        MANDATORY, "file to write: .safetensors for a bundle, .pt for rosinality's format, .pth for EditGAN's, .onnx"
    )  # fmt: skip
    network: str | None = option(
        None, "which network of the source: G_ema, G, D, E, an encoder, S, a segmentation branch, or M, a mapper; null "
        "for the mapper that there is, for E or S with generator=, else G_ema or the one that a bundle holds"
    )  # fmt: skip
    generator: str | None = option(
        None, "of an encoder, a branch, a mapper or a discriminator: the generator that it belongs to"
    )
    classes: str | None = option(None, "of a branch: the file of its classes, as in `ganvas train`; null numbers them")
    resolution: int | None = option(None, "of an .onnx: pixels a side; null for what it was trained on")
    check: bool = option(False, "also render fixed codes and print a fingerprint")


@dataclass
class InvertConfig(LoggedConfig):
    """Find the codes of real images: latents, reconstructions, a contact sheet and figures for each image."""

    images: str | None = option(None, "an image, or a folder of images")
    data: DataConfig = option(
        DataConfig, "data=avatars, styles, rooms or scenes inverts held-out ones instead of images="
    )
    n: int | None = option(None, "how many held-out images; null for 100")
    seed: int = option(0, "which held-out images")
    generator: str = option(MANDATORY, "generator bundle", bundle=True)
    out: str = option(MANDATORY, "folder to write to")
    device: str = option("cpu", "cpu or cuda")
    inversion: InversionConfig = option(InversionConfig, "how")


@dataclass
class LabelConfig(VerbConfig):
    """Choose images to label and write a folder for annotation tools; or import= what was labelled for training."""

    out: str = option(MANDATORY, "folder to write to")
    n: int = option(16, "how many images to label")
    generator: str | None = option(None, "generator bundle whose samples are labelled", bundle=True)
    segmentation: str | None = option(
        None, "a branch of an earlier round: images where its members disagree come first, and its masks are proposals",
        bundle=True,
    )  # fmt: skip
    images: str | None = option(
        None, "folder of real images to choose from, which are inverted; with import=, where the labelled images are"
    )
    earlier: list[str] = option(list, "folders of earlier rounds: nothing like their images is chosen again")
    candidates: int = option(1000, "samples that are chosen from")
    seed: int = option(0, "of the samples")
    truncation: float = option(1.0, "of the samples: 1 for the whole variety")
    features: str = option(
        "generator", "space in which images are far apart: generator (its maps), or a feature network such as "
        "efficientnet-lite0"
    )  # fmt: skip
    classes: str | None = option(None, "file of the classes, .txt or .json as for `ganvas train`")
    labelled: list[str] = option(list, "what people labelled: this verb's folders, LabelMe's, CVAT's exports, ...")
    kit: str | None = option(None, "with import= of a file elsewhere: the folder that was labelled")
    latents: str | None = option(None, "with import=: the images' codes, if not in the folder that was labelled")
    overlap: str = option("smallest", "who has a pixel of two shapes: smallest, order (the later), ignore, or refuse")
    rest: str | None = option(None, "class of pixels in no shape, or ignore; null: background if there is one")
    empty: bool = option(False, "with import=: images without a shape show nothing but rest=, and are not left out")
    skip: bool = option(False, "with import=: leave out images that have a problem, instead of stopping")
    inversion: InversionConfig = option(InversionConfig, "how images= are inverted")
    batch: int = option(16, "images rendered at once", memory=True)
    device: str = option("cpu", "cpu or cuda")


@dataclass
class SynthesizeConfig(LoggedConfig):
    """Make a labelled data set: samples of a generator with the masks of a branch, as many as asked for.

    The same command with the same out= makes what is missing; a larger n= adds to it.
    """

    segmentation: str = option(MANDATORY, "segmentation bundle", bundle=True)
    generator: str | None = option(
        None, "generator bundle, if it lies neither beside that bundle nor in a zoo", bundle=True
    )
    n: int = option(10000, "how many are drawn; those that are too uncertain are then dropped")
    drop: float = option(0.1, "share of the images that is dropped: those that the members agree on least; 0 for none")
    ignore: float = option(
        0.0, "share of the pixels that becomes `ignore` (255): those that the members agree on least; 0 for none"
    )  # fmt: skip
    layout: str = option("tar", "tar: shards that WebDataset reads; png: images/ and masks/, which every tool reads")
    shard: int = option(500, "images drawn for one shard")
    seed: int = option(0, "image i depends only on (seed, i)")
    truncation: float = option(1.0, "1 for the whole variety, towards 0 for the average image")
    rank: int | None = option(None, "which of `world` processes this is, from 0; null: as torchrun says, else 0")
    world: int | None = option(None, "how many processes write into out=; null: as torchrun says, else 1")
    batch: int = option(16, "images rendered at once", memory=True)
    out: str = option(MANDATORY, "folder to write to")
    device: str = option("cpu", "cpu or cuda; cuda is the GPU that torchrun gives a process")


@dataclass
class LauncherConfig:
    """Where the jobs of a sweep run. Each launcher extends this."""


@dataclass
class SweeperConfig:
    """Which jobs a sweep has. Each sweeper extends this."""


@dataclass
class SweepConfig(VerbConfig):
    """Run a grid of jobs, each a command of its own; the same command with the same out= runs what is missing.

    What is no option of the sweep goes to its jobs, where several values with commas between them are an axis.
    """

    experiment: str | None = option(None, "a paper's grid (`ganvas configs match=paper`), or any experiment")
    size: str = option("quick", "of a paper's grid: quick (seconds), zoo (minutes; what ships) or full (real data)")
    seeds: int | None = option(None, "how many seeds, from 0; null for the experiment's number")
    out: str | None = option(None, "folder of the sweep; default runs/<experiment>/<size>")
    dry_run: bool = option(False, "list the jobs and what they will cost, and run none")
    launcher: LauncherConfig = option(LauncherConfig, "where jobs run")
    sweeper: SweeperConfig = option(SweeperConfig, "which jobs there are")
    paper: Any = option(None, "what the experiment's file says", hidden=True)
    own: list[str] = option(list, "the words that are the sweep's own", hidden=True)
    passed: list[str] = option(list, "the words that go to the jobs", hidden=True)
    job: str | None = option(None, "the one job that a launched process runs", hidden=True)


@dataclass
class ReportConfig(VerbConfig):
    """Put the runs of a folder into one table, beside what a paper published, with plots and pictures."""

    runs: str = option(MANDATORY, "folder of a sweep, or of any runs")
    out: str | None = option(None, "folder to write to; default RUNS/report")
    figures: list[str] = option(list, "which figures, by their names in figures.json; [] for the experiment's own")
    latex: bool = option(False, "also write rows.tex, the table's rows for a tabular")


@dataclass
class DoctorConfig(VerbConfig):
    """Say what is installed, what is missing and how to mend it."""

    wandb: WandbConfig = option(WandbConfig, "Weights & Biases")


@dataclass
class ConfigsConfig(VerbConfig):
    """List the experiments that `ganvas train` knows."""

    match: str = option("", "show only names that contain this text")


VERBS: dict[str, type[VerbConfig]] = {
    "train": TrainConfig,
    "sample": SampleConfig,
    "convert": ConvertConfig,
    "label": LabelConfig,
    "invert": InvertConfig,
    "edit": EditConfig,
    "synthesize": SynthesizeConfig,
    "evaluate": EvaluateConfig,
    "sweep": SweepConfig,
    "report": ReportConfig,
    "configs": ConfigsConfig,
    "doctor": DoctorConfig,
}


# What may be written for a longer key, by verb: a short word -> the key that it sets. There is no option of that name,
# so that a configuration says everything once.
SHORT: dict[str, dict[str, str]] = {
    "train": {"resolution": "data.resolution", "text": "task.text", "texts": "task.texts"},
    "label": {"import": "labelled"},  # which no dataclass can have as a field
}

# Words that people bring from elsewhere and that are no options, by verb: what to write instead.
ELSEWHERE: dict[str, dict[str, str]] = {
    "train": {
        "steps": "the length of a run is `task.training.total_images`, in images seen (of other tasks `task.epochs` or "
        "`task.training.passes`)"
    },
}


def schemas() -> dict[str, type]:
    """Every group schema: ``group/name`` -> dataclass."""
    found: dict[str, type] = {}
    for file in sorted(Path(__file__).parent.glob("schemas_*.py")):
        found |= import_module(f"launch.{file.stem}").SCHEMAS
    return found


@functools.cache  # once a process: it takes as long as composing
def register() -> None:
    """Tell Hydra of all schemas: ``<verb>_schema`` at the root, ``<name>_schema`` in each group."""
    from hydra.core.config_store import ConfigStore  # here, so that the help does not wait for Hydra

    store = ConfigStore.instance()
    for verb, schema in VERBS.items():
        store.store(name=f"{verb}_schema", node=schema)
    for path, schema in schemas().items():
        group, _, name = path.rpartition("/")
        store.store(group=group, name=f"{name}_schema", node=schema)


def group_schemas(verb: str) -> dict[str, dict[str, type]]:
    """The choices of each group that ``verb`` has: ``{"task": {"stylegan2": StyleGan2Config, ...}, ...}``."""
    root = {item.name for item in fields(VERBS[verb]) if is_dataclass(default_of(item))}
    found: dict[str, dict[str, type]] = {}
    for path, schema in schemas().items():
        group, _, name = path.rpartition("/")
        if group.split("/")[0] in root:
            found.setdefault(group.replace("/", "."), {})[name] = schema
    return found
