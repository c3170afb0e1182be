"""How good a segmentation branch is: scored on inverted held-out images, and on generated ones; never mixed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from networks.latent import Latent
from networks.metrics.segmentation import IGNORE, SegmentationScore
from networks.metrics.uncertainty import RiskCoverage, image_uncertainty, risk_coverage
from networks.protocol import Generator
from networks.segmentation import Head, predict


@dataclass(frozen=True)
class Scored:
    """A branch's predictions on one set of images, and their score."""

    protocol: str             # which images, which truth, how many
    figures: dict             # see SegmentationScore.compute
    images: Tensor            # what the truth belongs to, [N, 3, H, W] in [-1, 1]
    rendered: Tensor          # what the generator made of the latents, [N, 3, H, W]
    truth: Tensor             # uint8 [N, H, W]
    predicted: Tensor         # uint8 [N, H, W]
    uncertainty: Tensor       # Jensen-Shannon divergence in nats, [N, H, W]
    coverage: RiskCoverage    # of pixels

    @property
    def iou(self) -> dict[str, float]:
        """IoU by class name; NaN for a class that occurs neither in truth nor in prediction."""
        return self.figures["iou"]

    @property
    def image_uncertainty(self) -> Tensor:
        """One figure an image, ``[N]``."""
        return image_uncertainty(self.uncertainty)


@torch.no_grad()
def score_branch(
    head: Head,                          # in evaluation mode
    generator: Generator,                # frozen
    latents: Latent,                     # of the images
    truth: Tensor,                       # uint8 [N, H, W], 255 = ignore
    class_names: tuple[str, ...],        # of each id
    protocol: str,                       # said beside every figure
    images: Tensor | None = None,        # [N, 3, H, W]; None: what the generator renders is the image
    batch: int = 8,                      # images rendered at once
) -> Scored:  # fmt: skip
    """Segment what the generator makes of ``latents`` and compare with ``truth``."""
    score = SegmentationScore(class_names)
    rendered, predicted, uncertainty = [], [], []
    for i, part in enumerate(latents.split(batch)):
        image, features = generator.render(part, features=True)
        found = predict(head, features)
        score.update(found.probabilities, truth[i * batch : i * batch + len(part)])
        rendered.append(image.clamp(-1, 1).cpu())
        predicted.append(found.mask.cpu())
        uncertainty.append(found.disagreement.cpu())
    made, masks, unsure = torch.cat(rendered), torch.cat(predicted), torch.cat(uncertainty)
    kept = truth != IGNORE
    coverage = risk_coverage(unsure[kept], (masks != truth)[kept])
    return Scored(protocol, score.compute(), made if images is None else images, made, truth, masks, unsure, coverage)
