"""What edits of blobs do, as a judge of pixels sees it: which blob is what, what moves, what goes, what else changes.

BlobGAN (Epstein et al. 2022, arXiv 2205.02837, section 5) counts which classes vanish with a blob. Here each figure has
its ideal: an object that is moved by a vector moves by that vector, one that is removed leaves none of its class, and
nothing changes elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

VISIBLE = 0.01    # least share of a scene that a blob must cover to count there
LEAST = 0.1       # least share of a blob's weight that must lie on a class for the blob to be that
SEEN = 0.1        # least weight of a blob in a pixel that it may be said to have drawn
WHOLE = 0.8       # least share of a class's pixels that must be the blob's for the class to be its object
LEAST_MSE = 1e-10  # mean squared change that counts as none: 106 dB


def class_shares(weights: Tensor, masks: Tensor, classes: int) -> Tensor:
    """The share of each blob's weight that lies on each class, ``[N, K, C]``; pixels without a class count in none.

    Args:
        weights: of the blobs in each pixel, ``[N, K, H, W]``.
        masks: class ids, uint8 ``[N, H, W]``, 255 for none.
        classes: how many there are.

    Example:
        >>> class_shares(torch.tensor([[[[0.75, 0.25]]]]), torch.tensor([[[0, 1]]], dtype=torch.uint8), 2).tolist()
        [[[0.75, 0.25]]]
    """
    if weights.ndim != 4 or masks.shape != weights[:, 0].shape:
        raise ValueError(f"weights must be [N, K, H, W] and masks [N, H, W], got {list(weights.shape)} and "
                         f"{list(masks.shape)}")  # fmt: skip
    on = F.one_hot(masks.long().clamp(max=classes), classes + 1)[..., :classes].to(weights)
    return torch.einsum("nkhw,nhwc->nkc", weights, on) / weights.sum((2, 3)).clamp_min(1e-12)[..., None]


def standing_out(shares: Tensor, expected: Tensor) -> Tensor:
    """What blobs are: the class that stands out most from what is everywhere, int64 ``[...]``.

    That is the largest residual ``(share - expected) / sqrt(expected)`` of a contingency table (Pearson 1900), among
    classes with a tenth of the blob's weight: walls are behind everything, and few pixels of a rare class are noise.

    Args:
        shares: see :func:`class_shares`, ``[..., C]``.
        expected: the classes' shares of all pixels, ``[C]``.

    Example:
        >>> standing_out(torch.tensor([0.6, 0.4, 0.0]), torch.tensor([0.8, 0.19, 0.01])).item()
        1
    """
    residual = (shares - expected) / expected.clamp_min(1e-6).sqrt()
    eligible = shares >= shares.amax(-1, keepdim=True).clamp(max=LEAST)
    return residual.masked_fill(~eligible, -torch.inf).argmax(-1)


@dataclass(frozen=True)
class Association:
    """Which class each blob is, in each scene and over all."""

    share: Tensor         # [K, C], of a blob's weight, in the mean over scenes where it is visible
    expected: Tensor      # [C], of all pixels
    label: Tensor         # int64 [K], see standing_out
    in_scene: Tensor      # int64 [N, K], the same in each scene
    consistency: Tensor   # [K], share of the scenes where it is visible in which that is also the scene's own; or NaN
    visible: Tensor       # bool [N, K]

    @property
    def used(self) -> list[int]:
        """The blobs that are visible in a scene at all."""
        return self.visible.any(0).nonzero().flatten().tolist()

    @property
    def purity(self) -> Tensor:
        """The share of each blob's weight that lies on its class, ``[K]``."""
        return self.share.gather(1, self.label[:, None])[:, 0]


def associate(shares: Tensor, expected: Tensor, visible: Tensor) -> Association:
    """From :func:`class_shares`, the classes' shares of all pixels ``[C]``, and where blobs are visible ``[N, K]``."""
    counts = visible.sum(0)
    share = (shares * visible[..., None]).sum(0) / counts.clamp_min(1)[:, None]
    label, in_scene = standing_out(share, expected), standing_out(shares, expected)
    same = (in_scene == label) & visible
    consistency = torch.where(counts > 0, same.sum(0) / counts.clamp_min(1), torch.nan)
    return Association(share, expected, label, in_scene, consistency, visible)


