"""A head's predictions on images whose masks are known, and their score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from tqdm import tqdm

from networks.latent import Latent
from networks.metrics.segmentation import SegmentationScore
from networks.protocol import Generator
from networks.segmentation.base import Head
from networks.segmentation.predict import segment_latents


@dataclass(frozen=True)
class Assessment:
    """Predictions and their score. All tensors are on the CPU."""

    score: SegmentationScore                     # of all images together
    rendered: Tensor = field(repr=False)         # [N, C, H, W] in [-1, 1], what the generator makes of the codes
    mask: Tensor = field(repr=False)             # uint8 [N, H, W], class ids
    uncertainty: Tensor = field(repr=False)      # [N, H, W], disagreement of the members in nats

    @staticmethod
    def join(parts: Sequence[Assessment], order: Sequence[int]) -> Assessment:
        """Put together what was assessed in parts.

        Args:
            parts: assessments of some of the images each, of the same classes.
            order: the number of each image in the whole, one part after the other.
        """
        score, back = SegmentationScore(parts[0].score.class_names), torch.as_tensor(order).argsort()
        for part in parts:
            score.merge(part.score)
        tensors = (torch.cat([getattr(p, name) for p in parts])[back] for name in ("rendered", "mask", "uncertainty"))
        return Assessment(score, *tensors)


def assess(
    head: Head,                          # in evaluation mode
    generator: Generator,                # frozen
    latents: Latent,                     # of the images
    truth: Tensor,                       # uint8 [N, H, W], 255 = ignore
    class_names: Sequence[str],          # of each id
    batch: int = 8,                      # images rendered at once
    progress: bool = False,              # show a bar
) -> Assessment:  # fmt: skip
    """Segment what the generator makes of ``latents``, and compare with ``truth``."""
    score = SegmentationScore(class_names)
    rendered, masks, uncertainty = [], [], []
    bar = tqdm(total=len(truth), desc="score", unit="image", leave=False, disable=not progress)
    for (image, found), known in zip(segment_latents(head, generator, latents, batch), truth.split(batch), strict=True):
        score.update(found.probabilities, known)
        rendered.append(image)
        masks.append(found.mask)
        uncertainty.append(found.disagreement)
        bar.update(len(image))
    bar.close()
    return Assessment(score, torch.cat(rendered), torch.cat(masks), torch.cat(uncertainty))
