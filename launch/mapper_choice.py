"""Which of a training's mappers is kept, the average of weights that an evaluation finds best, and at which strengths.

It looks at codes of its own, neither learned on nor held out, by classifiers of attributes; texts that name none, and
trainings without a judge, keep their last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig

from launch.figures import Figure, Protocol, Source, all_by
from launch.mapper_scores import Recommended
from launch.text_methods import Said
from launch.text_scores import Judges, TextScores, best_strength, followed, recommended_strengths
from networks.checkpoints.atomic import atomic_path
from networks.checkpoints.errors import GanvasError
from networks.latent import Latent
from networks.latent_edit import LatentEdit
from networks.mapper import in_space, space_of
from networks.protocol import Generator
from networks.rendering import render_batches
from trainers.gan_callbacks import EveryImages
from trainers.mapper import MapperTrainer

VALIDATION_SEED = 1_000_004   # of samples that are neither learned on nor held out
STRENGTHS = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0)   # mappers that have learned longer move less at strength 1
FILE = "chosen.pt"            # in checkpoints/

Edits = Callable[[MapperTrainer], Mapping[str, LatentEdit]]
Table = dict[float, dict[str, float]]   # strength -> success, leakage_worst


@dataclass(frozen=True)
class Chosen:
    """The best average of a mapper's weights so far."""

    worth: float                           # mean over its texts of `followed`, at the best strength of each
    images_seen: int
    tables: dict[str, Table]               # by text
    weights: dict[str, torch.Tensor] = field(repr=False)


class Choice(EveryImages):
    """Scores the mappers whenever a checkpoint is due, and keeps of each the best; its file lies beside the checkpoint.

    Args:
        every: images between two looks; the end of the training is looked at, too.
        path: the file.
        generator: that draws.
        codes: validation codes, in the space of the mappers.
        source: of these codes.
        scores: by text, of the texts that name an attribute.
        edits: of all texts, of a trainer's averages.
    """

    def __init__(
        self, every: int, path: Path, generator: Generator, codes: Latent, source: Source,
        scores: Mapping[str, TextScores], edits: Edits,
    ) -> None:  # fmt: skip
        super().__init__(every, self.look)
        self.path, self.generator, self.codes, self.source = path, generator, codes, source
        self.scores, self.edits = scores, edits
        self.seen, self.best = _kept(path)

    def on_train_start(self, _trainer: pl.Trainer, pl_module: MapperTrainer) -> None:
        """What a stopped run had a checkpoint of but had not looked at is looked at now."""
        if pl_module.images_seen < self.seen:   # the file is another run's
            self.seen, self.best = 0, {}
        if pl_module.images_seen > self.seen:
            self.look(pl_module)

    @torch.no_grad()
    def look(self, module: MapperTrainer) -> None:
        """Score every mapper, and keep those that are the best so far; nothing while no text is learned yet."""
        if not module.is_judged:
            return
        edits = self.edits(module)
        for number, mapper in enumerate(module.mappers):
            texts = [list(edits)[number]] if len(module.mappers) > 1 else list(edits)
            tables = {text: self._table(text, edits[text]) for text in texts if text in self.scores}
            if not tables:
                continue
            worth = sum(followed(table[best_strength(table)]) for table in tables.values()) / len(tables)
            if number not in self.best or worth > self.best[number].worth:
                weights = {name: x.detach().cpu().clone() for name, x in mapper.state_dict().items()}
                self.best[number] = Chosen(worth, module.images_seen, tables, weights)
        self.seen = module.images_seen
        with atomic_path(self.path) as temporary:
            torch.save({"seen": self.seen, "best": {k: vars(chosen) for k, chosen in self.best.items()}}, temporary)

    def _table(self, text: str, edit: LatentEdit) -> Table:
        return table_of(self.scores[text], edit, self.generator, self.codes)

    def take(self, module: MapperTrainer) -> None:
        """Give the trainer's mappers the weights that were kept."""
        for number, chosen in self.best.items():
            module.mappers[number].load_state_dict(chosen.weights)

    @property
    def chosen(self) -> dict[str, dict[str, float]]:
        """By text: when its mapper was best, in images seen, and its scores then on the validation codes."""
        return {text: {"images_seen": chosen.images_seen, **_best(table)}
                for chosen in self.best.values() for text, table in chosen.tables.items()}  # fmt: skip

    @property
    def protocol(self) -> Protocol:
        """That of these scores."""
        judge = next(iter(self.scores.values())).judges.attributes.name
        return Protocol(*self.source, len(self.codes), judge, self.generator.hash,
                        "by which the mapper was chosen among its checkpoints")  # fmt: skip

    @property
    def figures(self) -> dict[str, Figure]:
        """The same as a run's figures."""
        return all_by(self.protocol, {f"chosen {name} {text}": value for text, found in self.chosen.items()
                                      for name, value in found.items()})  # fmt: skip

    @property
    def entries(self) -> dict[str, dict[str, Any]]:
        """By text, what a bundle says of the choice: scores also by strength, and their protocol."""
        return {text: entry_of(table, chosen.images_seen, self.protocol)
                for chosen in self.best.values() for text, table in chosen.tables.items()}  # fmt: skip

    @property
    def recommended(self) -> dict[str, Recommended]:
        """By text, the strengths that the judge recommends."""
        return {text: recommended_of(table, self.protocol)
                for chosen in self.best.values() for text, table in chosen.tables.items()}  # fmt: skip


