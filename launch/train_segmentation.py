"""``task=segmentation``: a branch from a few labelled images, its scores, its bundle and its report."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from datamodules.avatars import render_avatars, stratified_labels
from datamodules.folder import read_folder
from datamodules.masks import ClassList, LabelledImages
from editors.invert import Inversion, InversionSettings
from launch.hardware import trainer_arguments
from launch.record import RunRecord
from launch.reports.segmentation import write_report
from launch.segmentation_scores import Scored, invert_images, score_generated, score_inverted
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.generators import load_generator
from networks.checkpoints.heads import save_head
from networks.protocol import Generator
from networks.segmentation import Head, head_for
from trainers.segmentation import Candidate, TrainedHead, k_fold, train_head
from trainers.segmentation_data import Labels

HELDOUT_SEED = 0  # the held-out images are the same for every seed of training
INVERTED, GENERATED = "inverted held-out images", "generated images"  # the two evaluations, never mixed


@dataclass(frozen=True)
class Branch:
    """Everything a run made, for its report."""

    generator: Generator
    head: Head
    trained: TrainedHead
    labelled: LabelledImages
    inversion: Inversion          # of the labelled images
    scores: dict[str, Scored]     # INVERTED and GENERATED; empty for a folder
    folds: dict | None            # k-fold scores on the labelled images, see SegmentationScore.compute


def train(cfg: DictConfig, record: RunRecord) -> dict[str, float]:
    """Invert the labelled images, train the head, score it, export the bundle, write the report.

    Returns:
        Headline figures: mIoU on inverted held-out images (or by k-fold for a folder), and on generated images.

    Raises:
        GanvasError: if the labels, the generator or a bundle cannot be used.
    """
    generator = _generator(cfg)
    labelled = labelled_images(cfg, generator)
    settings: InversionSettings = instantiate(cfg.task.inversion)
    inversion = invert_images(generator, labelled, settings, "labelled")
    labels = Labels(inversion.latent, torch.as_tensor(labelled.masks), labelled.classes.names)
    head, trained = fit(cfg, record, generator, labels)
    folds = fold_scores(cfg, generator, labels)
    scores = score_all(cfg, generator, head, labelled.classes, settings)
    branch = Branch(generator, head, trained, labelled, inversion, scores, folds)
    figures = headline(branch)
    protocol = {name: scored.protocol for name, scored in scores.items()}
    save_head(
        record.export / "segmentation.safetensors", head, generator, labelled.classes.to_json(), asdict(settings),
        extra={"metrics": figures, "protocol": protocol, "command": cfg.command},
        include_generator=cfg.export.embed_generator,
    )  # fmt: skip
    write_report(cfg, record, branch, figures)
    return figures


def _generator(cfg: DictConfig) -> Generator:
    if not cfg.generator:
        raise GanvasError("a segmentation branch needs generator=FILE, e.g. generator=zoo/avatars64.safetensors.")
    return load_generator(cfg.generator)


def labelled_images(cfg: DictConfig, generator: Generator) -> LabelledImages:
    """The examples to learn from: rendered avatars, or the folder that ``images=`` and ``masks=`` name.

    Raises:
        GanvasError: if a folder is missing or unusable, or the avatars are of another size than the generator's.
    """
    if cfg.data.kind == "avatars":
        if cfg.data.resolution != generator.img_resolution:
            raise GanvasError(f"data.resolution={cfg.data.resolution}, but {cfg.generator} makes images of "
                              f"{generator.img_resolution} pixels: set both to the same number.")  # fmt: skip
        return stratified_labels(
            cfg.task.label_seed, cfg.task.labels, resolution=cfg.data.resolution, style=cfg.data.style
        )
    if not (cfg.images and cfg.masks):
        raise GanvasError("data=folder needs images=DIR and masks=DIR, with one mask named like each image.")
    return read_folder(cfg.images, cfg.masks, classes=cfg.classes, resolution=generator.img_resolution)


def fit(cfg: DictConfig, record: RunRecord, generator: Generator, labels: Labels) -> tuple[Head, TrainedHead]:
    """Train the configured head, resuming where the record holds a checkpoint."""
    head = new_head(cfg, generator, len(labels.class_names))
    last = record.checkpoints / "last.ckpt"
    if last.exists():
        record.rewind(int(torch.load(last, weights_only=True)["global_step"]))
    settings = instantiate(cfg.task.training, seed=cfg.seed)
    trained = train_head(
        head, generator, labels, settings, checkpoint=last, listen=lambda step, values: record.log(values, step),
        trainer=trainer_arguments(cfg.trainer),
    )  # fmt: skip
    return trained.head, trained


def new_head(cfg: DictConfig, generator: Generator, classes: int) -> Head:
    """A fresh head as ``cfg.task.head`` describes it."""
    arguments = OmegaConf.to_container(cfg.task.head)
    return head_for(generator, arguments.pop("kind"), classes, seed=cfg.seed, **arguments)


def fold_scores(cfg: DictConfig, generator: Generator, labels: Labels) -> dict | None:
    """The configured head, scored on labelled images that it did not see; None if ``task.folds`` is 0 or 1."""
    if cfg.task.folds < 2 or len(labels) < 2:
        return None
    arguments = OmegaConf.to_container(cfg.task.head)
    arguments.pop("constants")
    candidate = Candidate(arguments.pop("kind"), arguments, instantiate(cfg.task.training, seed=cfg.seed))
    return k_fold({"head": candidate}, generator, labels, cfg.task.folds, cfg.seed)["head"].compute()


def score_all(
    cfg: DictConfig, generator: Generator, head: Head, classes: ClassList, settings: InversionSettings
) -> dict[str, Scored]:
    """The branch on inverted held-out images, and on generated ones labelled by the U-Net; a folder has neither."""
    if cfg.data.kind != "avatars":
        return {}
    heldout = render_avatars(
        cfg.n or cfg.task.heldout, "heldout", HELDOUT_SEED, cfg.data.resolution, masks=True, style=cfg.data.style
    )
    what = f"rendered {cfg.data.style} with exact masks (split heldout, seed {HELDOUT_SEED})"
    scores = {INVERTED: score_inverted(head, generator, heldout, settings, what)}
    if cfg.task.teacher and cfg.task.generated:
        scores[GENERATED] = score_generated(head, generator, classes.names, cfg.task.generated, cfg.task.teacher)
    return scores


def headline(branch: Branch) -> dict[str, float]:
    """The figures printed last; both mIoU rules, of each evaluation by its name."""
    figures: dict[str, float] = {}
    real = branch.scores.get(INVERTED)
    generated = branch.scores.get(GENERATED)
    if real is not None:
        found = real.figures
        figures |= {"mIoU": found["miou"], "n": len(real.truth), "mIoU_datasetgan_rule": found["miou_datasetgan"],
                    "pixel_accuracy": found["pixel_accuracy"], "ece": found["ece"]}  # fmt: skip
    if generated is not None:
        figures["mIoU_generated"] = generated.figures["miou"]
    if branch.folds is not None:
        figures["mIoU_kfold" if figures else "mIoU"] = branch.folds["miou"]
    return figures | {"train_seconds": branch.trained.seconds}
