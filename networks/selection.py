"""Which images to label next: far apart in a feature space, and where an ensemble disagrees.

Core-set selection by the greedy k-centre rule (Sener & Savarese 2018, arXiv 1708.00489), weighted by the
Jensen-Shannon divergence of the ensemble's members, as DatasetGAN chooses images (Zhang et al. 2021, arXiv 2104.06490).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d
from tqdm import tqdm

from networks.latent import Latent
from networks.metrics.uncertainty import image_uncertainty
from networks.protocol import Features, Generator
from networks.segmentation import Head, segment_latents

SIDE = 2  # a map is described by its means over so many parts a side


def pooled(features: Features, left_out: Collection[str] = ()) -> Iterator[Tensor]:
    """Each map ``[N, C, r, r]`` as the means over its quarters, ``[N, C * 4]``; a 1x1 map as it is."""
    for name, x in features.items():
        if name not in left_out:
            yield adaptive_avg_pool2d(x, min(SIDE, x.shape[-1])).flatten(1)


@torch.no_grad()
def generator_features(generator: Generator, latents: Latent, batch: int = 16, progress: bool = False) -> Tensor:
    """What the generator's maps say of each image, ``[N, D]`` on the CPU: every map counts alike.

    The means over the quarters of each map, standardised over the images and divided by the root of their number.
    Maps that are the same for every image are left out.

    Args:
        generator: whose maps are read.
        latents: codes of the images.
        batch: images rendered at once.
        progress: show a bar.
    """
    parts = []
    for piece in _pieces(latents, batch, progress):
        _, features = generator.render(piece.to(generator.device), features=True)
        parts.append([x.float().cpu() for x in pooled(features, generator.constant_features)])
    return torch.cat([_alike(torch.cat(maps)) for maps in zip(*parts, strict=True)], dim=1)


@torch.no_grad()
def critic_features(
    network: nn.Module, generator: Generator, latents: Latent, batch: int = 16, progress: bool = False
) -> Tensor:
    """What a frozen network (``networks.critics.feature_network``) says of each rendering, ``[N, D]`` on the CPU."""
    network = network.to(generator.device)
    found = [
        network(generator.render(piece.to(generator.device)).clamp(-1, 1)).float().cpu()
        for piece in _pieces(latents, batch, progress)
    ]
    return _alike(torch.cat(found))


def disagreement(
    head: Head, generator: Generator, latents: Latent, batch: int = 8, progress: bool = False
) -> Tensor:
    """How unsure an ensemble is of each image, ``[N]``: the mean divergence of its most doubtful pixels, in nats."""
    seen = (segmented for piece in _pieces(latents, batch, progress)
            for segmented in segment_latents(head, generator, piece, batch))  # fmt: skip
    return torch.cat([image_uncertainty(segmented.prediction.disagreement) for segmented in seen])


def k_center(
    features: Tensor, count: int, chosen: Sequence[int] = (), weights: Tensor | None = None
) -> list[int]:
    """Choose rows that cover the others: each is the one that is furthest from all chosen before it.

    ``u = argmax_i  w_i min_{j in chosen} |x_i - x_j|`` (algorithm 1 of the core-set paper, where w = 1). The first of
    all is the row nearest to the mean; with weights, the heaviest.

    Args:
        features: ``[N, D]``.
        count: how many to choose, without those of ``chosen``.
        chosen: rows that are taken already: covered, and not chosen again.
        weights: ``[N]``, at least 0; None: all alike.

    Returns:
        Indices in the order of choice.

    Raises:
        ValueError: if there are not so many rows left, or a weight is negative or not a number.

    Example:
        >>> k_center(torch.tensor([[0.0], [1.0], [4.0], [9.0]]), 3)
        [2, 3, 0]
    """
    if features.ndim != 2 or not 0 <= count <= len(features) - len(set(chosen)):
        raise ValueError(f"cannot choose {count} of {list(features.shape)} rows beside {len(set(chosen))}")
    weight = torch.ones(len(features)).double() if weights is None else weights.double()
    if weight.shape != features.shape[:1] or not bool((weight >= 0).all()):
        raise ValueError(f"weights must be {len(features)} numbers of at least 0, got {list(weight.shape)}")
    x, taken = features.double(), list(chosen)
    distance = torch.full((len(x),), torch.inf, dtype=torch.float64)
    for row in taken:
        distance = torch.minimum(distance, _distance(x, x[row]))
    while len(taken) < len(chosen) + count:
        first = -_distance(x, x.mean(0)) if weights is None else weight.clone()
        score = weight * distance if taken else first
        score[taken] = -torch.inf  # equal images have distance 0, and each is still chosen once only
        taken.append(int(score.argmax()))
        distance = torch.minimum(distance, _distance(x, x[taken[-1]]))
    return taken[len(chosen):]


def _pieces(latents: Latent, batch: int, progress: bool) -> Iterator[Latent]:
    with tqdm(total=len(latents), desc="look", unit="image", leave=False, disable=not progress) as bar:
        for piece in latents.split(batch):
            yield piece
            bar.update(len(piece))


def _distance(x: Tensor, point: Tensor) -> Tensor:
    return (x - point).norm(dim=1)


def _alike(x: Tensor) -> Tensor:
    """Columns of mean 0 and deviation 1, then divided so that a row's expected squared length is 1."""
    spread = x.std(dim=0, correction=0)
    return (x - x.mean(dim=0)) / spread.clamp_min(1e-8) / x.shape[1] ** 0.5
