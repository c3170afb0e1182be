"""How good a segmentation branch is: scored on inverted held-out images, and on generated ones; never mixed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from datamodules.masks import LabelledImages
from editors.inversion_cache import InversionCache
from editors.invert import Inversion, InversionSettings, invert
from launch.figures import Protocol, Source
from networks.checkpoints.classes import IGNORE
from networks.checkpoints.errors import GanvasError
from networks.metrics.segmentation import Reliability
from networks.metrics.uncertainty import RiskCoverage, image_uncertainty, risk_coverage
from networks.protocol import Generator
from networks.rendering import render_batches
from networks.segmentation import Assessment, Head, assess
from networks.segmenters import Segmenter, label_images, load_segmenter

INVERTED, GENERATED = "inverted held-out images", "generated images"  # the evaluations on images not labelled ...
FOLDS = "k-fold on the labels"                                        # ... and the one that a folder has too
GENERATED_SEED = 10  # generated images are the same for every seed of training


@dataclass(frozen=True)
class Scored:
    """A branch's predictions on one set of images, and their score."""

    protocol: Protocol        # which images, which truth, how many
    figures: dict             # see SegmentationScore.compute
    images: Tensor            # what the truth belongs to, [N, 3, H, W] in [-1, 1]
    rendered: Tensor          # what the generator made of the latents, [N, 3, H, W]
    truth: Tensor             # uint8 [N, H, W]
    predicted: Tensor         # uint8 [N, H, W]
    uncertainty: Tensor       # Jensen-Shannon divergence in nats, [N, H, W]
    coverage: RiskCoverage    # of pixels
    reliability: Reliability  # of pixels
    names: tuple[str, ...]    # of the images
    rendered_is: str = "inverted"   # caption of `rendered`
    truth_is: str = "truth"         # caption of `truth`

    @classmethod
    def of(
        cls,
        found: Assessment,                   # what the branch said
        truth: Tensor,                       # uint8 [N, H, W], 255 = ignore
        protocol: Protocol,                  # said beside every figure
        names: tuple[str, ...] = (),         # of the images; numbers if left out
        images: Tensor | None = None,        # [N, 3, H, W]; None: what the generator renders is the image
        rendered_is: str = "inverted",
        truth_is: str = "truth",
    ) -> Scored:  # fmt: skip
        """An assessment, with what a report says of it."""
        kept = truth != IGNORE
        coverage = risk_coverage(found.uncertainty[kept], (found.mask != truth)[kept])
        shown = found.rendered if images is None else images.cpu()
        return cls(
            protocol, found.score.compute(), shown, found.rendered, truth, found.mask, found.uncertainty, coverage,
            found.score.reliability(), names or tuple(str(i) for i in range(len(truth))), rendered_is, truth_is,
        )  # fmt: skip

    @property
    def iou(self) -> dict[str, float]:
        """IoU by class name; NaN for a class that occurs neither in truth nor in prediction."""
        return self.figures["iou"]

    @property
    def image_uncertainty(self) -> Tensor:
        """One figure an image, ``[N]``."""
        return image_uncertainty(self.uncertainty)

    @property
    def image_accuracy(self) -> Tensor:
        """Share of each image's scored pixels that are right, ``[N]``; NaN for an image without any."""
        scored = self.truth != IGNORE
        right = (self.predicted == self.truth) & scored
        return right.sum(dim=(1, 2)) / scored.sum(dim=(1, 2))


def invert_images(
    generator: Generator, images: LabelledImages, settings: InversionSettings, what: str
) -> Inversion:
    """Inversions of ``images``, from the cache where they are known; says what it does and how well it went."""
    print(f"inverting {len(images)} {what} images")
    found = invert(
        generator, torch.as_tensor(images.images), settings, cache=InversionCache(), names=images.names, progress=True,
        windows=None if images.valid is None else torch.as_tensor(images.valid),
    )  # fmt: skip
    worst = int(found.psnr.argmin())
    print(f"{what}: PSNR {found.psnr.mean():.1f} dB on average, worst {found.psnr[worst]:.1f} dB "
          f"({images.names[worst]})")  # fmt: skip
    return found


def score_inverted(
    head: Head, generator: Generator, images: LabelledImages, found: Inversion, source: Source
) -> Scored:
    """The real-image path: segment the codes of inverted images, compare with the images' masks.

    Args:
        found: the inversions of ``images``.
        source: which images they are, for the protocol.
    """
    how = f"inverted in {found.settings.steps} steps"
    protocol = Protocol(
        *source, len(images), generator=generator.hash, how=how,
        text=f"{len(images)} {source}, {how} at {found.psnr.mean():.1f} dB",
    )  # fmt: skip
    truth = torch.as_tensor(images.masks)
    predicted = assess(head, generator, found.latent, truth, images.classes.names, progress=True)
    return Scored.of(predicted, truth, protocol, images.names, found.target)


@dataclass(frozen=True)
class Teacher:
    """A feed-forward network that labels generated images, for which there is no true mask."""

    network: Segmenter
    hash: str            # of its bundle
    miou: float          # on held-out rendered images: how far it can be believed
    protocol: Protocol   # of that figure


def load_teacher(path: str, class_names: tuple[str, ...], resolution: int) -> Teacher:
    """Read a segmenter's bundle.

    Raises:
        GanvasError: if it is unusable, labels other classes, or cannot take images of this resolution.
    """
    network, manifest = load_segmenter(path)
    if tuple(manifest["classes"]["names"]) != class_names:
        raise GanvasError(f"{path} labels other classes than the branch: set task.teacher=null.")
    if resolution % network.multiple:
        raise GanvasError(f"{path} labels images of multiples of {network.multiple} pixels, and the generator draws "
                          f"{resolution}: set task.teacher=null.")  # fmt: skip
    metrics = manifest["metrics"]
    said = Protocol(f"what {Path(path).name} was held out from", "", None, text=metrics.get("protocol", ""))
    return Teacher(network, manifest["hash"], metrics["miou"], said)


def score_generated(head: Head, generator: Generator, class_names: tuple[str, ...], n: int, teacher: Teacher) -> Scored:
    """The generator's own images: sample, label with the teacher, compare.

    Args:
        n: how many samples.
        teacher: what labels them.
    """
    latents = generator.sample(n, GENERATED_SEED)
    images = torch.cat(list(render_batches(generator, latents, 16))).clamp(-1, 1)
    truth = label_images(teacher.network, images)
    source = Source("samples", f"seed {GENERATED_SEED}, truncation 1")
    protocol = Protocol(
        *source, n, network=f"U-Net {teacher.hash[:12]}", generator=generator.hash,
        text=f"{n} {source} labelled by a U-Net with mIoU {teacher.miou:.3f} on held-out rendered images",
    )  # fmt: skip
    predicted = assess(head, generator, latents, truth, class_names, progress=True)
    return Scored.of(predicted, truth, protocol, truth_is="by the U-Net")
