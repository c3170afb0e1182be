"""``task=mapper``: latent mappers fitted to texts, each exported as an edit, or one that takes texts afterwards."""

from __future__ import annotations

import sys
from functools import partial

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from datamodules.images import GANImages
from launch.figures import Figure
from launch.fitting import fit
from launch.hardware import device_of
from launch.limits import require_at_least, require_finite
from launch.mapper_choice import FILE as CHOSEN
from launch.mapper_choice import Choice, choice_of
from launch.mapper_export import Result, export, headline, report
from launch.mapper_judges import aimed, judges_of, texts_of, wish_of
from launch.mapper_scores import Heldout, edit_of
from launch.mapper_sources import codes_of, record_split, sources_of
from launch.options import arguments
from launch.preserve import regions_of
from launch.record import RunRecord
from launch.resume import clock
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.generators import load_generator
from networks.latent_edit import LatentEdit
from networks.mapper import Mapper, MixtureMapper, Recipe, mapper_for
from networks.mapper.wish import Wish
from networks.protocol import Generator
from trainers.gan_callbacks import EveryImages
from trainers.mapper import Judges, MapperTrainer

SOME = 256   # codes that a result is finished on


def train(cfg: DictConfig, record: RunRecord) -> dict[str, Figure]:
    """Fit mappers, resume where the record holds a checkpoint, score on held-out codes, export.

    Returns:
        Means over the texts at strength 1: similarity with the text, that of the changes, what terms of
        ``task.preserve`` say; each text's own; and how far the texts' steps differ.

    Raises:
        GanvasError: if a text, a setting, a network or the codes cannot be used, or training diverges.
    """
    texts = check_settings(cfg)
    generator = load_generator(cfg.generator).to(device_of(cfg.trainer))
    judges = judges_of(cfg, generator, texts)
    unseen = wish_of(cfg, judges.mix, tuple(cfg.task.unseen)) if cfg.task.unseen else None
    bank = bank_of(cfg, judges)
    codes = codes_of(cfg, generator)
    record.rewind(clock(record.checkpoints / "last.ckpt", "state_dict", "clock"))
    sources = sources_of(cfg, codes, judges)
    if len(sources) < cfg.task.batch_size:
        raise GanvasError(f"{len(sources)} codes are less than a batch: lower task.batch_size.")
    judges = judges._replace(wish=aimed(cfg, judges.mix, judges.wish, sources.kept))
    unseen = unseen and aimed(cfg, judges.mix, unseen, sources.kept)
    module = build(cfg, bank, judges)
    heldout = Heldout(codes.heldout, judges, cfg.task.training.up_to, cfg.task.sources.batch)

    def draw(trained: MapperTrainer) -> None:
        if not trained.is_judged:
            return
        sheet = heldout.sheet(edits_of(cfg, trained, judges))
        record.image(f"heldout-{trained.images_seen:08d}", sheet, trained.images_seen)

    choice = choice_of(cfg, record.checkpoints / CHOSEN, generator, texts, partial(edits_of, cfg, judges=judges))
    fit(cfg, record, module, GANImages(sources, cfg.task.batch_size, cfg.seed),
        [*([choice] if choice else []), EveryImages(cfg.task.checkpoint_every, draw, at_end=False)])  # fmt: skip
    record_split(record.path, codes)  # now that the run has begun, and is not withdrawn whatever happens
    module.to(generator.device)
    if not module.is_judged:
        print("warning: task.training.pretrained is all of the training, so that no text was learned: the mapper moves "
              "nothing for the texts that it is fitted to", file=sys.stderr)  # fmt: skip
    if choice:
        choice.take(module)
    module.finish(sources.batch(list(range(min(len(sources), SOME)))).codes)
    result, chosen = score(cfg, module, judges, heldout, unseen, choice), choice.entries if choice else {}
    picture = record.image("heldout", heldout.sheet(result.edits), module.images_seen)
    export(cfg, record.export, module, judges, codes, result, chosen)
    record.write_report(report(cfg, codes, judges, result, picture.relative_to(record.path), chosen))
    return headline(codes, judges, result) | (choice.figures if choice else {})


def check_settings(cfg: DictConfig) -> tuple[str, ...]:
    """Refuse what could only fail later; the texts.

    Raises:
        GanvasError: naming the key to change.
    """
    texts = texts_of(cfg)
    if not cfg.generator:
        raise GanvasError("a mapper needs generator=FILE, e.g. generator=zoo/avatars64.safetensors.")
    if cfg.trainer.precision == "16-mixed":
        raise GanvasError("trainer.precision=16-mixed is not for a mapper, whose gradients are not scaled: use "
                          "bf16-mixed.")  # fmt: skip
    _check_statements(cfg)
    first, whole = cfg.task.training.pretrained, cfg.task.training.total_images
    if first > whole:
        raise GanvasError(f"task.training.pretrained={first} is part of task.training.total_images={whole}: give less, "
                          "or train longer.")  # fmt: skip
    for key in ("unseen", "training.pretrained"):
        if OmegaConf.select(cfg.task, key) and not cfg.task.conditioned:
            raise GanvasError(f"task.{key} is for a mapper that takes texts: set task.conditioned=true, or leave it "
                              "out.")  # fmt: skip
    require_finite(cfg, "task.sources.truncation")
    require_at_least(cfg, {
        "n": 2, "task.batch_size": 1, "task.log_every": 1, "task.checkpoint_every": 1, "task.sources.heldout": 2,
        "task.sources.count": cfg.task.batch_size, "task.sources.batch": 1, "task.sources.memory": 0,
        "task.training.total_images": cfg.task.batch_size, "task.training.lr": 0, "task.training.up_to": 4,
        "task.training.together": 1, "task.preserve.identity": 0, "task.preserve.perceptual": 0,
        "task.preserve.outside": 0, "task.training.ema_halflife": 0, "task.training.clip_gradient": 0,
        "task.training.contrast": 0, "task.training.unsaid": 0,
        "task.training.jitter": 0, "task.clip.scale": 0,
        "task.choose.codes": 1, "task.training.pretrained": cfg.task.batch_size if cfg.task.conditioned else 0,
    })  # fmt: skip
    return texts


