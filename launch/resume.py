"""Where a run stood when its checkpoint was written."""

from __future__ import annotations

from functools import reduce
from operator import getitem
from pathlib import Path

import torch

from networks.checkpoints.errors import GanvasError


def clock(checkpoint: Path, *keys: str) -> int:
    """The number under nested keys of a checkpoint; 0 where there is no file. Tensors and numbers are read, never code.

    Raises:
        GanvasError: if the file is damaged or holds no such number.
    """
    if not checkpoint.exists():
        return 0
    try:
        return int(reduce(getitem, keys, torch.load(checkpoint, weights_only=True, mmap=True)))
    except Exception as error:  # a damaged file can raise almost anything
        raise GanvasError(
            f"{checkpoint} is damaged or no checkpoint of this task: remove it, and the same command trains from the "
            "start."
        ) from error
