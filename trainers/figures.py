"""Figures of a step, which may still be on their way from a GPU."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

Figures = dict[str, float]
Unread = dict[str, Tensor | float]  # reading a tensor waits for the GPU


def as_floats(figures: Mapping[str, Tensor | float]) -> Figures:
    """Scalars by name, read all at once: a GPU is waited for once."""
    tensors = {name: value.detach() for name, value in figures.items() if isinstance(value, Tensor)}
    if not tensors:
        return dict(figures)
    return dict(figures) | dict(zip(tensors, torch.stack(list(tensors.values())).tolist(), strict=True))
