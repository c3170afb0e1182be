"""``task=segmentation``: a branch from a few labelled images, its scores, its bundle and its report."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial

import torch
from omegaconf import DictConfig, OmegaConf

from datamodules.masks import LabelledImages
from editors.invert import encoder_for
from launch.active_labels import choose_labels, chooses, require_draw
from launch.data import licence, training_data
from launch.figures import Figure, Protocol, all_by, values
from launch.hardware import device_of, trainer_arguments
from launch.invert import inversion_settings
from launch.labelled_codes import Codes, inverted_codes, known_codes
from launch.labelled_images import labelled_images, split
from launch.options import arguments, marked
from launch.record import RunRecord
from launch.reports.segmentation import write_report
from launch.resume import clock
from launch.segmentation_evaluation import Evaluation
from launch.segmentation_scores import FOLDS, GENERATED, INVERTED, Scored
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.generators import load_generator
from networks.checkpoints.heads import save_head
from networks.critics import perceptual
from networks.protocol import Generator
from networks.segmentation import Head, head_for
from trainers.segmentation import SegmentationSettings, TrainedHead, k_fold, require_fit, train_head
from trainers.segmentation_data import Labels, require_labels

HEADLINES = {GENERATED: "mIoU_generated", FOLDS: "mIoU_kfold"}  # where they are not the first


@dataclass(frozen=True)
class Branch:
    """Everything a run made, for its report."""

    generator: Generator
    trained: TrainedHead
    labelled: LabelledImages
    codes: Codes                  # of the labelled images
    scores: dict[str, Scored]     # by the names of the evaluations
    curve: dict[int, float]       # mIoU on inverted held-out images by number of labels; empty without task.curve

    @property
    def head(self) -> Head:
        """The trained head."""
        return self.trained.head


def train(cfg: DictConfig, record: RunRecord) -> dict[str, Figure]:
    """Find the codes of the labelled images, train the head, score it, export the bundle, write the report.

    Whatever can be refused is refused first: nobody waits for an inversion to hear of a missing file.

    Returns:
        Headline figures: mIoU on inverted held-out images (or by k-fold for a folder), and on generated images, with
        the mIoU of the teacher that labelled these.

    Raises:
        GanvasError: if the labels, the generator or a bundle cannot be used.
    """
    record.uses = dict.fromkeys(("task.training.tile", "task.training.images_per_step", "task.inversion.batch"), 0)
    generator = _generator(cfg)
    require_draw(cfg)
    labelled, heldout = split(cfg, labelled_images(cfg, generator))
    require_labels(torch.as_tensor(labelled.masks), len(labelled.classes))
    settings = inversion_settings(cfg.task.inversion)
    perceptual(settings.critic)  # whose weights may be missing ...
    encoder_for(generator, settings)  # ... as may the encoder
    require_fit(new_head(cfg, generator, len(labelled.classes)), training_settings(cfg), cfg.trainer.precision)
    evaluation = Evaluation.of(cfg, generator, labelled.classes, settings, heldout)
    _check_curve(cfg, cfg.task.labels if chooses(cfg) else len(labelled), evaluation)
    known = known_codes(cfg.latents, generator, labelled) if cfg.latents else None

    if chooses(cfg):
        record.uses = dict.fromkeys(marked(cfg, "memory"), 0) | {"task.inversion.batch": len(labelled)}
        branch_of = partial(_fit_some, cfg, record, generator)
        labelled = choose_labels(cfg, generator, labelled, settings, lambda labels: branch_of(labels).head)
        known = known_codes(cfg.latents, generator, labelled) if cfg.latents else None
    record.uses = dict.fromkeys(marked(cfg, "memory"), 0) | {"task.inversion.batch": len(labelled)}
    codes = known or inverted_codes(generator, labelled, settings)
    labels = Labels(codes.latent, torch.as_tensor(labelled.masks), labelled.classes.names, labelled.names)
    if labels.absent():
        print(f"no labelled pixel shows {', '.join(labels.absent())}: the branch keeps the class, but cannot know it")
    record.uses = _training_uses(cfg, generator, len(labels)) | {"task.inversion.batch": 0}
    trained = fit(cfg, record, generator, labels)
    folds = fold_scores(cfg, generator, labelled, codes, labels)
    record.uses["task.inversion.batch"] = 0 if evaluation.heldout is None else len(evaluation.heldout)
    scores = evaluation.scores(trained.head) | folds
    curve = label_curve(cfg, record, generator, labels, evaluation, scores)
    branch = Branch(generator, trained, labelled, codes, scores, curve)
    figures = headline(branch)
    if evaluation.teacher is not None:
        figures["mIoU_teacher"] = Figure(evaluation.teacher.miou, evaluation.teacher.protocol)
    save_head(
        record.export / "segmentation.safetensors", branch.head, generator, labelled.classes.to_json(),
        asdict(settings), _described(cfg, branch, values(figures)), include_generator=cfg.export.embed_generator,
    )  # fmt: skip
    if not record.resumed:  # a resumed run would give the seconds of its last part only
        figures["train_seconds"] = Figure(trained.seconds, _of_training(cfg, branch))
    write_report(cfg, record, branch, values(figures))
    return figures


def _generator(cfg: DictConfig) -> Generator:
    if not cfg.generator:
        raise GanvasError("a segmentation branch needs generator=FILE, e.g. generator=zoo/avatars64.safetensors.")
    return load_generator(cfg.generator).to(device_of(cfg.trainer))


def new_head(cfg: DictConfig, generator: Generator, classes: int) -> Head:
    """A fresh head as ``cfg.task.head`` describes it."""
    options = OmegaConf.to_container(cfg.task.head)
    return head_for(generator, options.pop("kind"), classes, seed=cfg.seed, **options)


def training_settings(cfg: DictConfig) -> SegmentationSettings:
    """How ``cfg.task.training`` says that heads are trained.

    Raises:
        GanvasError: if a value makes no sense. Hydra's own ``instantiate`` would hide that sentence in a page.
    """
    return SegmentationSettings(**arguments(cfg.task.training), seed=cfg.seed)


def fit(cfg: DictConfig, record: RunRecord, generator: Generator, labels: Labels) -> TrainedHead:
    """Train the configured head, resuming where the record holds a checkpoint; its loss goes into the record."""
    last = record.checkpoints / "last.ckpt"
    record.rewind(clock(last, "state_dict", "clock"))
    return train_head(
        new_head(cfg, generator, len(labels.class_names)), generator, labels,
        training_settings(cfg), checkpoint=last, save_every=cfg.task.save_every,
        listen=lambda step, values: record.log(values, step), trainer=trainer_arguments(cfg.trainer),
    )  # fmt: skip


def _fit_some(cfg: DictConfig, record: RunRecord, generator: Generator, labels: Labels) -> TrainedHead:
    """Train the configured head on the first labels alone, or take it from its checkpoint."""
    return train_head(
        new_head(cfg, generator, len(labels.class_names)), generator, labels, training_settings(cfg),
        checkpoint=record.checkpoints / f"labels-{len(labels)}.ckpt", save_every=cfg.task.save_every,
        trainer=trainer_arguments(cfg.trainer),
    )  # fmt: skip


def _training_uses(cfg: DictConfig, generator: Generator, labels: int) -> dict[str, int]:
    """How much of its options training can use: see ``RunRecord.uses``."""
    original = cfg.task.training.recipe == "original"  # single pixels, neither tiles nor images, at a rate of its own
    part = -(-generator.img_resolution // cfg.task.training.windows)
    return {
        "task.training.tile": 0 if original else part,
        "task.training.images_per_step": 0 if original else labels,
    } | ({"task.training.learning_rate": 0} if original else {})


def fold_scores(
    cfg: DictConfig, generator: Generator, labelled: LabelledImages, codes: Codes, labels: Labels
) -> dict[str, Scored]:
    """The configured head, scored on labelled images that it did not see; nothing if ``task.folds`` is 0 or 1."""
    if cfg.task.folds < 2:
        return {}
    if len(labels) < 2:
        print("k-fold is left out: one labelled image leaves none to be scored on")
        return {}
    fresh = partial(new_head, cfg, generator, len(labels.class_names))
    settings = training_settings(cfg)
    found = k_fold(fresh, generator, labels, settings, cfg.task.folds, cfg.seed, trainer_arguments(cfg.trainer))
    how = f"{codes.protocol}, segmented by a head that did not see it"
    protocol = Protocol(
        training_data(cfg), f"{cfg.task.folds}-fold", len(labels), generator=generator.hash, how=how,
        text=f"each of the {len(labels)} labelled images, {how}",
    )  # fmt: skip
    return {FOLDS: Scored.of(found, labels.masks, protocol, labelled.names, codes.target, codes.caption)}


def _check_curve(cfg: DictConfig, labels: int, evaluation: Evaluation) -> None:
    if not cfg.task.curve:
        return
    if evaluation.heldout is None:
        raise GanvasError("task.curve needs held-out images: give data.heldout=N for a folder, or leave it out.")
    if not all(1 <= count <= labels for count in cfg.task.curve):
        raise GanvasError(f"task.curve={list(cfg.task.curve)} must lie between 1 and the {labels} labelled images: "
                          "raise task.labels, or leave the others out.")  # fmt: skip


def label_curve(
    cfg: DictConfig, record: RunRecord, generator: Generator, labels: Labels, evaluation: Evaluation,
    scores: dict[str, Scored],
) -> dict[int, float]:  # fmt: skip
    """The same head from fewer labels: mIoU on the same held-out images, by number of labels.

    The draws are nested: each is the beginning of the next. The run itself, with all labels, is the curve's end.
    """
    found: dict[int, float] = {}
    for count in sorted({*cfg.task.curve, len(labels)}) if cfg.task.curve else []:
        if count == len(labels):
            found[count] = scores[INVERTED].figures["miou"]
            continue
        print(f"training on {count} of the {len(labels)} labelled images")
        trained = _fit_some(cfg, record, generator, labels[list(range(count))])
        found[count] = evaluation.inverted(trained.head).figures["miou"]
    return found


def headline(branch: Branch) -> dict[str, Figure]:
    """The figures printed last; both mIoU rules, of each evaluation by its name."""
    figures: dict[str, Figure] = {}
    for name, scored in branch.scores.items():
        found = scored.figures
        if name == INVERTED:
            figures |= all_by(scored.protocol, {
                "mIoU": found["miou"], "n": len(scored.truth), "mIoU_datasetgan_rule": found["miou_datasetgan"],
                "pixel_accuracy": found["pixel_accuracy"], "ece": found["ece"], "aurc": scored.coverage.aurc,
            })  # fmt: skip
        else:
            figures[HEADLINES[name] if figures else "mIoU"] = Figure(found["miou"], scored.protocol)
    if branch.curve:
        curve = {f"mIoU_{count}": value for count, value in branch.curve.items()}
        figures |= all_by(branch.scores[INVERTED].protocol, curve)
    return figures


def _of_training(cfg: DictConfig, branch: Branch) -> Protocol:
    """What the seconds of training are of."""
    # How many steps it takes follows from the draw, and does not make another kind of figure.
    recipe = f"recipe {cfg.task.training.recipe}"
    return Protocol(training_data(cfg), "labels", len(branch.labelled), generator=branch.generator.hash, how=recipe)


def _described(cfg: DictConfig, branch: Branch, figures: dict[str, float]) -> dict:
    """What the bundle says of itself."""
    protocol = {name: str(scored.protocol) for name, scored in branch.scores.items()}
    codes = "known" if branch.codes.known else "inverted"
    learned = {"labels": len(branch.labelled), "codes": codes, "steps": branch.trained.steps, "seed": cfg.seed,
               "classes_without_labels": branch.trained.absent}  # fmt: skip
    return {"metrics": figures, "protocol": protocol, "trained_on": learned, "command": cfg.command,
            "licence": licence(cfg)}  # fmt: skip
