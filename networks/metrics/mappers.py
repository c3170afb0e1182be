"""How far mappers, or one mapper's answers to several texts, differ: conditioned mappers tend to give one for all."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def diversity(steps: Tensor) -> float:
    """The mean of ``1 - cos`` between the steps that two texts ask of the same code, over all pairs of texts.

    0: every text asks for the same; 1: they have nothing in common. Texts that ask for opposites give more than 1.

    Args:
        steps: of K texts and N codes, ``[K, N, D]``.

    Raises:
        ValueError: if there are fewer than two texts.

    Example:
        >>> diversity(torch.eye(2)[:, None])
        1.0
    """
    if steps.ndim != 3 or len(steps) < 2:
        raise ValueError(f"diversity is of at least two texts, [K, N, D], got {list(steps.shape)}")
    unit = F.normalize(steps.float(), dim=2)
    first, second = torch.triu_indices(len(steps), len(steps), offset=1)
    return float((1 - (unit[first] * unit[second]).sum(2)).mean())
