"""What texts ask of images, for whatever looks for codes: StyleCLIP's distance to a text, and NADA's along a direction.

Patashnik et al. 2021 (StyleCLIP, arXiv 2103.17249, eq. 1) and Gal et al. 2022 (StyleGAN-NADA, arXiv 2108.00946, eq. 3).
The text alone rewards anything that looks more like its words; the direction from a neutral text rewards the change.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from networks.checkpoints.errors import GanvasError
from networks.clip import ClipIdentity, ClipMix, ClipModel, clip_distance, directional_distance

Seen = tuple[Tensor, ...]   # of each model [N, dim]
LEAST = 0.05                # see directional_distance; edits move features of length 1 by some tenths


class TextGoal:
    """Several texts, encoded once.

    Args:
        clip: one model, or a weighted mix.
        texts: what images are to show.
        neutral: what they show anyway; needed with ``directional``.
        clip_weight: of ``1 - cos(image, text)``.
        directional: weight of ``1 - cos(change of the image, text - neutral)``.

    Raises:
        GanvasError: if there is no text, one cannot be encoded, or both weights are 0.
    """

    def __init__(
        self, clip: ClipModel | ClipMix, texts: Sequence[str], neutral: str = "", clip_weight: float = 1.0,
        directional: float = 0.0,
    ) -> None:  # fmt: skip
        if not texts:
            raise GanvasError("there is no text: say what the images are to show.")
        if min(clip_weight, directional) < 0 or clip_weight + directional == 0:
            raise GanvasError(f"the weights of the text, {clip_weight:g} and {directional:g}, must be at least 0 and "
                              "not both 0.")  # fmt: skip
        self.models: list[ClipModel] = list(clip.models) if isinstance(clip, ClipMix) else [clip]
        self.shares = clip.weights if isinstance(clip, ClipMix) else (1.0,)
        self.texts, self.neutral = tuple(texts), neutral
        self.clip_weight, self.directional = clip_weight, directional
        self.targets = [torch.stack([model.encode_prompt(text) for text in texts]) for model in self.models]
        self.origins = [model.encode_prompt(neutral) for model in self.models] if directional else []

    @property
    def identities(self) -> tuple[ClipIdentity, ...]:
        """Of the models."""
        return tuple(model.identity for model in self.models)

    def see(self, images: Tensor) -> Seen:
        """Features of ``[N, 3, H, W]``, in the order of the models."""
        return tuple(model.encode_images(images) for model in self.models)

    def loss(self, seen: Seen, source: Seen, which: Tensor) -> Tensor:
        """Of each image, ``[N]``.

        Args:
            seen: features of the images as they are.
            source: of the images before; used by the direction alone.
            which: number of each image's text, int64 ``[N]``.
        """
        total = torch.zeros(len(which), device=which.device)
        for i, share in enumerate(self.shares):
            target = self.targets[i][which]
            if self.clip_weight:
                total = total + share * self.clip_weight * clip_distance(seen[i], target)
            if self.directional:
                moved = directional_distance(seen[i], source[i], target, self.origins[i].expand_as(target), LEAST)
                total = total + share * self.directional * moved
        return total
