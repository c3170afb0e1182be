"""The loss of the default recipe: weighted cross-entropy, and Dice, which asks for overlap as the score does."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from networks.metrics.segmentation import IGNORE


class SegmentationLoss(NamedTuple):
    """The two parts, each a mean over the members."""

    cross_entropy: Tensor   # sum over pixels of class weight x cross-entropy
    dice: Tensor            # mean over the classes that occur, 0 to 1


def segmentation_loss(logits: Tensor, masks: Tensor, class_weight: Tensor) -> SegmentationLoss:
    """Both losses from one softmax.

    For a class that occurs, Dice is ``1 - 2 sum(p t) / sum(p + t)`` over all labelled pixels of the batch (Milletari et
    al. 2016, arXiv 1606.04797, eq. 4, without the squares): a part of twenty pixels weighs as much as the background.

    Args:
        logits: of every member, ``[M, N, K, h, w]``.
        masks: class ids, int64 ``[N, h, w]``, 255 = ignore.
        class_weight: ``[K]``.
    """
    members, classes = len(logits), logits.shape[2]
    labelled = masks != IGNORE
    truth = masks.where(labelled, 0)
    log_p = logits.log_softmax(dim=2)
    log_p_true = log_p.gather(2, truth.expand(members, -1, -1, -1)[:, :, None])[:, :, 0]  # [M, N, h, w]
    cross_entropy = -(log_p_true * (class_weight[truth] * labelled)).sum() / members

    p_true = (log_p_true.exp() * labelled).flatten(1)  # [M, N*h*w]
    overlap = p_true.new_zeros(members, classes).index_add(1, truth.flatten(), p_true)
    predicted = (log_p.exp() * labelled[:, None]).sum(dim=(1, 3, 4))  # [M, K]
    there = truth[labelled].bincount(minlength=classes)
    dice = 1 - 2 * overlap / (predicted + there).clamp(min=1e-12)
    occurs = (there > 0).to(dice.dtype)
    return SegmentationLoss(cross_entropy, (dice * occurs).sum() / (members * occurs.sum().clamp(min=1)))
