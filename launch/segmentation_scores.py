"""How good a segmentation branch is: scored on inverted held-out images, and on generated ones; never mixed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from datamodules.masks import LabelledImages
from editors.inversion_cache import InversionCache
from editors.invert import Inversion, InversionSettings, invert
from networks.checkpoints.errors import GanvasError
from networks.latent import Latent
from networks.metrics.segmentation import IGNORE, SegmentationScore
from networks.metrics.uncertainty import RiskCoverage, image_uncertainty, risk_coverage
from networks.protocol import Generator
from networks.segmentation import Head, predict
from networks.unet import label_images, load_segmenter

GENERATED_SEED = 10  # generated images are the same for every seed of training


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


def invert_images(
    generator: Generator, images: LabelledImages, settings: InversionSettings, what: str
) -> Inversion:
    """Inversions of ``images``, from the cache where they are known; says what it is doing."""
    print(f"inverting {len(images)} {what} images")
    return invert(
        generator, torch.as_tensor(images.images), settings, cache=InversionCache(), names=images.names, progress=True
    )


def score_inverted(
    head: Head, generator: Generator, images: LabelledImages, settings: InversionSettings, what: str
) -> Scored:
    """The real-image path: invert ``images``, segment their codes, compare with their masks.

    Args:
        what: which images they are, for the protocol.
    """
    found = invert_images(generator, images, settings, "held-out")
    protocol = f"{len(images)} {what}, inverted in {settings.steps} steps at {found.psnr.mean():.1f} dB"
    truth = torch.as_tensor(images.masks)
    return score_branch(head, generator, found.latent, truth, images.classes.names, protocol, images=found.target)


def score_generated(head: Head, generator: Generator, class_names: tuple[str, ...], n: int, teacher: str) -> Scored:
    """The generator's own images: sample, label with a feed-forward network, compare.

    Args:
        n: how many samples.
        teacher: bundle of the network that labels them.

    Raises:
        GanvasError: if the teacher labels other classes.
    """
    network, manifest = load_segmenter(teacher)
    if tuple(manifest["classes"]["names"]) != class_names:
        raise GanvasError(f"{teacher} labels other classes than the branch: set task.teacher=null.")
    latents = generator.sample(n, GENERATED_SEED)
    with torch.no_grad():
        images = torch.cat([generator.render(part) for part in latents.split(16)]).clamp(-1, 1)
    protocol = (f"{n} samples (seed {GENERATED_SEED}, truncation 1) labelled by a U-Net with mIoU "
                f"{manifest['metrics']['miou']:.3f} on held-out rendered images")  # fmt: skip
    truth = label_images(network, images).to(torch.uint8)
    return score_branch(head, generator, latents, truth, class_names, protocol)
