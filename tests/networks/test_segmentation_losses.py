"""The default recipe's loss against its formulas, written out class by class."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from networks.segmentation.losses import segmentation_loss

MEMBERS, IMAGES, CLASSES, SIZE = 3, 2, 5, 6
WEIGHT = torch.tensor([0.5, 1.0, 2.0, 3.0, 0.0], dtype=torch.float64)


def example() -> tuple[torch.Tensor, torch.Tensor]:
    """Logits, and masks in which class 4 never occurs and some pixels are to be ignored."""
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(MEMBERS, IMAGES, CLASSES, SIZE, SIZE, generator=rng, dtype=torch.float64)
    masks = torch.randint(CLASSES - 1, (IMAGES, SIZE, SIZE), generator=rng)
    masks[:, :2] = 255
    return logits.requires_grad_(), masks


def test_cross_entropy_is_torchs() -> None:
    logits, masks = example()
    each = [cross_entropy(member, masks, weight=WEIGHT, ignore_index=255, reduction="sum") for member in logits]
    torch.testing.assert_close(segmentation_loss(logits, masks, WEIGHT).cross_entropy, sum(each) / MEMBERS)


def test_dice_is_the_mean_over_members_and_classes_that_occur() -> None:
    logits, masks = example()
    labelled, each = masks != 255, []
    for member in logits.softmax(dim=2):
        for k in range(CLASSES - 1):
            p, t = member[:, k][labelled], (masks == k)[labelled].double()
            each.append(1 - 2 * (p * t).sum() / (p.sum() + t.sum()))
    torch.testing.assert_close(segmentation_loss(logits, masks, WEIGHT).dice, torch.stack(each).mean())


def test_truth_has_no_loss_and_its_opposite_all_of_it() -> None:
    _, masks = example()
    truth = torch.nn.functional.one_hot(masks.where(masks != 255, 0), CLASSES).movedim(-1, 1).double()
    right = segmentation_loss(100 * truth[None], masks, WEIGHT)
    assert right.dice.item() == pytest.approx(0, abs=1e-9)
    assert right.cross_entropy.item() == pytest.approx(0, abs=1e-9)
    wrong = segmentation_loss(100 * truth.roll(1, dims=1)[None], masks, WEIGHT)
    assert wrong.dice.item() == pytest.approx(1, abs=1e-9)


def test_ignored_pixels_have_no_gradient() -> None:
    logits, masks = example()
    loss = segmentation_loss(logits, masks, WEIGHT)
    (gradient,) = torch.autograd.grad(loss.cross_entropy + loss.dice, logits)
    assert bool((gradient[..., :2, :] == 0).all())
    assert bool((gradient[..., 2:, :] != 0).any())


def test_nothing_labelled_is_no_loss_and_not_nan() -> None:
    logits, masks = example()
    loss = segmentation_loss(logits, torch.full_like(masks, 255), WEIGHT)
    (gradient,) = torch.autograd.grad(loss.cross_entropy + loss.dice, logits)
    assert loss.cross_entropy.item() == loss.dice.item() == 0
    assert bool((gradient == 0).all())
