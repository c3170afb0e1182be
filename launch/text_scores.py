"""An edit by text as judges see it, at any strength: whether it was followed, what else changed, who stayed the same.

The judges are not the networks that edits are fitted to: another CLIP, classifiers of attributes and an embedding of
persons. What they cannot tell in a generated image, an edit cannot be blamed for: leakage counts images of which all
classifiers say the same before the edit. What they say of a change that nobody sees is the floor of both figures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from omegaconf import DictConfig
from torch import Tensor

from launch.edit_judges import JUDGES, AttributeJudge, attribute_judge
from launch.text_attributes import Named, named_by
from launch.text_methods import Said
from networks.attributes import AttributePanel, load_attributes
from networks.checkpoints.attributes import UNKNOWN
from networks.clip import ClipModel, load_clip
from networks.critics import perceptual
from networks.critics.lpips_distance import PerceptualCritic
from networks.critics.sizes import for_critic
from networks.embedding import Embedding
from networks.identity import load_identity
from networks.metrics.edits import leakage, shown
from networks.metrics.texts import directional_similarity, text_similarity

MOST_LEAKED = 0.1   # share of images in which an attribute that is not meant may change
CRITIC = "stlpips-alex"
BATCH = 64


@dataclass(frozen=True)
class Judges:
    """Whoever is asked; None was not."""

    attributes: AttributeJudge
    witnesses: AttributePanel             # who must agree on an image before the edit: the judge's members and others
    clip: ClipModel | None
    identity: Embedding | None
    critic: PerceptualCritic | None
    names: dict[str, str]                 # of each, as protocols have it

    @classmethod
    def of(cls, cfg: DictConfig) -> Judges:
        """Those that a configuration of ``ganvas evaluate`` names.

        Raises:
            GanvasError: if one cannot be read.
        """
        attributes = attribute_judge(cfg.judge, JUDGES)
        second, _ = load_attributes(cfg.classifier)
        others = [second] if second.attributes == attributes.panel.attributes else []
        names = {"attributes": attributes.name}
        clip = None if cfg.clip_judge is None else load_clip(cfg.clip_judge).to(cfg.device)
        if clip is not None:
            names["clip"] = f"judge {clip.identity}"
        identity = None
        if cfg.identity is not None:
            identity, manifest = load_identity(cfg.identity)
            names["identity"] = f"identity {manifest['hash'][:12]}"
        critic = perceptual(CRITIC).to(cfg.device)
        witnesses = AttributePanel([*attributes.panel.members, *others])
        return cls(attributes, witnesses, clip, identity, critic, names | {"perceptual": CRITIC})

    @classmethod
    def of_attributes(cls, paths: Sequence[str]) -> Judges:
        """Classifiers alone.

        Raises:
            GanvasError: if a bundle cannot be used.
        """
        attributes = attribute_judge(paths)
        return cls(attributes, attributes.panel, None, None, None, {"attributes": attributes.name})


class TextScores:
    """Scores of edits of the same images.

    Args:
        judges: see there.
        said: the text and the neutral one.
        before: images ``[N, C, R, R]`` in [-1, 1] before the edit.
        attribute: what the text names, as ``ganvas evaluate attribute=`` has it; None: by the table.
        affects: further attributes that it may change.

    Raises:
        GanvasError: if there is no such attribute.
    """

    def __init__(
        self, judges: Judges, said: Said, before: Tensor, attribute: str | None = None, affects: tuple[str, ...] = ()
    ) -> None:
        self.judges, self.before, self.panel = judges, before, judges.attributes.panel
        self.named: Named | None = named_by(said.text, attribute, affects, self.panel.attributes)
        self.labels, self.sure = self.panel.labels(before), judges.witnesses.agreed(before)
        self.there = self.shows(before)
        self.who = None if judges.identity is None else judges.identity.embed(before)
        self.seen = None if judges.clip is None else features(judges.clip, before)
        if judges.clip is not None:
            self.text = judges.clip.encode_prompt(said.text).cpu()
            self.neutral = judges.clip.encode_neutral(said.neutral).cpu()

    def shows(self, images: Tensor) -> Tensor:
        """Which images have what the text names, bool ``[N]``; none if it names nothing."""
        if self.named is None:
            return torch.zeros(len(images), dtype=torch.bool)
        return shown(self.panel.labels(images), self.panel.attributes, self.named.name, self.named.values)

    def __call__(self, after: Tensor) -> dict[str, float]:
        """Figures of the images after an edit, ``[N, C, R, R]`` in [-1, 1]."""
        found = self.changes(after)
        if self.judges.clip is not None and self.seen is not None:
            now = features(self.judges.clip, after)
            fit = text_similarity(now, self.text)
            found["clip_score"] = float(fit.mean())
            found["clip_gain"] = float((fit - text_similarity(self.seen, self.text)).mean())
            along = directional_similarity(now, self.seen, self.text, self.neutral)
            found["clip_direction"] = float(along.mean())
        if self.judges.identity is not None and self.who is not None:
            found["identity"] = float((self.judges.identity.embed(after) * self.who).sum(1).mean())
        if self.judges.critic is not None:
            found["perceptual"] = float(self._perceptual(self.judges.critic, after).mean())
        found["change"] = float((after - self.before).abs().mean() / 2)
        return found

    def changes(self, after: Tensor) -> dict[str, float]:
        """Success and leakage, of the images that did not show it before; nothing if the text names nothing."""
        if self.named is None:
            return {}
        attributes, edited = self.panel.attributes, ~self.there
        labels = self.panel.labels(after)
        reached = shown(labels, attributes, self.named.name, self.named.values)
        affected = {self.named.name, *self.named.affects}
        leaked = leakage(self.labels[edited], labels[edited], attributes, affected, self.sure[edited])
        return {
            "success": float(reached[edited].double().mean()),
            "leakage": sum(leaked.values()) / max(len(leaked), 1),
            "leakage_worst": max(leaked.values(), default=0.0),
            **{f"leakage {name}": share for name, share in leaked.items()},
        }

    def agreement(self) -> dict[str, float]:
        """By attribute, the share of images in which leakage counts: all classifiers say the same before the edit."""
        shares = (self.sure[~self.there] != UNKNOWN).double().mean(0).tolist()
        return {a.name: share for a, share in zip(self.panel.attributes, shares, strict=True)}

    @torch.no_grad()
    def _perceptual(self, critic: PerceptualCritic, after: Tensor) -> Tensor:
        device = next(critic.buffers()).device
        pairs = zip(self.before.split(BATCH), after.split(BATCH), strict=True)
        return torch.cat([critic(*(for_critic(x.to(device)) for x in pair)).cpu() for pair in pairs])


@torch.no_grad()
def features(clip: ClipModel, images: Tensor) -> Tensor:
    """Of images ``[N, 3, R, R]`` anywhere, on the CPU."""
    return torch.cat([clip.encode_images(part.to(clip.device)).cpu() for part in images.split(BATCH)])


def followed(score: Mapping[str, float]) -> float:
    """Success where no other attribute changes in more than :data:`MOST_LEAKED`, else minus the worst leakage."""
    return score["success"] if score["leakage_worst"] <= MOST_LEAKED else -score["leakage_worst"]


def best_strength(scores: Mapping[float, Mapping[str, float]]) -> float:
    """The strength of most success among those that change no other attribute in more than :data:`MOST_LEAKED`.

    Where none does, the one that keeps most; where no attribute is measured, the one nearest to 1.
    """

    def worth(strength: float) -> tuple[float, float]:
        score = scores[strength]
        return (followed(score), -abs(strength)) if "success" in score else (0.0, -abs(strength - 1))

    return max(scores, key=worth)


def recommended_strengths(scores: Mapping[float, Mapping[str, float]]) -> tuple[float, float] | None:
    """From the weakest strength with half of the success of :func:`best_strength` to that one, both of its sign.

    None where no attribute is measured, or no strength both has success and keeps the rest as :func:`followed` wants.

    Example:
        >>> table = {0.5: (0.3, 0.0), 1.0: (0.5, 0.05), 1.5: (0.8, 0.09), 2.0: (0.9, 0.3)}
        >>> recommended_strengths({s: {"success": a, "leakage_worst": b} for s, (a, b) in table.items()})
        (1.0, 1.5)
    """
    best = best_strength(scores)
    if "success" not in scores[best] or followed(scores[best]) <= 0 or best == 0:
        return None
    half = followed(scores[best]) / 2
    enough = [s for s, score in scores.items() if 0 < s / best <= 1 and followed(score) >= half]
    weakest = min(enough, key=abs)
    return min(weakest, best), max(weakest, best)
