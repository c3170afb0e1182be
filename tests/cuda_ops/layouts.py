"""Layouts and maps for the tests of the blob ops."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.ops_blob import straight_splat


class Blobs(NamedTuple):
    """Arguments of ``blob_splat``; angles in radians, so that their vectors stay units under differentiation."""

    centre: Tensor
    size: Tensor
    log_aspect: Tensor
    turn: Tensor
    opacity: Tensor

    @property
    def angle(self) -> Tensor:
        return torch.stack([self.turn.cos(), self.turn.sin()], -1)

    @property
    def arguments(self) -> dict[str, Tensor]:
        """As ``blob_splat`` takes them."""
        return {"centre": self.centre, "size": self.size, "log_aspect": self.log_aspect, "angle": self.angle,
                "opacity": self.opacity}  # fmt: skip


def some_blobs(n: int, k: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Blobs:
    g = torch.Generator().manual_seed(seed)
    centre, shape, turn, strength = (torch.rand(*s, generator=g, dtype=torch.float64) for s in
                                     ((n, k, 2), (n, k, 2), (n, k), (n, k)))  # fmt: skip
    blobs = (centre, 6 * shape[..., 0] - 2, 2 * shape[..., 1] - 1, 2 * torch.pi * turn, 0.5 + 0.5 * strength)
    return Blobs(*(t.to(dtype) for t in blobs))


def packed(b: Blobs) -> Tensor:
    """As the registered ops take them."""
    return torch.cat([t if t.ndim == 3 else t[..., None] for t in b.arguments.values()], 2)


def splat(b: Blobs, resolution: int, smallest: int, order: Tensor | None = None, offset: float = 0.0) -> list[Tensor]:
    """What ``blob_splat`` is held to."""
    return straight_splat(**b.arguments, resolution=resolution, smallest=smallest, order=order, offset=offset)


def some_maps(n: int, k: int, channels: int, height: int, width: int) -> list[Tensor]:
    """x, weights that sum to one, styles round one: as in a network."""
    g = torch.Generator().manual_seed(0)
    x, weights, styles = (torch.randn(*shape, generator=g, dtype=torch.float64) for shape in
                          ((n, channels, height, width), (n, k, height, width), (n, k, channels)))  # fmt: skip
    return [x, (2 * weights).softmax(1), 1 + 0.5 * styles]
