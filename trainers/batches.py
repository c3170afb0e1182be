"""What a trainer of images is given: one step's images, and their labels where there are any."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Batch(Protocol):
    """A batch as ``datamodules.images.ImageBatch`` is one."""

    images: Tensor          # float [B, C, R, R] in [-1, 1]
    labels: Tensor | None   # float [B, c_dim]
