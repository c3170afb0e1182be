"""What is remembered of the images that mappers edit: rendered and looked at once, not at every step."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from networks.clip import ClipMix
from networks.latent import Latent
from networks.preservation import Kept, Preserved, Seen
from networks.protocol import Generator

IMAGE, CLIP = "image", "clip."


@torch.no_grad()
def remembered(
    generator: Generator, latent: Latent, mix: ClipMix, preserved: Preserved, up_to: int | None = None, batch: int = 32
) -> Iterator[dict[str, Tensor]]:  # fmt: skip
    """Of each batch, on the CPU: ``image`` uint8 ``[n, C, r, r]``, ``clip.<model>`` ``[n, D]``, and what terms keep."""
    for part in latent.split(batch):
        seen = preserved.render(generator, part.to(generator.device), up_to)
        pixels = ((seen.images.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
        found = {IMAGE: pixels, **preserved.remember(seen)}
        found |= {f"{CLIP}{i}": x for i, x in enumerate(features(mix, seen))}
        yield {name: x.cpu() for name, x in found.items()}


def features(mix: ClipMix, seen: Seen) -> list[Tensor]:
    """What each model of a mix sees in images of any number of channels, ``[N, D]``."""
    return mix.encode_images(seen.images.float().expand(-1, 3, -1, -1))


def clip_features(kept: Kept) -> list[Tensor]:
    """The CLIP features among what was remembered, model by model."""
    return [kept[f"{CLIP}{i}"] for i in range(sum(name.startswith(CLIP) for name in kept))]
