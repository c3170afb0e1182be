"""A measurement that several devices make together, each of some of the images."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Share(NamedTuple):
    """What one of them does; as it is, all."""

    rank: int = 0
    of: int = 1
    everyone: Callable[[Tensor], Tensor] = lambda values: values  # [n, ...] of each to [of * n, ...] of all

    def indices(self, count: int) -> Tensor:
        """Which of ``count`` images are this device's: as many for each, the last again where they do not divide."""
        size = -(-count // self.of)
        return torch.arange(self.rank * size, (self.rank + 1) * size).clamp_max(count - 1)

    def whole(self, values: Tensor, count: int) -> Tensor:
        """What there is of each of ``count`` images, ``[count, ...]``, from what there is of one's :meth:`indices`."""
        return self.everyone(values)[:count]


ALL = Share()
