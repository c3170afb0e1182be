"""How unsure an ensemble is, and whether it is unsure where it is wrong."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


def entropy(probabilities: Tensor, dim: int) -> Tensor:
    """Shannon entropy in nats over ``dim``, with 0 log 0 = 0."""
    return -torch.xlogy(probabilities, probabilities).sum(dim)


def jensen_shannon(member_probs: Tensor) -> Tensor:
    """Disagreement of an ensemble at each pixel: ``H(mean p) - mean H(p)`` (used so by DatasetGAN, Zhang et al. 2021).

    Args:
        member_probs: class probabilities of each member, ``[M, N, K, H, W]``.

    Returns:
        ``[N, H, W]`` in nats, between 0 (all agree) and ``log min(M, K)``.

    Raises:
        ValueError: if ``member_probs`` is not five-dimensional.
    """
    if member_probs.ndim != 5:
        raise ValueError(f"member_probs must be [M, N, K, H, W], got {list(member_probs.shape)}")
    # Rounding can take the difference of two equal entropies just below zero.
    return (entropy(member_probs.mean(0), 1) - entropy(member_probs, 2).mean(0)).clamp_min(0)


def image_uncertainty(pixels: Tensor, fraction: float = 0.1) -> Tensor:
    """One figure an image: the mean of its most uncertain pixels, ``[N, H, W] -> [N]``.

    Most pixels of any image are certain; a mean over all of them would mostly measure how large the object is.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction must be in (0, 1], got {fraction}")
    flat = pixels.flatten(1)
    return flat.topk(max(1, round(fraction * flat.shape[1])), dim=1).values.mean(1)


class RiskCoverage(NamedTuple):
    """Error among the kept items against how many are kept (Geifman & El-Yaniv 2017, arXiv 1705.08500)."""

    coverage: Tensor  # [P], rising to 1: the fraction kept, most certain first
    risk: Tensor      # [P]: mean error among them
    aurc: float       # area under the curve over all coverages; lower is better


def risk_coverage(uncertainty: Tensor, error: Tensor, points: int = 100) -> RiskCoverage:
    """The risk-coverage curve of items (pixels or images).

    Args:
        uncertainty: any shape; higher is less certain.
        error: the same shape; 0/1 or a loss.
        points: how many points of the curve are returned; the area uses every item. Items of one uncertainty are
            kept or dropped in no meaningful order, so each takes the mean error of its group.

    Raises:
        ValueError: if the shapes differ or there is no item.
    """
    if uncertainty.shape != error.shape or uncertainty.numel() == 0:
        raise ValueError(f"need one error an item, got {list(uncertainty.shape)} and {list(error.shape)}")
    _, group, size = uncertainty.flatten().double().unique(return_inverse=True, return_counts=True)
    summed = torch.zeros(len(size), dtype=torch.float64, device=size.device)
    summed.index_add_(0, group, error.flatten().double())
    losses = (summed / size).repeat_interleave(size)  # sorted: most certain first
    kept = torch.arange(1, len(losses) + 1, dtype=torch.float64, device=losses.device)
    risk = losses.cumsum(0) / kept
    pick = torch.linspace(0, len(losses) - 1, min(points, len(losses)), device=losses.device).round().long()
    return RiskCoverage(coverage=kept[pick] / len(losses), risk=risk[pick], aurc=risk.mean().item())
