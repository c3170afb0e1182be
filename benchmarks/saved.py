"""What a forward pass keeps for its backward pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def saved_bytes(work: Callable[[], object], besides: Sequence[Tensor] = ()) -> int:
    """Bytes that ``work`` keeps for its backward pass, each storage once, without those of ``besides``."""
    storages: dict[int, int] = {}

    def keep(t: Tensor) -> Tensor:
        storages[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        result = work()  # alive, so that no storage takes the place of another
    for t in besides:
        storages.pop(t.untyped_storage().data_ptr(), None)
    del result
    return sum(storages.values())