def _check_statements(cfg: DictConfig) -> None:
    """Refuse groups of statements that cannot be used.

    Raises:
        GanvasError: naming the key to change.
    """
    for key in ("contrast", "unsaid"):
        if cfg.task.training[key] and not cfg.task.clip.statements:
            raise GanvasError(f"task.training.{key} compares with what else can be said: give task.clip.statements="
                              "[[GROUP,TEXT,TEXT]], or set it to 0.")  # fmt: skip
    for group in cfg.task.clip.statements:
        if len(group) < 3:
            raise GanvasError(f"task.clip.statements has [{','.join(group)}]: give a group's name and two statements "
                              "or more, of which one fits an image.")  # fmt: skip
    known = {group[0] for group in cfg.task.clip.statements}
    if len(known) < len(cfg.task.clip.statements):
        raise GanvasError("task.clip.statements has two groups of one name: make them one, or name one otherwise.")
    for text, *groups in cfg.task.clip.text_about:
        if not groups or not known.issuperset(groups):
            raise GanvasError(f"task.clip.text_about has {', '.join(groups) or 'nothing'} for {text!r}: give groups of "
                              f"task.clip.statements, {', '.join(sorted(known)) or 'which has none'}.")  # fmt: skip


def bank_of(cfg: DictConfig, judges: Judges) -> list[Mapper | MixtureMapper]:
    """A mapper for each text, or a mixture for all, with weights drawn from the seed.

    Raises:
        GanvasError: if a mapper of these settings, or of this generator, cannot be had.
    """
    each = [fresh(cfg, judges.generator) for _ in judges.wish.texts]
    if not cfg.task.conditioned:
        return each
    directions = judges.wish.directions
    general = fresh(cfg, judges.generator, directions.shape[1])
    return [MixtureMapper(general, each, directions).to(judges.generator.device)]


def build(cfg: DictConfig, bank: list[Mapper | MixtureMapper], judges: Judges) -> MapperTrainer:
    """The trainer of mappers.

    Raises:
        GanvasError: if it cannot train as the settings say.
    """
    target = "trainers.mapper.ConditionedTrainer" if cfg.task.conditioned else cfg.task.training._target_
    settings = {**OmegaConf.to_container(cfg.task.training), "_target_": target}
    # Not through Hydra's `instantiate` with modules inside: they would be copied.
    return instantiate({**settings, "_partial_": True})(bank=bank, judges=judges, seed=cfg.seed)


def fresh(cfg: DictConfig, generator: Generator, condition: int = 0) -> Mapper:
    """A mapper as ``cfg.task.network`` describes it, which is told a vector of so many numbers."""
    options = arguments(cfg.task.network)
    made_by = {name: options.pop(name) for name in ("kind", "levels", "torgb", "measured")}
    try:
        recipe = Recipe(**options, condition=condition)
    except ValueError as error:
        raise GanvasError(f"task.network: {error}.") from error
    return mapper_for(generator, recipe=recipe, seed=cfg.seed, **made_by)


def edits_of(
    cfg: DictConfig, module: MapperTrainer, judges: Judges, other: Wish | None = None
) -> dict[str, LatentEdit]:
    """The edit for each text, or of a conditioned mapper for each of ``other`` texts."""
    wish = other or judges.wish
    regions = regions_of(cfg.task.preserve, wish.texts)
    if not cfg.task.conditioned:
        triples = zip(wish.texts, module.mappers, regions, strict=True)
        return {text: edit_of(mapper, judges, text, region) for text, mapper, region in triples}
    (mapper,) = module.mappers
    return {text: edit_of(mapper, judges, text, region, direction)
            for text, region, direction in zip(wish.texts, regions, wish.directions, strict=True)}  # fmt: skip


@torch.no_grad()
def score(
    cfg: DictConfig, module: MapperTrainer, judges: Judges, heldout: Heldout, unseen: Wish | None,
    choice: Choice | None,
) -> Result:  # fmt: skip
    """Every text's edit on held-out codes, unseen texts of a conditioned mapper last; strengths as ``choice`` says."""
    edits, scores = {}, {}
    for wish in (judges.wish, *([unseen] if unseen else [])):
        made = edits_of(cfg, module, judges, wish)
        for i, (text, edit) in enumerate(made.items()):
            number = i if wish is judges.wish else 0   # a text that was not learned has no region of its own
            scores[text] = heldout.scores(edit, wish.only(i), number)
        edits |= made
    recommended = {text: found.recommended for text, found in scores.items()} | (choice.recommended if choice else {})
    return Result(edits, scores, recommended, heldout.diversity(list(edits.values())) if len(edits) > 1 else None)
