"""How good a segmentation branch is: scored on inverted held-out images, and on generated ones; never mixed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from datamodules.masks import LabelledImages
from editors.inversion_cache import InversionCache
from editors.invert import Inversion, InversionSettings, invert
from networks.checkpoints.errors import GanvasError
from networks.latent import Latent
from networks.metrics.segmentation import IGNORE, SegmentationScore
from networks.metrics.uncertainty import RiskCoverage, image_uncertainty, risk_coverage
from networks.protocol import Generator
from networks.segmentation import Head, predict
from networks.unet import UNet, label_images, load_segmenter

INVERTED, GENERATED = "inverted held-out images", "generated images"  # the two evaluations
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
    names: tuple[str, ...]    # of the images

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


@torch.no_grad()
def score_branch(
    head: Head,                          # in evaluation mode
    generator: Generator,                # frozen
    latents: Latent,                     # of the images
    truth: Tensor,                       # uint8 [N, H, W], 255 = ignore
    class_names: tuple[str, ...],        # of each id
    protocol: str,                       # said beside every figure
    images: Tensor | None = None,        # [N, 3, H, W]; None: what the generator renders is the image
    names: tuple[str, ...] = (),         # of the images; numbers if left out
    batch: int = 8,                      # images rendered at once
) -> Scored:  # fmt: skip
    """Segment what the generator makes of ``latents`` and compare with ``truth``."""
    score = SegmentationScore(class_names)
    rendered, predicted, uncertainty = [], [], []
    bar = tqdm(total=len(truth), desc="score", unit="image", leave=False)
    for i, part in enumerate(latents.split(batch)):
        image, features = generator.render(part, features=True)
        found = predict(head, features)
        score.update(found.probabilities, truth[i * batch : i * batch + len(part)])
        rendered.append(image.clamp(-1, 1).cpu())
        predicted.append(found.mask.cpu())
        uncertainty.append(found.disagreement.cpu())
        bar.update(len(part))
    bar.close()
    made, masks, unsure = torch.cat(rendered), torch.cat(predicted), torch.cat(uncertainty)
    kept = truth != IGNORE
    coverage = risk_coverage(unsure[kept], (masks != truth)[kept])
    names = names or tuple(str(i) for i in range(len(truth)))
    shown = made if images is None else images.cpu()
    return Scored(protocol, score.compute(), shown, made, truth, masks, unsure, coverage, names)


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


def score_inverted(head: Head, generator: Generator, images: LabelledImages, found: Inversion, what: str) -> Scored:
    """The real-image path: segment the codes of inverted images, compare with the images' masks.

    Args:
        found: the inversions of ``images``.
        what: which images they are, for the protocol.
    """
    protocol = f"{len(images)} {what}, inverted in {found.settings.steps} steps at {found.psnr.mean():.1f} dB"
    truth = torch.as_tensor(images.masks)
    classes = images.classes.names
    return score_branch(head, generator, found.latent, truth, classes, protocol, found.target, images.names)


@dataclass(frozen=True)
class Teacher:
    """A feed-forward network that labels generated images, for which there is no true mask."""

    network: UNet
    miou: float      # on held-out rendered images: how far it can be believed


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
    return Teacher(network, manifest["metrics"]["miou"])


def score_generated(head: Head, generator: Generator, class_names: tuple[str, ...], n: int, teacher: Teacher) -> Scored:
    """The generator's own images: sample, label with the teacher, compare.

    Args:
        n: how many samples.
        teacher: what labels them.
    """
    latents = generator.sample(n, GENERATED_SEED)
    with torch.no_grad():
        images = torch.cat([generator.render(part).cpu() for part in latents.split(16)]).clamp(-1, 1)
    protocol = (f"{n} samples (seed {GENERATED_SEED}, truncation 1) labelled by a U-Net with mIoU "
                f"{teacher.miou:.3f} on held-out rendered images")  # fmt: skip
    return score_branch(head, generator, latents, label_images(teacher.network, images), class_names, protocol)