@torch.no_grad()
def table_of(scores: TextScores, edit: LatentEdit, generator: Generator, codes: Latent) -> Table:
    """Success and worst leakage of an edit of these codes, at each of :data:`STRENGTHS`."""
    table = {}
    for strength in STRENGTHS:
        pictures = torch.cat(list(render_batches(generator, edit.apply(codes, strength))))
        found = scores.changes(pictures.clamp(-1, 1))
        table[strength] = {name: found[name] for name in ("success", "leakage_worst")}
    return table


def entry_of(table: Table, images_seen: int, protocol: Protocol) -> dict[str, Any]:
    """What a bundle says of the choice of its mapper."""
    by_strength = {f"{strength:g}": dict(found) for strength, found in table.items()}
    return {"images_seen": images_seen, **_best(table), "by_strength": by_strength, "protocol": str(protocol)}


def recommended_of(table: Table, protocol: Protocol) -> Recommended:
    """The strengths that a table recommends; none where the text is never followed without more than it changing."""
    return Recommended(recommended_strengths(table), f"success and worst leakage, {replace(protocol, how='')}")


def _best(table: Table) -> dict[str, float]:
    best = best_strength(table)
    return {"strength": best, **table[best]}


def _kept(path: Path) -> tuple[int, dict[int, Chosen]]:
    """What was looked at last, in images seen, and what was best.

    Raises:
        GanvasError: if the file is damaged.
    """
    if not path.exists():
        return 0, {}
    try:
        kept = torch.load(path, weights_only=True)
        return int(kept["seen"]), {number: Chosen(**entry) for number, entry in kept["best"].items()}
    except Exception as error:  # a damaged file can raise almost anything
        raise GanvasError(f"{path} is damaged, or of an earlier version: remove it, and the mapper is chosen among the "
                          "checkpoints that are still to come.") from error  # fmt: skip


def choice_of(
    cfg: DictConfig, path: Path, generator: Generator, texts: Sequence[str], edits: Edits
) -> Choice | None:  # fmt: skip
    """The choice that ``task.choose`` describes; None where no judge is given, or no text names what it tells.

    Raises:
        GanvasError: if a judge's bundle cannot be used, or what was chosen before cannot be read.
    """
    options = cfg.task.choose
    if not options.judge:
        return None
    judges = Judges.of_attributes(options.judge)
    drawn = generator.sample(options.codes, VALIDATION_SEED, truncation=cfg.task.sources.truncation)
    codes = in_space(generator, drawn.to(generator.device), space_of(generator, cfg.task.network.kind))
    before = torch.cat(list(render_batches(generator, codes))).clamp(-1, 1)
    every = {text: TextScores(judges, Said("mapper", text, cfg.task.clip.neutral), before) for text in texts}
    scores = {text: found for text, found in every.items() if found.named is not None and not found.there.all()}
    source = Source(f"sampled validation codes, truncation {cfg.task.sources.truncation:g}", f"seed {VALIDATION_SEED}")
    return Choice(cfg.task.checkpoint_every, path, generator, codes, source, scores, edits) if scores else None
