"""Inference: codes to images and masks batch by batch, and tile by tile within, with a bound on memory."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import NamedTuple

import torch
from torch import Tensor

from networks.latent import Latent
from networks.metrics.uncertainty import jensen_shannon
from networks.protocol import Features, Generator
from networks.segmentation.base import Head
from networks.segmentation.geometry import Window
from networks.segmentation.maps import render_maps


class Prediction(NamedTuple):
    """What an ensemble says about a batch of images."""

    logits: Tensor         # [N, K, H, W], the mean over members
    disagreement: Tensor   # [N, H, W], Jensen-Shannon divergence of the members in nats, 0 to ln min(M, K)

    @property
    def mask(self) -> Tensor:
        """Most likely class, uint8 ``[N, H, W]``."""
        return self.logits.argmax(dim=1).to(torch.uint8)

    @property
    def probabilities(self) -> Tensor:
        """Class probabilities ``[N, K, H, W]``."""
        return self.logits.softmax(dim=1)

    def to(self, device: torch.device | str) -> Prediction:
        """The same on another device."""
        return Prediction(self.logits.to(device), self.disagreement.to(device))


class Segmented(NamedTuple):
    """Images and what a head says about them."""

    image: Tensor            # [N, C, H, W] in [-1, 1], as the generator renders it
    prediction: Prediction


@torch.no_grad()
def predict(head: Head, features: Features, tile: int = 256) -> Prediction:
    """Mean logits (as in EditGAN) and Jensen-Shannon disagreement (as in DatasetGAN) of an ensemble.

    Args:
        head: in evaluation mode.
        features: name -> map ``[N, C, r, r]``.
        tile: pixels a side of what is computed at once; smaller needs less memory and gives the same numbers.
    """
    n, size = len(features[head.feature_names[0]]), head.out_resolution
    like = next(head.parameters())
    logits = like.new_empty(n, head.num_classes, size, size)
    disagreement = like.new_empty(n, size, size)
    # One image at a time: what an ensemble makes of more falls out of the processor's cache, and is slower by image.
    for i in range(n):
        image = {name: features[name][i : i + 1] for name in head.feature_names}
        for part in Window.whole(size).tiles(tile):
            members = head.window(image, part)
            part.cut(logits[i : i + 1]).copy_(members.mean(dim=0))
            part.cut(disagreement[i : i + 1]).copy_(jensen_shannon(members.softmax(dim=2)))
    return Prediction(logits, disagreement)


@torch.no_grad()
def predict_mask(head: Head, features: Features, tile: int = 256) -> Tensor:
    """The mask of :func:`predict` alone, uint8 ``[N, H, W]``: without disagreement, no member's logits are needed."""
    n, size = len(features[head.feature_names[0]]), head.out_resolution
    mask = torch.empty(n, size, size, dtype=torch.uint8, device=next(head.parameters()).device)
    for i in range(n):
        image = {name: features[name][i : i + 1] for name in head.feature_names}
        for part in Window.whole(size).tiles(tile):
            part.cut(mask[i : i + 1]).copy_(head.mean_window(image, part).argmax(dim=1))
    return mask


@torch.no_grad()
def segment_latents(head: Head, generator: Generator, latents: Latent, batch: int = 8) -> Iterator[Segmented]:
    """Render codes and segment what they show, ``batch`` at a time, in order.

    All is computed where the generator is, and comes out on the CPU. Head and codes may be anywhere, and stay there.

    Args:
        head: in evaluation mode.
        generator: whose features the head reads.
        latents: codes of that generator.
        batch: images rendered at once.
    """
    device = generator.device
    if next(head.parameters()).device != device:
        head = deepcopy(head).to(device)
    for part in latents.split(batch):
        image, features = render_maps(generator, part.to(device))
        yield Segmented(image.clamp(-1, 1).cpu(), predict(head, features).to("cpu"))
