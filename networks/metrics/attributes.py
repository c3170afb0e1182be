"""How well attributes are told, and persons recognised: figures beside what guessing would give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from networks.checkpoints.attributes import UNKNOWN, Attribute


class AttributeScore(NamedTuple):
    """Of one attribute, over the images that show it."""

    accuracy: float   # share of right answers
    balanced: float   # mean over the values that occur of the share of their images that are told right
    majority: float   # share of the commonest value: what always saying it would give
    images: int       # that show it


def attribute_scores(predicted: Tensor, truth: Tensor, attributes: Sequence[Attribute]) -> dict[str, AttributeScore]:
    """The score of each attribute that an image shows.

    Args:
        predicted: labels ``[N, attributes]``.
        truth: the same, with ``UNKNOWN`` where nothing can be said.
        attributes: in the order of the labels.

    Raises:
        ValueError: if the two differ in shape.
    """
    if predicted.shape != truth.shape or truth.shape[1] != len(attributes):
        raise ValueError(f"labels must be [N, {len(attributes)}] both, got {list(predicted.shape)} and "
                         f"{list(truth.shape)}")  # fmt: skip
    found = {}
    for attribute, said, true in zip(attributes, predicted.unbind(1), truth.unbind(1), strict=True):
        seen = true != UNKNOWN
        if not seen.any():
            continue
        right, true = (said == true)[seen].double(), true[seen].long()
        count = torch.bincount(true, minlength=len(attribute.values)).double()
        each = torch.bincount(true, right, len(attribute.values)) / count
        found[attribute.name] = AttributeScore(
            float(right.mean()), float(each[count > 0].mean()), float(count.max() / count.sum()), len(true)
        )
    return found


def recognition(first: Tensor, second: Tensor) -> dict[str, float]:
    """How well unit vectors of the same persons, ``[N, D]`` both, find one another.

    Returns:
        ``rank1``: share of persons whose nearest other picture is their own; ``auc``: chance that a pair of one person
        has a larger cosine than a pair of two; ``same`` and ``different``: mean cosines of these.
    """
    cosines = first.double() @ second.double().T  # [N, N]
    own, others = cosines.diagonal(), cosines[~torch.eye(len(cosines), dtype=torch.bool)]
    below = torch.searchsorted(others.sort().values, own.contiguous())  # of each own pair, how many others are smaller
    return {
        "rank1": float((cosines.argmax(1) == torch.arange(len(cosines))).double().mean()),
        "auc": float(below.double().mean() / len(others)),
        "same": float(own.mean()),
        "different": float(others.mean()),
    }
