"""What texts ask of edited images, by one CLIP or several.

A text's direction from a neutral one tells images that show it from others. How an image changes that comes to show
it is another direction: what tells is the pattern of the change times the inverse of the features' covariance (Haufe et
al. 2014, On the interpretation of weight vectors of linear models, eq. 6). :meth:`Wish.as_changes` goes half the way
back, by the covariance's root.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from networks.clip import TEMPLATES, ClipMix, clip_distance, directional_distance
from networks.mapper.statements import Contrasts, Statements

LEAST = 0.05   # see directional_distance; edits move features of length 1 by some tenths


@dataclass(frozen=True)
class Wish:
    """Features of K texts and of what each is to differ from, for each model of a mix.

    Args:
        texts: what images are to show.
        targets: of each model ``[K, D]``.
        neutral: of each model ``[K, D]``: what the images show anyway.
        weights: of the models; they sum to 1.
        turns: of each model ``[D, D]``, what directions from the neutral text are multiplied by where images are to
            move along them; empty: they are taken as they are.
        contrasts: what contradicts the texts, and what they say nothing of; None: it is not known.
    """

    texts: tuple[str, ...]
    targets: tuple[Tensor, ...]
    neutral: tuple[Tensor, ...]
    weights: tuple[float, ...]
    turns: tuple[Tensor, ...] = ()
    contrasts: Contrasts | None = None

    @staticmethod
    def of(
        mix: ClipMix, texts: Sequence[str], neutral: str = "a person", templates: Sequence[str] = TEMPLATES
    ) -> Wish:
        """Encode the texts, each as the mean over its templates.

        Args:
            mix: the models.
            texts: what images are to show.
            neutral: what they show anyway.
            templates: sentences around a text.

        Raises:
            GanvasError: if a text is empty, too long, or has no word that a model knows.
        """
        by_text = [mix.encode_prompt(text, templates) for text in texts]
        targets = tuple(torch.stack(each) for each in zip(*by_text, strict=True))
        ends = tuple(x.expand(len(texts), -1) for x in mix.encode_neutral(neutral, templates))
        return Wish(tuple(texts), targets, ends, mix.weights)

    def only(self, k: int) -> Wish:
        """Text k alone."""
        targets, neutral = (tuple(x[k : k + 1] for x in each) for each in (self.targets, self.neutral))
        contrasts = self.contrasts and self.contrasts.only(k)
        return replace(self, texts=self.texts[k : k + 1], targets=targets, neutral=neutral, contrasts=contrasts)

    def as_changes(self, features: Sequence[Tensor]) -> Wish:
        """The same texts, which ask for changes as these images' features vary, of each model ``[N, D]``."""
        return replace(self, turns=tuple(root_covariance(x).to(t) for x, t in zip(features, self.targets, strict=True)))

    def among(
        self, statements: Statements, features: Sequence[Tensor], about: Sequence[Sequence[str]] = ()
    ) -> Wish:  # fmt: skip
        """The same texts among statements that are true or false of these images, of each model ``[N, D]``.

        ``about``: names of the groups that each text speaks of; none: it is found.
        """
        contrasts = Contrasts.of(statements, features, self.targets, self.ways, self.weights, about)
        return replace(self, contrasts=contrasts)

    @property
    def ways(self) -> list[Tensor]:
        """Where each text leads from its neutral one, of each model ``[K, D]``."""
        return [target - neutral for target, neutral in zip(self.targets, self.neutral, strict=True)]

    @property
    def aims(self) -> list[Tensor]:
        """Where images are to move to follow each text, of each model ``[K, D]``, of any length."""
        return [way @ turn for way, turn in zip(self.ways, self.turns, strict=True)] if self.turns else self.ways

    @property
    def directions(self) -> Tensor:
        """The ways of the first model as unit vectors, ``[K, D]``."""
        return F.normalize(self.ways[0], dim=1)

    def asking(self, changes: Tensor) -> Tensor:
        """Unit vectors ``[N, D]``: directions of texts that would ask for these changes of the first model's features.

        The way back from :attr:`directions` to :attr:`aims`.
        """
        ways = torch.linalg.solve(self.turns[0].to(changes), changes, left=False) if self.turns else changes
        return F.normalize(ways, dim=1)

    def distances(self, edited: Sequence[Tensor], source: Sequence[Tensor], which: Tensor) -> dict[str, Tensor]:
        """How far edited images are from what they are to show, weighted over the models.

        Args:
            edited: features of each model ``[N, D]``.
            source: of the same images before the edit.
            which: number of the text that each image is to follow, ``[N]``.

        Returns:
            ``clip``: StyleCLIP's distance ``[N]``; ``directional``: StyleGAN-NADA's ``[N]``; and those of
            :class:`Contrasts` where there are statements.
        """
        clip = sum(weight * clip_distance(x, target.to(x)[which])
                   for weight, x, target in zip(self.weights, edited, self.targets, strict=True))  # fmt: skip
        found = {"clip": clip, "directional": self.turned(edited, source, which)}
        return found | (self.contrasts.distances(edited, source, which) if self.contrasts else {})

    def turned(self, edited: Sequence[Tensor], source: Sequence[Tensor], which: Tensor) -> Tensor:
        """``directional`` of :meth:`distances`: how far images have moved another way than they are to, ``[N]``."""
        found = torch.zeros(len(which), device=which.device)
        for weight, x, x0, aim in zip(self.weights, edited, source, self.aims, strict=True):
            way = aim.to(x)[which]
            found = found + weight * directional_distance(x, x0, way, torch.zeros_like(way), LEAST)
        return found


def root_covariance(features: Tensor) -> Tensor:
    """The symmetric root of the covariance of ``[N, D]``, ``[D, D]``; no direction of it is shorter than a hundredth.

    Example:
        >>> root_covariance(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.0, -2.0]])).square()
        tensor([[0.5000, 0.0000],
                [0.0000, 2.0000]])
    """
    x = features.double() - features.double().mean(0)
    lengths, axes = torch.linalg.eigh(x.T @ x / len(x))
    root = lengths.clamp_min(1e-4 * float(lengths.max())).sqrt()
    return (axes * root @ axes.T).float()
