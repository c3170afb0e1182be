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
    torch.testing.assert_close(segmentation_loss(logits, masks, WEIGHT, dice=0), sum(each) / MEMBERS)


def dice(logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Mean over members and classes that occur, written out."""
    labelled, each = masks != 255, []
    for member in logits.softmax(dim=2):
        for k in range(CLASSES - 1):
            p, t = member[:, k][labelled], (masks == k)[labelled].double()
            each.append(1 - 2 * (p * t).sum() / (p.sum() + t.sum()))
    return torch.stack(each).mean()


def test_dice_is_the_mean_over_members_and_classes_that_occur() -> None:
    logits, masks = example()
    torch.testing.assert_close(segmentation_loss(logits, masks, WEIGHT, 0), dice(logits, masks))


@pytest.mark.parametrize("ignored", [0, 2])
def test_the_gradient_is_autograds(ignored: int) -> None:
    logits, masks = example()
    masks[:, :2] = 1
    masks[:, :ignored] = 255
    plain = dice(logits, masks) * 0.7 + 0.3 / MEMBERS * sum(
        cross_entropy(member, masks, weight=WEIGHT, ignore_index=255, reduction="sum") for member in logits
    )
    (expected,) = torch.autograd.grad(5 * plain, logits)
    (found,) = torch.autograd.grad(5 * segmentation_loss(logits, masks, WEIGHT, 0.3, 0.7), logits)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logits_get_the_loss_and_gradient_of_full_precision(dtype: torch.dtype) -> None:
    logits, masks = example()
    half = logits.detach().to(dtype).requires_grad_()
    full, weight = half.detach().float().requires_grad_(), WEIGHT.float()
    expected = segmentation_loss(full, masks, weight)
    with torch.autocast("cpu", torch.bfloat16):
        found = segmentation_loss(half, masks, weight)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(
        torch.autograd.grad(found, half)[0], torch.autograd.grad(expected, full)[0].to(dtype)
    )  # fmt: skip


def test_logits_far_apart_give_numbers() -> None:
    logits = torch.tensor([-80.0, 80.0, 0.0, 0.0, 0.0]).view(1, 1, 5, 1, 1).expand(1, 1, 5, 4, 4).clone()
    masks = torch.zeros(1, 4, 4, dtype=torch.int64)
    loss = segmentation_loss(logits.requires_grad_(), masks, WEIGHT.float())
    (gradient,) = torch.autograd.grad(loss, logits)
    assert bool(loss.isfinite())
    assert bool(gradient.isfinite().all())


def test_a_second_walk_back_is_refused() -> None:
    logits, masks = example()
    loss = segmentation_loss(logits, masks, WEIGHT)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_truth_has_no_loss_and_its_opposite_all_of_it() -> None:
    _, masks = example()
    truth = torch.nn.functional.one_hot(masks.where(masks != 255, 0), CLASSES).movedim(-1, 1).double()
    right = segmentation_loss(100 * truth[None], masks, WEIGHT)
    assert right.item() == pytest.approx(0, abs=1e-9)
    wrong = segmentation_loss(100 * truth.roll(1, dims=1)[None], masks, WEIGHT, cross_entropy=0)
    assert wrong.item() == pytest.approx(1, abs=1e-9)


def test_dice_weighs_classes_not_pixels() -> None:
    masks = torch.zeros(1, 16, 16, dtype=torch.int64)
    masks[0, 0, 0] = 1
    all_background = torch.tensor([50.0, 0.0]).view(1, 1, 2, 1, 1).expand(1, 1, 2, 16, 16)
    assert segmentation_loss(all_background, masks, torch.ones(2), 0).item() == pytest.approx(0.5, abs=0.01)


def test_ignored_pixels_have_no_gradient() -> None:
    logits, masks = example()
    loss = segmentation_loss(logits, masks, WEIGHT)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert bool((gradient[..., :2, :] == 0).all())
    assert bool((gradient[..., 2:, :] != 0).any())


def test_ignored_pixels_do_not_change_the_loss() -> None:
    logits, masks = example()
    changed = logits.detach().clone()
    changed[..., :2, :] += torch.randn(changed[..., :2, :].shape, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(segmentation_loss(changed, masks, WEIGHT), segmentation_loss(logits, masks, WEIGHT))


def test_nothing_labelled_is_no_loss_and_not_nan() -> None:
    logits, masks = example()
    loss = segmentation_loss(logits, torch.full_like(masks, 255), WEIGHT)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss.item() == 0
    assert bool((gradient == 0).all())
