"""What texts ask of edited images, by one CLIP or several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from networks.clip import TEMPLATES, ClipMix, clip_distance, directional_distance

LEAST = 0.05   # see directional_distance; edits move features of length 1 by some tenths


@dataclass(frozen=True)
class Wish:
    """Features of K texts and of the neutral text, for each model of a mix.

    Args:
        texts: what images are to show.
        targets: of each model ``[K, D]``.
        neutral: of each model ``[D]``: what the images show anyway.
        weights: of the models; they sum to 1.
    """

    texts: tuple[str, ...]
    targets: tuple[Tensor, ...]
    neutral: tuple[Tensor, ...]
    weights: tuple[float, ...]

    @staticmethod
    def of(
        mix: ClipMix, texts: Sequence[str], neutral: str = "a person", templates: Sequence[str] = TEMPLATES
    ) -> Wish:  # fmt: skip
        """Encode the texts, each as the mean over its templates.

        Raises:
            GanvasError: if a text is empty, too long, or has no word that a model knows.
        """
        encoded = [mix.encode_prompt(text, templates) for text in texts]
        targets = tuple(torch.stack(each) for each in zip(*encoded, strict=True))
        return Wish(tuple(texts), targets, tuple(mix.encode_neutral(neutral, templates)), mix.weights)

    def of_text(self, features: Sequence[Tensor]) -> Wish:
        """The same for one other text, given its features, of each model ``[D]``."""
        return replace(self, texts=("",), targets=tuple(x[None] for x in features))

    @property
    def directions(self) -> Tensor:
        """Where each text leads from the neutral one, unit vectors of the first model, ``[K, D]``."""
        return F.normalize(self.targets[0] - self.neutral[0], dim=1)

    def distances(self, edited: Sequence[Tensor], source: Sequence[Tensor], which: Tensor) -> dict[str, Tensor]:
        """How far edited images are from what they are to show, weighted over the models.

        Args:
            edited: features of each model ``[N, D]``.
            source: of the same images before the edit.
            which: number of the text that each image is to follow, ``[N]``.

        Returns:
            ``clip``: StyleCLIP's distance ``[N]``; ``directional``: StyleGAN-NADA's ``[N]``.
        """
        found = {"clip": torch.zeros(()), "directional": torch.zeros(())}
        for weight, x, x0, target, neutral in zip(
            self.weights, edited, source, self.targets, self.neutral, strict=True
        ):  # fmt: skip
            said = target.to(x)[which]
            found["clip"] = found["clip"] + weight * clip_distance(x, said)
            found["directional"] = found["directional"] + weight * directional_distance(
                x, x0, said, neutral.to(x).expand_as(said), LEAST
            )
        return found
