"""One interface to every CLIP (Radford et al. 2021, arXiv 2103.00020): images and texts as vectors of one space."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from networks.checkpoints.errors import GanvasError, GanvasWarning
from networks.clip.identity import ClipIdentity
from networks.clip.losses import clip_distance
from networks.clip.preprocess import Preprocessing
from networks.clip.templates import TEMPLATES, filled

_TEXT_BATCH = 64   # texts at once
_SHOWN = 40        # letters of a text, or of its unknown words, that a sentence repeats


class TextTower(Protocol):
    """What a provider knows of texts."""

    context: int                                              # most tokens that it reads

    def length(self, text: str) -> int: ...                   # tokens of a text, with those that begin and end it
    # Words that mean nothing to it, and how many of the text say something at all.
    def unknown(self, text: str) -> tuple[list[str], int]: ...
    def encode(self, texts: Sequence[str]) -> Tensor: ...     # [K, dim], any norm


class ClipModel(nn.Module):
    """A frozen CLIP: no parameter requires a gradient, and it is always in eval mode.

    Images get gradients through it; texts do not, and are encoded once.
    """

    def __init__(
        self,
        identity: ClipIdentity,            # which it is
        dim: int,                          # length of its vectors
        preprocessing: Preprocessing,      # how images become what its tower takes
        image_tower: nn.Module,            # prepared images [N, 3, size, size] -> [N, dim], any norm
        text_tower: TextTower,             # texts -> [K, dim], any norm
    ) -> None:
        super().__init__()
        self.identity, self.dim, self.preprocessing = identity, dim, preprocessing
        self.image_tower, self.text_tower = image_tower, text_tower
        self._texts: dict[str, Tensor] = {}
        self.requires_grad_(False).eval()

    @property
    def resolution(self) -> int:
        """Pixels a side that its image tower takes."""
        return self.preprocessing.size

    def train(self, mode: bool = True) -> ClipModel:
        """Stays in eval mode, whatever contains it."""
        return super().train(False)

    def encode_images(self, images: Tensor) -> Tensor:
        """``[N, 3, H, W]`` in [-1, 1], of any size, to unit vectors ``[N, dim]``; differentiable.

        Raises:
            ValueError: if they are no such images.
        """
        return F.normalize(self.image_tower(self.preprocessing(images)).float(), dim=1)

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Texts to unit vectors ``[K, dim]`` without gradient, each computed once and kept in memory.

        Raises:
            GanvasError: if a text is empty, longer than the model reads, or has no word that the model knows.
            TypeError: if ``texts`` is one string.
        """
        if isinstance(texts, str):
            raise TypeError("texts must be several strings, got one: give [text]")
        for text in dict.fromkeys(texts):
            if text not in self._texts:
                self._require_meaning(text)
        return self._encoded(texts)

    @torch.inference_mode(False)   # what is kept must do for a later training step, too
    @torch.no_grad()
    def _encoded(self, texts: Sequence[str]) -> Tensor:
        fresh = [text for text in dict.fromkeys(texts) if text not in self._texts]
        for text in fresh:
            self._require_length(text)
        for start in range(0, len(fresh), _TEXT_BATCH):
            part = fresh[start : start + _TEXT_BATCH]
            vectors = F.normalize(self.text_tower.encode(part).float(), dim=1).cpu()
            self._texts.update(zip(part, vectors, strict=True))
        found = [self._texts[text] for text in texts]
        return torch.stack(found).to(self.device) if found else torch.empty(0, self.dim, device=self.device)

    @torch.inference_mode(False)
    def encode_prompt(self, text: str, templates: Sequence[str] = TEMPLATES) -> Tensor:
        """The normalised mean of a text in each of the templates, ``[dim]``.

        Raises:
            GanvasError: as :meth:`encode_texts`, or if a template has no place for the text.
        """
        self._require_meaning(text)
        return F.normalize(self._encoded([filled(template, text) for template in templates]).mean(0), dim=0)

    def encode_neutral(self, neutral: str, templates: Sequence[str] = TEMPLATES) -> Tensor:
        """The text that a direction begins at, ``[dim]``; of several, separated by ``|``, their mean.

        A text that says nothing ("a person") may lie far from all that say something; then every direction from it is
        mostly the same one. What texts of many kinds have in common is their mean.

        Raises:
            GanvasError: as :meth:`encode_prompt`.
        """
        return torch.stack([self.encode_prompt(text, templates) for text in neutral.split("|")]).mean(0)

    def _require_meaning(self, text: str) -> None:
        """Refuse what would give a vector that means nothing; warn of words that add nothing to it."""
        shown = _shown(text)
        if not any(letter.isalnum() for letter in text):
            raise GanvasError(f"the text {shown!r} says nothing: write what the image is to show.")
        self._require_length(text)
        unknown, words = self.text_tower.unknown(text)
        if not words:
            raise GanvasError(f"the text {shown!r} says nothing: write what the image is to show.")
        if len(unknown) == words:
            raise GanvasError(f"{self.identity.model} knows no word of the text {shown!r}: use common English words.")
        if unknown:
            said = _shown(", ".join(dict.fromkeys(unknown)))
            warnings.warn(f"{self.identity.model} does not know {said} in {shown!r}.", GanvasWarning, stacklevel=3)

    def _require_length(self, text: str) -> None:
        if (length := self.text_tower.length(text)) > self.text_tower.context:
            raise GanvasError(f"the text {_shown(text)!r} has {length} tokens, and {self.identity.model} reads "
                              f"{self.text_tower.context}: shorten it.")  # fmt: skip

    @property
    def device(self) -> torch.device:
        """Where its image tower is."""
        tensors = [*self.image_tower.parameters(), *self.image_tower.buffers()]
        return tensors[0].device if tensors else torch.device("cpu")


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


class ClipMix(nn.Module):
    """Several CLIPs that look together, each with a weight.

    Raises:
        ValueError: if there is none, or there are not as many positive weights.
    """

    def __init__(self, models: Sequence[ClipModel], weights: Sequence[float] | None = None) -> None:
        super().__init__()
        weights = [1.0] * len(models) if weights is None else list(weights)
        if not models or len(weights) != len(models) or min(weights) <= 0:
            raise ValueError(f"a mix needs a positive weight for each model, got {len(models)} models, {weights}")
        self.models = nn.ModuleList(models)
        self.weights = tuple(weight / sum(weights) for weight in weights)

    @property
    def identities(self) -> tuple[ClipIdentity, ...]:
        """Which models, in order."""
        return tuple(model.identity for model in self.models)

    def encode_images(self, images: Tensor) -> list[Tensor]:
        """Of each model ``[N, dim]``."""
        return [model.encode_images(images) for model in self.models]

    def encode_prompt(self, text: str, templates: Sequence[str] = TEMPLATES) -> list[Tensor]:
        """Of each model ``[dim]``."""
        return [model.encode_prompt(text, templates) for model in self.models]

    def encode_neutral(self, neutral: str, templates: Sequence[str] = TEMPLATES) -> list[Tensor]:
        """Of each model ``[dim]``."""
        return [model.encode_neutral(neutral, templates) for model in self.models]

    def distance(self, images: Tensor, prompts: Sequence[Tensor]) -> Tensor:
        """The weighted mean of ``clip_distance``, ``[N]``; ``prompts`` is what :meth:`encode_prompt` gave."""
        pairs = zip(self.weights, self.encode_images(images), prompts, strict=True)
        return sum(weight * clip_distance(seen, said) for weight, seen, said in pairs)  # type: ignore[return-value]
