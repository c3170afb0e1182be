"""What an edit did to attributes: whether it reached its own, and which others it changed (leakage)."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from networks.checkpoints.attributes import UNKNOWN, Attribute, column_of


def reached(labels: Tensor, attributes: Sequence[Attribute], name: str, value: str) -> float:
    """Share of images that a judge sees with this value.

    Args:
        labels: what the judge says of the images, ``[N, attributes]``.
        attributes: in the order of the labels.
        name: of the attribute.
        value: of it.

    Raises:
        GanvasError: if there is no such attribute or value.
    """
    return float(shown(labels, attributes, name, (value,)).double().mean())


def shown(labels: Tensor, attributes: Sequence[Attribute], name: str, values: Sequence[str]) -> Tensor:
    """Which images a judge sees with one of these values, bool ``[N]``; the arguments are those of :func:`reached`.

    Raises:
        GanvasError: if there is no such attribute or value.
    """
    column = column_of(attributes, name)
    numbers = torch.tensor([attributes[column].index(value) for value in values], dtype=labels.dtype)
    return torch.isin(labels[:, column].cpu(), numbers)


def overlap(seen: Tensor, truth: Tensor, classes: Collection[int]) -> float:
    """Intersection over union of some classes taken as one, over the pixels of all images; 1 if neither has any.

    Args:
        seen: masks, uint8 ``[N, H, W]``.
        truth: the same.
        classes: their ids.

    Raises:
        ValueError: if the shapes differ.
    """
    if seen.shape != truth.shape:
        raise ValueError(f"masks must have one shape, got {list(seen.shape)} and {list(truth.shape)}")
    ours, theirs = (torch.isin(masks, torch.tensor([*classes], dtype=masks.dtype)) for masks in (seen, truth))
    either = int((ours | theirs).sum())
    return int((ours & theirs).sum()) / either if either else 1.0


def leakage(
    before: Tensor, after: Tensor, attributes: Sequence[Attribute], affected: Collection[str] = (),
    truth: Tensor | None = None,
) -> dict[str, float]:  # fmt: skip
    """Of each attribute that an edit should leave alone, the share of images in which the judge sees another value.

    Only images count of which the judge said the truth before, where that is known: what it cannot see, an edit cannot
    be blamed for.

    Args:
        before: what the judge says of the images before the edit, ``[N, attributes]``.
        after: and after it.
        attributes: in the order of the labels.
        affected: names of those that the edit may change.
        truth: labels that are known to be true, with ``UNKNOWN`` where an attribute is hidden; None: not known.

    Returns:
        By attribute; one that no image shows is left out.

    Raises:
        ValueError: if the shapes differ.
    """
    if before.shape != after.shape or (truth is not None and truth.shape != before.shape):
        raise ValueError(f"labels must have one shape, got {list(before.shape)}, {list(after.shape)}"
                         f"{'' if truth is None else f' and {list(truth.shape)}'}")  # fmt: skip
    counts = torch.ones_like(before, dtype=torch.bool) if truth is None else (truth == before) & (truth != UNKNOWN)
    found = {}
    for column, attribute in enumerate(attributes):
        seen = counts[:, column]
        if attribute.name not in affected and seen.any():
            found[attribute.name] = float((before[seen, column] != after[seen, column]).double().mean())
    return found
