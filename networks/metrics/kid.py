"""Kernel inception distance: an unbiased distance between two sets of images (Binkowski et al. 2018, arXiv 1801.01401).

The features may come from any network; a figure names it ("KID-EffLite0"), for figures of two networks do not compare.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

WHOLE = 4000  # vectors: up to here the kernels of whole sets (128 MB each) are computed once, and subsets taken of them


def polynomial_kernel(x: Tensor, y: Tensor) -> Tensor:
    """``k(x, y) = (x . y / d + 1)^3``: ``[N, D], [M, D] -> [N, M]``."""
    return (x @ y.T / x.shape[1] + 1) ** 3


def mmd2(x: Tensor, y: Tensor) -> Tensor:
    """Unbiased squared maximum mean discrepancy of two samples, ``[N, D], [M, D] -> []``; may be negative.

    Raises:
        ValueError: if a sample has fewer than two vectors or the widths differ.
    """
    return _mmd2(*_kernels(x, y))


def _kernels(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Kernels within and between two samples: ``[N, N], [M, M], [N, M]``."""
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or min(len(x), len(y)) < 2:
        raise ValueError(f"need two samples [N >= 2, D] of one width, got {list(x.shape)} and {list(y.shape)}")
    return polynomial_kernel(x, x), polynomial_kernel(y, y), polynomial_kernel(x, y)


def _mmd2(xx: Tensor, yy: Tensor, xy: Tensor) -> Tensor:
    """:func:`mmd2` from the kernels within and between the samples."""

    def within(kernel: Tensor) -> Tensor:
        # The diagonal compares a vector with itself: leaving it out is what makes the estimate unbiased.
        return (kernel.sum() - kernel.trace()) / (len(kernel) * (len(kernel) - 1))

    return within(xx) + within(yy) - 2 * xy.mean()


def kid(
    real: Tensor,             # features of real images, [N, D]
    fake: Tensor,             # features of generated images, [M, D]
    subsets: int = 100,       # how many random subsets are averaged
    subset_size: int = 1000,  # size of a subset of either set; at most the smaller set
    seed: int = 0,            # of the subsets
) -> tuple[float, float]:
    """Mean and standard deviation of :func:`mmd2` over random subsets, each drawn without replacement.

    The deviation is that of one subset's estimate, as the common implementations report it.

    Raises:
        ValueError: if a subset is larger than a set or has fewer than two vectors, or there is none.
    """
    if subsets < 1 or not 2 <= subset_size <= min(len(real), len(fake)):
        raise ValueError(f"cannot draw {subsets} subsets of {subset_size} from {len(real)} and {len(fake)} vectors")
    generator = torch.Generator().manual_seed(seed)
    # float64: the estimate is a small difference of large means.
    real, fake = real.double().cpu(), fake.double().cpu()
    whole = max(len(real), len(fake)) <= WHOLE
    if whole:  # a subset's kernels are parts of these, and computing them a hundred times is most of the work
        xx, yy, xy = _kernels(real, fake)
    values = []
    for _ in range(subsets):
        i = torch.randperm(len(real), generator=generator)[:subset_size]
        j = torch.randperm(len(fake), generator=generator)[:subset_size]
        values.append(_mmd2(xx[i][:, i], yy[j][:, j], xy[i][:, j]) if whole else mmd2(real[i], fake[j]))
    scores = torch.stack(values)
    return scores.mean().item(), scores.std(correction=0).item()


def intra_kid(
    real: Tensor, fake: Tensor, classes: Tensor, subsets: int = 100, subset_size: int = 1000, seed: int = 0
) -> float:  # fmt: skip
    """The mean over classes of :func:`kid` within each, as Miyato and Koyama 2018 (arXiv 1802.05637) take it of FID.

    Args:
        real: features of real images, ``[N, D]``.
        fake: of generated images of the same classes, ``[N, D]``.
        classes: of both, int64 ``[N]``; one with fewer than two images counts in nothing.
        subsets: as there.
        subset_size: as there, at most a class.
        seed: as there.

    Returns:
        NaN if no class has two images.

    Raises:
        ValueError: if there is not one class for each vector.
    """
    if not len(real) == len(fake) == len(classes):
        raise ValueError(f"need as many vectors as classes, got {len(real)}, {len(fake)} and {len(classes)}")
    members = [classes == value for value in classes.unique()]
    sizes = [(mine, min(subset_size, int(mine.sum()))) for mine in members]
    found = [kid(real[mine], fake[mine], subsets, size, seed)[0] for mine, size in sizes if size >= 2]
    return sum(found) / len(found) if found else float("nan")


@torch.no_grad()
def extract_features(network: nn.Module, batches: Iterable[Tensor]) -> Tensor:
    """Features ``[N, D]`` of batches of images in [-1, 1], on the CPU."""
    return torch.cat([network(images).cpu() for images in batches])
