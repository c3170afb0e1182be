"""What mappers are trained by, as a configuration names it: CLIPs, texts, and the terms that hold an edit back."""

from __future__ import annotations

import re

import torch
from omegaconf import DictConfig

from launch.preserve import own_words, preserved_of
from networks.checkpoints.errors import GanvasError
from networks.clip import TEMPLATES, ClipMix, load_clip
from networks.mapper.sources import clip_features
from networks.mapper.statements import Statements
from networks.mapper.wish import Wish
from networks.preservation import Kept
from networks.protocol import Generator
from trainers.mapper import Judges

PLAIN = ("{}",)  # the text as it is


def texts_of(cfg: DictConfig) -> tuple[str, ...]:
    """The texts that mappers are fitted to.

    Raises:
        GanvasError: if there is none, or two would have files of one name.
    """
    texts = tuple(cfg.task.texts) if cfg.task.text is None else (cfg.task.text,)
    if not texts:
        raise GanvasError('a mapper needs a text: give text="a smiling person", or several as texts=[...].')
    names = [file_name(text) for text in texts]
    for name in names:
        if names.count(name) > 1:
            raise GanvasError(f"two of the texts would be files of one name, {name}: say one of them otherwise.")
    return texts


def file_name(text: str) -> str:
    """A text as the stem of a file.

    Example:
        >>> file_name("A person, wearing glasses!")
        'a_person_wearing_glasses'
    """
    return re.sub(r"\W+", "_", text.lower()).strip("_")[:60] or "text"


def judges_of(cfg: DictConfig, generator: Generator, texts: tuple[str, ...]) -> Judges:
    """Everything that is frozen, where the generator is.

    Raises:
        GanvasError: if a model, a text or a bundle cannot be used.
    """
    mix = mix_of(cfg).to(generator.device)
    preserved = preserved_of(cfg.task.preserve, generator, "task.preserve", texts).to(generator.device)
    return Judges(generator, mix, wish_of(cfg, mix, texts), preserved)


def wish_of(cfg: DictConfig, mix: ClipMix, texts: tuple[str, ...]) -> Wish:
    """The texts as ``task.clip`` says that they are read.

    Raises:
        GanvasError: if one says nothing to a model, or is too long.
    """
    return Wish.of(mix, texts, cfg.task.clip.neutral, templates_of(cfg))


def aimed(cfg: DictConfig, mix: ClipMix, wish: Wish, kept: Kept) -> Wish:
    """A wish as ``task.clip.as_changes`` and ``statements`` say, given what was remembered of the codes' images.

    Raises:
        GanvasError: if a statement says nothing to a model, or is too long.
    """
    options, features = cfg.task.clip, [torch.tensor(x) for x in clip_features(kept)]
    if options.statements:
        # As they are: a statement is said in other words rather than in twenty sentences, which take a minute here.
        groups = {name: list(statements) for name, *statements in options.statements}
        about = [own_words(options.text_about, text, ()) for text in wish.texts]
        wish = wish.among(Statements.of(mix, groups, PLAIN, options.scale), features, about)
    return wish.as_changes(features) if options.as_changes else wish


def mix_of(cfg: DictConfig) -> ClipMix:
    """The CLIPs of ``task.clip``.

    Raises:
        GanvasError: if one cannot be had, or there are not as many weights.
    """
    names, weights = list(cfg.task.clip.models), list(cfg.task.clip.weights)
    if not names:
        raise GanvasError("a mapper needs a CLIP: give task.clip.models=[open_clip:MODEL:FILE], [transformers:FOLDER], "
                          "or [avatar] for avatars.")  # fmt: skip
    if weights and (len(weights) != len(names) or min(weights) <= 0):
        raise GanvasError(f"task.clip.weights={weights} must be a number above 0 for each of the {len(names)} models "
                          "in task.clip.models, or be left out.")  # fmt: skip
    return ClipMix([load_clip(name, cfg.task.clip.legacy) for name in names], weights or None)


def templates_of(cfg: DictConfig) -> tuple[str, ...]:
    """The sentences that a text is put into."""
    return TEMPLATES if cfg.task.clip.templates else PLAIN
