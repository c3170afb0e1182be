"""Which of a training's mappers is kept: of each the average of weights that an evaluation finds best.

It looks at codes of its own, neither learned on nor held out, by classifiers of attributes; texts that name none, and
trainings without a judge, keep their last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig

from launch.figures import Figure, Protocol, all_by
from launch.text_methods import Said
from launch.text_scores import Judges, TextScores, best_strength, followed
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


@dataclass(frozen=True)
class Chosen:
    """The best average of a mapper's weights so far."""

    worth: float                           # mean over its texts of `followed`, at the best strength of each
    figures: dict[str, dict[str, float]]   # by text: images_seen, success, leakage_worst, strength
    weights: dict[str, torch.Tensor] = field(repr=False)


class Choice(EveryImages):
    """Scores the mappers whenever a checkpoint is due, and keeps of each the best; its file lies beside the checkpoint.

    Args:
        every: images between two looks; the end of the training is looked at, too.
        path: the file.
        generator: that draws.
        codes: validation codes, in the space of the mappers.
        scores: by text, of the texts that name an attribute.
        edits: of all texts, of a trainer's averages.
    """

    def __init__(
        self, every: int, path: Path, generator: Generator, codes: Latent, scores: Mapping[str, TextScores],
        edits: Edits,
    ) -> None:  # fmt: skip
        super().__init__(every, self.look)
        self.path, self.generator, self.codes, self.scores, self.edits = path, generator, codes, scores, edits
        self.seen, self.best = _kept(path)

    def on_train_start(self, _trainer: pl.Trainer, pl_module: MapperTrainer) -> None:
        """What a stopped run had a checkpoint of but had not looked at is looked at now."""
        if pl_module.images_seen < self.seen:   # the file is another run's
            self.seen, self.best = 0, {}
        if pl_module.images_seen > self.seen:
            self.look(pl_module)

    @torch.no_grad()
    def look(self, module: MapperTrainer) -> None:
        """Score every mapper, and keep those that are the best so far."""
        edits = self.edits(module)
        for number, mapper in enumerate(module.mappers):
            texts = [list(edits)[number]] if len(module.mappers) > 1 else list(edits)
            figures = {text: self._scored(text, edits[text]) for text in texts if text in self.scores}
            if not figures:
                continue
            worth = sum(map(followed, figures.values())) / len(figures)
            if number not in self.best or worth > self.best[number].worth:
                weights = {name: x.detach().cpu().clone() for name, x in mapper.state_dict().items()}
                about = {text: {"images_seen": module.images_seen, **found} for text, found in figures.items()}
                self.best[number] = Chosen(worth, about, weights)
        self.seen = module.images_seen
        with atomic_path(self.path) as temporary:
            torch.save({"seen": self.seen, "best": {k: vars(chosen) for k, chosen in self.best.items()}}, temporary)

    def _scored(self, text: str, edit: LatentEdit) -> dict[str, float]:
        table = {strength: self._at(text, edit, strength) for strength in STRENGTHS}
        best = best_strength(table)
        return {"strength": best, **{name: table[best][name] for name in ("success", "leakage_worst")}}

    def _at(self, text: str, edit: LatentEdit, strength: float) -> dict[str, float]:
        pictures = torch.cat(list(render_batches(self.generator, edit.apply(self.codes, strength))))
        return self.scores[text].changes(pictures.clamp(-1, 1))

    def take(self, module: MapperTrainer) -> None:
        """Give the trainer's mappers the weights that were kept."""
        for number, chosen in self.best.items():
            module.mappers[number].load_state_dict(chosen.weights)

    @property
    def chosen(self) -> dict[str, dict[str, float]]:
        """By text: when its mapper was best, in images seen, and its scores then on the validation codes."""
        return {text: found for chosen in self.best.values() for text, found in chosen.figures.items()}

    @property
    def figures(self) -> dict[str, Figure]:
        """The same as a run's figures."""
        judge = next(iter(self.scores.values())).judges.attributes.name
        protocol = Protocol("sampled validation codes", f"seed {VALIDATION_SEED}", len(self.codes), judge,
                        self.generator.hash, "by which the mapper was chosen among its checkpoints")  # fmt: skip
        return all_by(protocol, {f"chosen {name} {text}": value for text, found in self.chosen.items()
                                 for name, value in found.items()})  # fmt: skip


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
        raise GanvasError(f"{path} is damaged: remove it, and the mapper is chosen among the checkpoints "
                          "that are still to come.") from error  # fmt: skip


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
    return Choice(cfg.task.checkpoint_every, path, generator, codes, scores, edits) if scores else None
