"""``task=clip``: an encoder of avatars and texts, scored on held-out avatars by retrieval and by attributes.

The scores are those of CLIP itself: which of the held-out descriptions is an image's own, and which value of an
attribute an image shows, told from the names of the values alone ("zero-shot"), beside what guessing would give.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor

from datamodules.avatar_attributes import avatar_attributes, avatar_labels
from datamodules.avatar_claims import CLAIMS, PHRASES, UNSEEN, claims_of
from datamodules.avatar_sentences import plain_text, write_captions
from datamodules.avatars import AvatarSet, render_avatars
from launch.clip_report import report, sheet
from launch.data import licence
from launch.epochs import fit_epochs
from launch.figures import Figure, Protocol, all_by
from launch.options import arguments
from launch.record import RunRecord
from networks.checkpoints.attributes import Attribute
from networks.checkpoints.errors import GanvasError
from networks.clip.avatar import AvatarClip, save_avatar_clip
from networks.clip.minilm import FEATURES, MiniLM
from networks.clip.templates import TEMPLATES, filled
from networks.clip.text_features import text_features
from networks.metrics.attributes import AttributeScore, attribute_scores
from networks.metrics.clip import retrieval, separation, zero_shot
from trainers.clip import Captions, ClipTrainer
from trainers.segmenter import labelled_batches

HELDOUT_SEED = 0   # held-out avatars are the same for every seed of training
SHOWN = ("a smiling person", "a sad person", "a person wearing glasses", "a person with red hair", "a bald person",
         "a person with a beard", "a person wearing a hat", "a surprised person")  # fmt: skip


def train(cfg: DictConfig, record: RunRecord) -> dict[str, Figure]:
    """Train, resume where the record holds a checkpoint, score on held-out avatars, export.

    Returns:
        Retrieval, the mean accuracy over the attributes and each attribute's own.

    Raises:
        GanvasError: if the images are no avatars, there are fewer than a batch, or the loss is not a number.
    """
    _check(cfg)
    tower, size, n = MiniLM(), cfg.data.resolution, cfg.n or cfg.task.heldout
    seen = render_avatars(cfg.data.count, "teacher", cfg.seed, size, style=cfg.data.style)
    captions = caption_table(tower, seen, cfg)
    heldout = render_avatars(n, "heldout", HELDOUT_SEED, size, style=cfg.data.style)
    exam = Exam.of(tower, heldout, cfg.data.style)

    batches = labelled_batches(torch.as_tensor(seen.images), torch.arange(len(seen)), cfg.task.batch_size, cfg.seed)
    module = build(cfg, captions, total_steps=cfg.task.epochs * len(batches))
    scored = labelled_batches(torch.as_tensor(heldout.images), torch.arange(n), cfg.task.batch_size)
    fit_epochs(cfg, record, module, batches, scored, lambda: exam.scores(module)[0])

    figures, scores = exam.scores(module)
    protocol = Protocol(f"rendered {cfg.data.style} at {size}x{size}", f"split heldout, seed {HELDOUT_SEED}", n,
                        how=f"{len(TEMPLATES)} templates")  # fmt: skip
    save_avatar_clip(record.export / "clip.safetensors", module.network, tower.hash, {
        "metrics": {**figures, "by_attribute": {name: score._asdict() for name, score in scores.items()},
                    "protocol": str(protocol)},
        "trained_on": {"data": f"{cfg.data.style} with {captions.own.shape[1]} captions each, split teacher",
                       "images": len(seen), "epochs": cfg.task.epochs, "resolution": size, "seed": cfg.seed},
        "command": cfg.command,
        "licence": licence(cfg),
    })  # fmt: skip
    shown = sheet(heldout.images, module.image_vectors(), SHOWN, exam.vectors(module.network, tower, SHOWN))
    record.image("texts", shown)
    record.write_report(report(cfg, figures, scores, protocol))
    return all_by(protocol, {**figures, **{f"accuracy {name}": score.accuracy for name, score in scores.items()}})


def build(cfg: DictConfig, captions: Captions, total_steps: int) -> ClipTrainer:
    """The network and its trainer, with weights drawn from the seed."""
    torch.manual_seed(cfg.seed)
    # Not by Hydra's `instantiate`, which would hide the sentence of a size that does not fit in a page.
    network = AvatarClip(cfg.data.resolution, text_features=FEATURES, **arguments(cfg.task.network))
    return instantiate(
        cfg.task.training, network=network, captions=captions, total_steps=total_steps, seed=cfg.seed,
        _convert_="object",
    )  # fmt: skip


def caption_table(tower: MiniLM, avatars: AvatarSet, cfg: DictConfig) -> Captions:
    """Captions of avatars by the features of their texts.

    Raises:
        GanvasError: if there are no words for the style, or a package of the tower is missing.
    """
    written = write_captions(cfg.data.style, avatars.attributes, cfg.task.written, cfg.task.borrowed, cfg.seed)
    tables = (torch.as_tensor(table) for table in (written.claims, written.own, written.contrasts, written.false))
    return Captions(text_features(tower, written.texts), *tables)


@dataclass(frozen=True)
class Exam:
    """Held-out avatars' descriptions, the names of all values, and texts of words that were never trained on."""

    attributes: tuple[Attribute, ...]
    labels: Tensor                 # uint8 [N, attributes]
    described: Tensor              # [N, F]: features of each avatar's whole description
    prompts: tuple[Tensor, ...]    # of each attribute [values, templates, F]
    unseen: Tensor                 # [U, F]: of UNSEEN
    true: Tensor                   # bool [U, N]: whether the text is true of the avatar
    false: Tensor                  # bool [U, N]: whether it is false

    @classmethod
    def of(cls, tower: MiniLM, avatars: AvatarSet, style: str) -> Exam:
        """For these avatars."""
        attributes = avatar_attributes(style)
        names = [plain_text(PHRASES[a.name][value][0]) for a in attributes for value in a.values]
        prompts = text_features(tower, [filled(template, name) for name in names for template in TEMPLATES])
        prompts = prompts.unflatten(0, (-1, len(TEMPLATES))).split([len(a.values) for a in attributes])
        column = {(claim.attribute, claim.value): k for k, claim in enumerate(CLAIMS)}
        columns = [column[attribute, value] for attribute, value, _ in UNSEEN]
        true, false = (torch.as_tensor(table[:, columns]).T for table in claims_of(style, avatars.attributes))
        labels = torch.as_tensor(avatar_labels(style, avatars.attributes))
        described, unseen = text_features(tower, avatars.captions), text_features(tower, [u[2] for u in UNSEEN])
        return cls(attributes, labels, described, prompts, unseen, true, false)

    @torch.no_grad()
    def scores(self, module: ClipTrainer) -> tuple[dict[str, float], dict[str, AttributeScore]]:
        """Figures of the last validation, and the score of each attribute."""
        def encode(features: Tensor) -> Tensor:
            return module.network.encode_text_features(features.to(module.network.log_scale.device)).cpu()

        images = module.image_vectors()
        prompts = [encode(part.flatten(0, 1)).unflatten(0, part.shape[:2]) for part in self.prompts]
        scores = attribute_scores(zero_shot(images, prompts), self.labels, self.attributes)
        means = {name: float(np.mean([getattr(score, name) for score in scores.values()]))
                 for name in ("accuracy", "balanced", "majority")}  # fmt: skip
        cosines = encode(self.unseen) @ images.T
        apart = [separation(*rows) for rows in zip(cosines, self.true, self.false, strict=True)]
        known = [value for value in apart if not math.isnan(value)]
        return {**retrieval(images, encode(self.described)), **means,
                "unseen_words": float(np.mean(known)) if known else math.nan}, scores  # fmt: skip

    @torch.no_grad()
    def vectors(self, network: AvatarClip, tower: MiniLM, texts: Sequence[str]) -> Tensor:
        """Unit vectors of texts on the CPU, ``[K, dim]``."""
        return network.encode_text_features(tower.features(texts).to(network.log_scale.device)).cpu()


def _check(cfg: DictConfig) -> None:
    if cfg.data.get("kind") != "avatars":
        raise GanvasError("task=clip learns from avatars, of which captions are known: give data=avatars.")
    if cfg.data.count < cfg.task.batch_size:
        raise GanvasError(f"data.count={cfg.data.count} is less than a batch: lower task.batch_size.")
    if cfg.task.written < 2:
        raise GanvasError(f"task.written={cfg.task.written}: an image needs a caption that says everything and a short "
                          "one, so at least 2.")  # fmt: skip
