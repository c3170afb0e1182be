"""What an edit by text did: whether images fit the text, whether they went its way, whether each was moved alike."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from networks.clip import clip_distance, directional_distance


def text_similarity(features: Tensor, text: Tensor) -> Tensor:
    """Cosine of each image ``[N, D]`` with a text ``[D]``: ``[N]``. A CLIP score, without its factor of 100."""
    return 1 - clip_distance(features, text)


def directional_similarity(after: Tensor, before: Tensor, text: Tensor, neutral: Tensor) -> Tensor:
    """Cosine of each image's change with that from the neutral text to the text, ``[N]``; 0 where nothing changed."""
    return 1 - directional_distance(after, before, text, neutral)


def residual_cosine(steps: Mapping[str, Tensor]) -> float:
    """Mean cosine between the steps of two images: 1 if all are moved alike, whatever they show.

    StyleCLIP (Patashnik et al. 2021, arXiv 2103.17249, table 2) has 0.73 to 0.84 for its mappers; one with random
    weights has 0.6 already.

    Args:
        steps: of each tensor ``[N, ...]``, after minus before.

    Raises:
        ValueError: if there are fewer than two images.

    Example:
        >>> round(residual_cosine({"ws": torch.tensor([[[1.0, 0.0]], [[0.0, 2.0]], [[1.0, 1.0]]])}), 4)
        0.4714
    """
    flat = torch.cat([step.flatten(1).double() for step in steps.values()], 1)
    n = len(flat)
    if n < 2:
        raise ValueError(f"steps of at least 2 images are compared, got {n}")
    cosines = F.normalize(flat, dim=1) @ F.normalize(flat, dim=1).T
    return float((cosines.sum() - cosines.trace()) / (n * (n - 1)))


def separation(those: Tensor, others: Tensor) -> float:
    """Chance that one of ``those [N]`` is larger than one of ``others [M]``; equal ones count half.

    Example:
        >>> separation(torch.tensor([2.0, 3.0]), torch.tensor([1.0, 2.0]))
        0.875
    """
    larger = (those[:, None] > others).double() + (those[:, None] == others).double() / 2
    return float(larger.mean())
