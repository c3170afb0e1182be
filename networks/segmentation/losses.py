"""The loss of the default recipe: weighted cross-entropy, and Dice, which asks for overlap as the score does."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from networks.checkpoints.classes import IGNORE


def segmentation_loss(
    logits: Tensor,
    masks: Tensor,
    class_weight: Tensor,
    cross_entropy: Tensor | float = 1.0,
    dice: Tensor | float = 1.0,
) -> Tensor:
    """Class-weighted cross-entropy and Dice, a mean over the members.

    For a class that occurs, Dice is ``1 - 2 sum(p t) / sum(p + t)`` over all labelled pixels of the batch (Milletari et
    al. 2016, arXiv 1606.04797, eq. 4, without the squares): a part of twenty pixels weighs as much as the background.

    The gradient is written out: the logits of an ensemble are the largest tensor of a training step, and autograd
    would walk over them some twenty times.

    Args:
        logits: of every member, ``[M, N, K, h, w]``.
        masks: class ids, int64 ``[N, h, w]``, 255 = ignore.
        class_weight: ``[K]``.
        cross_entropy: factor of the sum over pixels of class weight x cross-entropy.
        dice: factor of the mean Dice loss over the classes that occur.

    Returns:
        a scalar, once differentiable in ``logits``.
    """
    half = logits.dtype in (torch.float16, torch.bfloat16)
    with torch.autocast(logits.device.type, enabled=False):  # sums over pixels need more digits than half precision has
        logits = logits.float() if half else logits
        loss: Tensor = _SegmentationLoss.apply(logits, masks, class_weight, cross_entropy, dice)  # type: ignore[no-untyped-call]
    return loss


class _SegmentationLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        masks: Tensor,
        class_weight: Tensor,
        cross_entropy: Tensor | float,
        dice: Tensor | float,
    ) -> Tensor:
        members, _, classes = logits.shape[:3]
        labelled = (masks != IGNORE).flatten(1)[:, None]                           # [N, 1, P]
        truth = masks.flatten(1)[:, None].where(labelled, 0)                       # [N, 1, P]
        there = truth[labelled].bincount(minlength=classes).to(logits.dtype)       # [K]
        index = truth.expand(members, -1, -1, -1)                                  # [M, N, 1, P]
        p = logits.detach().flatten(3).softmax(dim=2)                              # [M, N, K, P]
        if not bool(labelled.all()):
            p *= labelled  # nothing is asked of the other pixels, and nothing flows back to them
        p_true = p.gather(2, index)
        weight = class_weight[truth] * labelled * (cross_entropy / members)
        loss = -(p_true.clamp(min=torch.finfo(p.dtype).tiny).log() * weight).sum()

        overlap = p.new_zeros(members, classes).index_add_(1, truth.flatten(), p_true.flatten(1))
        total = (p.sum(dim=(1, 3)) + there).clamp(min=1)  # at least one where the class occurs
        occurs = (there > 0).to(p)
        share = occurs * (dice / (members * occurs.sum().clamp(min=1)))
        loss = loss + (share * (1 - 2 * overlap / total)).sum()
        if ctx.needs_input_grad[0]:
            # dDice / dp = a + b t, with the sums written out.
            a, b = share * 2 * overlap / total**2, -share * 2 / total              # [M, K]
            b_true = b[:, truth] * p_true
            # Softmax: d / dlogit_j = p_j (g_j - sum_k p_k g_k), where g is the derivative by p.
            inner = torch.einsum("mnkp,mk->mnp", p, a)[:, :, None] + b_true
            p.mul_(a[:, None, :, None] + (weight - inner))
            ctx.save_for_backward(p.scatter_add_(2, index, b_true - weight))
            ctx.shape = logits.shape
        return loss

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        (gradient,) = ctx.saved_tensors
        # In place, for it is large; autograd refuses a second walk by itself, since a saved tensor has changed.
        return gradient.mul_(grad).view(ctx.shape), None, None, None, None
