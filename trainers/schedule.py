"""How a learning rate goes through a run."""

from __future__ import annotations

import math

WARM_UP = 0.05  # share of the run in which the rate rises


def warm_up_then_cosine(step: int, total: int) -> float:
    """Share of the peak rate at ``step`` of ``total``: linear over the first twentieth, then a cosine to zero.

    Example:
        >>> [round(warm_up_then_cosine(step, 100), 2) for step in (0, 4, 5, 100)]
        [0.2, 1.0, 1.0, 0.0]
    """
    rise = min((step + 1) / (WARM_UP * total), 1.0)
    t = min(max(step / total - WARM_UP, 0) / (1 - WARM_UP), 1.0)
    return rise * 0.5 * (1 + math.cos(math.pi * t))
