"""The codes that latent mappers learn on, with what was remembered of their images, and which of them are held out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from networks.checkpoints.errors import GanvasError

IMAGE = "image"  # among what is remembered: the picture itself


class SourceBatch(NamedTuple):
    """What a step of a mapper sees of B codes."""

    images: Tensor             # uint8 [B, C, r, r]
    codes: dict[str, Tensor]   # as a latent's tensors, [B, ...]
    kept: dict[str, Tensor]    # what was remembered beside the images, [B, ...]


@dataclass(frozen=True, eq=False)
class Sources:
    """Codes and what is remembered of their images.

    Raises:
        ValueError: if the parts disagree on how many there are.
    """

    codes: Mapping[str, Tensor]      # as a latent's tensors, [N, ...]
    kept: Mapping[str, np.ndarray]   # name -> [N, ...], in memory or mapped into it; IMAGE is uint8 [N, C, r, r]

    def __post_init__(self) -> None:
        counts = {name: len(x) for name, x in {**self.codes, **self.kept}.items()}
        if len(set(counts.values())) != 1:
            raise ValueError(f"codes and what is kept of their images must be as many, got {counts}")

    def __len__(self) -> int:
        return len(next(iter(self.codes.values())))

    def batch(self, indices: list[int]) -> SourceBatch:
        """The sources of these numbers, in this order."""
        kept = {name: torch.from_numpy(np.ascontiguousarray(x[indices])) for name, x in self.kept.items()}
        return SourceBatch(kept.pop(IMAGE), {name: x[indices] for name, x in self.codes.items()}, kept)


@dataclass(frozen=True)
class Split:
    """Which codes are learned from, and which are held out to be measured on."""

    train: tuple[int, ...]
    heldout: tuple[int, ...]
    rule: str   # how they were told apart

    @staticmethod
    def of(count: int, heldout: int, seed: int) -> Split:
        """A random share; the same for every number of codes and seed.

        Raises:
            GanvasError: if nothing would be left to learn from.
        """
        if count - heldout < 1:
            raise GanvasError(f"there are {count} codes, of which {heldout} are to be held out: give more of them, or "
                              "lower task.sources.heldout.")  # fmt: skip
        order = np.random.default_rng([seed, count]).permutation(count).tolist()
        return Split(tuple(sorted(order[heldout:])), tuple(sorted(order[:heldout])), f"at random, seed {seed}")

    @staticmethod
    def in_turn(count: int, heldout: int, rule: str) -> Split:
        """The first to learn from, the last held out."""
        return Split(tuple(range(count - heldout)), tuple(range(count - heldout, count)), rule)

    def to_json(self) -> dict[str, Any]:
        """As a run's record keeps it."""
        return {"rule": self.rule, "train": list(self.train), "heldout": list(self.heldout)}