def owned(weight: Tensor, masks: Tensor, labels: Tensor) -> Tensor:
    """Where a class is one blob's object: nearly all of its pixels are where the blob is, ``bool [N]``.

    Args:
        weight: of the blob, ``[N, H, W]``.
        masks: uint8 ``[N, H, W]``.
        labels: the class in each scene, ``[N]``.
    """
    on = masks == labels[:, None, None]
    count = on.sum((1, 2))
    return (count > 0) & ((on & (weight >= SEEN)).sum((1, 2)) >= WHOLE * count)


def stood_on(weight: Tensor, masks: Tensor, labels: Tensor, instances: Tensor) -> Tensor:
    """The object of a class on which most of a blob's weight lies, ``bool [N, H, W]``; empty where there is none.

    Args:
        weight: of the blob, ``[N, H, W]``.
        masks: uint8 ``[N, H, W]``.
        labels: the class in each scene, ``[N]``.
        instances: which object each pixel shows, uint8 ``[N, H, W]``; 0 for none that can be told.

    Example:
        >>> masks, instances = torch.tensor([[[1, 0, 1, 1]]]), torch.tensor([[[1, 0, 2, 2]]])
        >>> stood_on(torch.tensor([[[0.5, 1.0, 0.4, 0.4]]]), masks, torch.tensor([1]), instances).tolist()
        [[[False, False, True, True]]]
    """
    ids = torch.where(masks == labels[:, None, None], instances, 0).long()
    weights = torch.zeros(len(ids), 256).scatter_add_(1, ids.flatten(1), weight.flatten(1).float())
    best = weights[:, 1:].argmax(1) + 1
    return ids == best[:, None, None]


def removed(before: Tensor, after: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    """How much of a class is gone where a blob was: 1 is all, 0 none, below it there is more; ``[N]``.

    Args:
        before: masks, uint8 ``[N, H, W]``.
        after: the same.
        weight: of the blob before, ``[N, H, W]``, by which pixels count.
        labels: the class in each scene, ``[N]``.

    Raises:
        ValueError: if a scene had none.
    """
    area = (weight * (before == labels[:, None, None])).sum((1, 2))
    if (area <= 0).any():
        raise ValueError("there is nothing of the class to remove")
    return 1 - (weight * (after == labels[:, None, None])).sum((1, 2)) / area


def centroid(masks: Tensor, labels: Tensor) -> Tensor:
    """The middle of a class's pixels ``(x, y)``, in widths of the image, ``[N, 2]``; NaN where it has none.

    Example:
        >>> centroid(torch.tensor([[[0, 0, 0, 1]]], dtype=torch.uint8), torch.tensor([1])).tolist()
        [[0.875, 0.5]]
    """
    on = (masks == labels[:, None, None]).float()
    count = on.sum((1, 2))
    x = (torch.arange(masks.shape[2], device=masks.device) + 0.5) / masks.shape[2]
    y = (torch.arange(masks.shape[1], device=masks.device) + 0.5) / masks.shape[1]
    return torch.stack([(on.sum(1) * x).sum(1), (on.sum(2) * y).sum(1)], 1) / count[:, None]


@dataclass(frozen=True)
class Followed:
    """How an object went along with its blob."""

    share: Tensor    # [N], of the way along the vector: 1 is ideal
    error: Tensor    # [N], distance of its middle from where it should be, in widths of the image


def followed(before: Tensor, after: Tensor, labels: Tensor, vector: Tensor) -> Followed:
    """Whether a class moved by the ``vector [N, 2]`` by which its blob did; one that vanished did not move at all."""
    went = (centroid(after, labels) - centroid(before, labels)).nan_to_num(0.0)
    share = (went * vector).sum(1) / vector.square().sum(1)
    return Followed(share, (went - vector).norm(dim=1))


def outside(
    before: Tensor, after: Tensor, region: Tensor, critic: Callable[[Tensor, Tensor], Tensor]
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """What changed where an edit is not: PSNR in dB and perceptual distance, each ``[N]``.

    Args:
        before: images, ``[N, C, H, W]`` in [-1, 1].
        after: the same, edited.
        region: where the edit is, ``[N, H, W]`` from 0 to 1; there the images are taken for equal.
        critic: perceptual distance of two batches of images, ``[N]``.
    """
    elsewhere = 1 - region[:, None]
    squares = ((after - before).square() * elsewhere).flatten(1).sum(1)
    mean = squares / (elsewhere.flatten(1).sum(1) * before.shape[1]).clamp_min(1e-12)
    psnr = 10 * (2.0**2 / mean.clamp_min(LEAST_MSE)).log10()
    return psnr, critic(before, torch.lerp(before, after, elsewhere))
