"""Options of ``task=mapper``: texts, the CLIPs that judge, what is preserved, the codes to learn on, and the mapper."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from launch.options import option
from launch.schema_edit import PreserveConfig
from launch.schema_inversion import InversionConfig
from launch.schemas import TaskConfig


@dataclass
class MapperNetworkConfig:
    """Arguments of ``networks.mapper.mapper_for`` and of its ``Recipe``."""

    kind: str = option(
        "levels", "levels: a network each for coarse, medium and fine rows of W+; single: one for all rows, or for W; "
        "styles: one for each layer of S"
    )  # fmt: skip
    levels: list[str] = option(lambda: ["coarse", "medium", "fine"], "those that are moved; without fine, colours stay")
    torgb: bool = option(False, "of kind=styles: also the styles of ToRGB layers")
    measured: bool = option(True, "steps in units of the generator's codes; false: in units of one, as the original's")
    norm: str = option("features", "axis of the normalisation: features, or layers, as in the original")
    depth: int = option(4, "layers of each network")
    hidden: int = option(0, "width between the layers; 0 for that of the codes", memory=True)
    lr_mult: float = option(0.0, "learning-rate multiplier of equalised layers; 0 for plain ones, 0.01 in the original")
    head: str = option("linear", "last layer: linear, zero at first; or lrelu, as in the original")
    step_scale: float = option(1.0, "what a network's output is multiplied by; 0.1 in the original")


@dataclass
class MapperTrainingConfig:
    """Arguments of ``trainers.mapper.MapperTrainer``."""

    _target_: str = option("trainers.mapper.MapperTrainer", "class", runtime=("bank", "judges", "seed"))
    total_images: int = option(16_000, "length of the run, in source images seen; each is edited once for each text")
    optimizer: str = option("adamw", "adamw, or ranger, the original's")
    lr: float = option(1e-3, "peak rate", diverged="lower")
    weight_decay: float = option(0.0, "AdamW's weight decay")
    schedule: str = option("cosine", "of the rate: cosine, after a warm-up; or constant, as in the original")
    ema_halflife: float = option(1000.0, "images over which the average of the weights forgets half; 0 for none")
    clip_gradient: float = option(1.0, "largest norm of a mapper's gradient; 0 for no bound")
    clip: float = option(0.0, "weight of the distance between image and text")
    directional: float = option(1.0, "weight of the distance between the image's change and the text's")
    contrast: float = option(
        0.0, "weight of the text against the statements of `clip.statements` that contradict it"
    )  # fmt: skip
    unsaid: float = option(0.0, "weight of the statements that the text says nothing of, and that become less true")
    length: float = option(0.05, "weight of the mean squared step, in units of the codes")
    jitter: float = option(
        0.0, "CLIPs see images before and after through the same random view, shifted, turned and scaled by so much, "
        "mirrored and degraded, so that no pattern of theirs alone will do; 0: as they are"
    )  # fmt: skip
    up_to: int = option(256, "pixels a side that are rendered at most: finer layers are left out", memory=True)
    together: int = option(64, "edited images that are held at once", memory=True)
    pretrained: int = option(0, "with task.conditioned: images that are first seen in pairs, without texts")


@dataclass
class MapperClipConfig:
    """Who says whether an image fits a text."""

    models: list[str] = option(
        lambda: ["avatar"], "each avatar, a bundle's path, open_clip:MODEL:FILE or transformers:FOLDER"
    )
    weights: list[float] = option(list, "of the models; [] for equal ones")
    legacy: bool = option(False, "images without mean and deviation, as the original gave them; for its mappers")
    neutral: str = option(
        "a person", "text of what images show anyway, from which the change is measured; "
        "several, separated by |, count by their mean"
    )  # fmt: skip
    statements: list[list[str]] = option(
        list, "what can be said of images, in groups of which one fits each, behind the group's name: [[hair,a bald "
        "person,a person with short hair|a short-haired person]]; which a text speaks of is found in the source images"
    )  # fmt: skip
    text_about: list[list[str]] = option(
        list, "of texts that speak of other groups than is found, the text and the groups, that of what contradicts it "
        "first: [[a bald person,hair,hair colour]]"
    )  # fmt: skip
    scale: float = option(20.0, "what cosines are multiplied by where statements are compared; 100 for OpenAI's CLIP")
    as_changes: bool = option(
        False, "directions of texts as images change rather than as they differ: times the root of the covariance of "
        "the codes' image features"
    )  # fmt: skip
    templates: bool = option(True, "average each text over sentences around it; false: as it is, as in the original")


@dataclass
class MapperPreserveConfig(PreserveConfig):
    """What edits by several texts are to leave alone."""

    regions: list[list[str]] = option(
        list, "of texts whose region is another than `region`, the text and its classes: [[a bald person,hair,hat]]"
    )  # fmt: skip
    text_outside: list[list[Any]] = option(
        list, "of texts whose weight is another than `outside`, the text and its weight: [[a sad person,3]]"
    )  # fmt: skip


@dataclass
class MapperSourcesConfig:
    """The codes to learn on: sampled, unless latents= or images= gives some."""

    count: int = option(2000, "codes that are sampled to learn on")
    heldout: int = option(200, "codes that figures are measured on, and no mapper learns on; n= overrides it")
    space: str = option("w", "of samples: w, one code for all rows; w+, two that are joined at a random row")
    truncation: float = option(0.7, "of samples: 1 for the whole variety")
    memory: float = option(2.0, "GB of renders and features that are held; more lies in the cache's files", free=True)
    batch: int = option(32, "images rendered at once, once for all", memory=True, free=True)


@dataclass
class MapperChoiceConfig:
    """Which checkpoint's mapper is exported."""

    judge: list[str] = option(
        list, "classifiers of attributes; of each text that names one the best mapper is kept, looked at whenever a "
        "checkpoint is due; []: the last mapper is kept", bundle=True
    )  # fmt: skip
    codes: int = option(200, "samples that it is chosen on, neither learned on nor held out")


@dataclass
class MapperConfig(TaskConfig):
    """Latent mappers that make images follow texts (StyleCLIP); an edit each, for any code of the generator."""

    name: str = option("mapper", "which training function runs", hidden=True)
    text: str | None = option(None, "one text instead of task.texts: what images are to show; `text=` is short for it")
    texts: list[str] = option(list, "texts, a mapper for each; short: `texts=[a smiling person,a bald person]`")
    conditioned: bool = option(False, "one mapper for all texts, which also takes others afterwards")
    unseen: list[str] = option(list, "with task.conditioned: texts that are measured, but not learned")
    network: MapperNetworkConfig = option(MapperNetworkConfig, "the mapper")
    training: MapperTrainingConfig = option(MapperTrainingConfig, "losses and rates")
    clip: MapperClipConfig = option(MapperClipConfig, "who judges")
    preserve: MapperPreserveConfig = option(MapperPreserveConfig, "what stays")
    sources: MapperSourcesConfig = option(MapperSourcesConfig, "the codes to learn on")
    choose: MapperChoiceConfig = option(MapperChoiceConfig, "which checkpoint's mapper is exported")
    inversion: InversionConfig = option(InversionConfig, "how images= are brought into the generator's latent space")
    batch_size: int = option(8, "source images in a batch", memory=True)
    log_every: int = option(400, "images between lines of metrics.jsonl")
    checkpoint_every: int = option(4000, "images between checkpoints and contact sheets")


SCHEMAS = {"task/mapper": MapperConfig}
