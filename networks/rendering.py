"""Rendering many latents without holding more than a batch of activations."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from networks.checkpoints.errors import GanvasError
from networks.latent import Latent
from networks.protocol import Generator


def render_batches(generator: Generator, latent: Latent, batch: int = 64) -> Iterator[Tensor]:
    """The images of ``latent`` in order, ``batch`` at a time: float ``[n, C, R, R]`` on the CPU, in about [-1, 1]."""
    for part in latent.split(batch):
        with torch.no_grad():
            images = generator.render(part).float().cpu()
        yield images


def require_finite_images(images: Tensor) -> Tensor:
    """The images ``[N, ...]``, before any is written: NaN would be black.

    Raises:
        GanvasError: if a pixel is NaN or infinite.
    """
    spoilt = (~torch.isfinite(images).flatten(1).all(1)).nonzero().flatten().tolist()
    if spoilt:
        raise GanvasError(f"the generator draws NaN or infinite pixels for code {spoilt[0]} of {len(images)}: its "
                          "numbers, or the generator's, are too large; draw or edit it again, by less.")  # fmt: skip
    return images
