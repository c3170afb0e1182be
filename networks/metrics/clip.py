"""How well a CLIP knows images by texts: retrieval, attributes told without training, single texts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def retrieval(images: Tensor, texts: Tensor) -> dict[str, float]:
    """How often an image's own text is the nearest, or among the five nearest; and the reverse.

    Args:
        images: unit vectors ``[N, D]``.
        texts: of their texts in the same order, ``[N, D]``.

    Returns:
        ``text_r1``, ``text_r5``: texts found by images; ``image_r1``, ``image_r5``: images found by texts.
    """
    scores = images.double() @ texts.double().T
    found = {}
    for name, table in (("text", scores), ("image", scores.T)):
        # Rank by what is nearer or as near, so that a model that tells nothing apart is not given the first place.
        rank = (table >= table.diagonal()[:, None]).sum(1)
        found |= {f"{name}_r{k}": float((rank <= k).double().mean()) for k in (1, 5)}
    return found


def zero_shot(images: Tensor, prompts: Sequence[Tensor]) -> Tensor:
    """The value of each attribute whose text is nearest, ``uint8 [N, attributes]``.

    Args:
        images: unit vectors ``[N, D]``.
        prompts: of each attribute, unit vectors of its values ``[values, templates, D]``; templates are averaged.
    """
    told = [(images @ F.normalize(values.mean(1), dim=1).T).argmax(1) for values in prompts]
    return torch.stack(told, 1).to(torch.uint8)


def separation(scores: Tensor, true: Tensor, false: Tensor) -> float:
    """Chance that an image of which a text is true scores higher than one of which it is false; NaN without either.

    Args:
        scores: cosines ``[N]``.
        true: bool ``[N]``.
        false: bool ``[N]``.
    """
    higher, lower = scores[true].double(), scores[false].double()
    if not len(higher) or not len(lower):
        return float("nan")
    difference = higher[:, None] - lower[None]
    return float(((difference > 0).double() + (difference == 0) / 2).mean())
