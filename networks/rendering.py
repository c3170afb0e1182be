"""Rendering many latents without holding more than a batch of activations."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from networks.latent import Latent
from networks.protocol import Generator


def render_batches(generator: Generator, latent: Latent, batch: int = 64) -> Iterator[Tensor]:
    """The images of ``latent`` in order, ``batch`` at a time: float ``[n, C, R, R]`` on the CPU, in about [-1, 1]."""
    for part in latent.split(batch):
        with torch.no_grad():
            images = generator.render(part).float().cpu()
        yield images
