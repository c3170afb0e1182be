"""Losses by their formulas, and R1 against gradients known by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from networks.gan_losses import discriminator_loss, generator_loss, path_lengths, r1_penalty

REAL, FAKE = torch.tensor([[0.5], [2.0]]), torch.tensor([[-3.0], [0.25]])


def test_logistic_is_cross_entropy() -> None:
    bce = nn.functional.binary_cross_entropy_with_logits
    expected = bce(REAL, torch.ones(2, 1)) + bce(FAKE, torch.zeros(2, 1))
    torch.testing.assert_close(discriminator_loss(REAL, FAKE, "logistic"), expected)
    torch.testing.assert_close(generator_loss(FAKE, "logistic"), bce(FAKE, torch.ones(2, 1)))


def test_hinge_stops_at_the_margin() -> None:
    assert discriminator_loss(REAL, FAKE, "hinge").item() == pytest.approx((0.5 + 0) / 2 + (0 + 1.25) / 2)
    assert generator_loss(FAKE, "hinge").item() == pytest.approx((3.0 - 0.25) / 2)


@pytest.mark.parametrize("kind", ["logistic", "hinge"])
def test_several_logits_an_image_count_alike(kind: str) -> None:
    real, fake = REAL.expand(-1, 5), FAKE.expand(-1, 5)
    torch.testing.assert_close(discriminator_loss(real, fake, kind), discriminator_loss(REAL, FAKE, kind))
    torch.testing.assert_close(generator_loss(fake, kind), generator_loss(FAKE, kind))


@pytest.mark.parametrize("call", [lambda: discriminator_loss(REAL, FAKE, "l2"), lambda: generator_loss(FAKE, "l2")])
def test_an_unknown_loss_is_named(call: object) -> None:
    with pytest.raises(ValueError, match="loss must be logistic or hinge, got 'l2'"):
        call()


def test_logistic_pulls_on_the_generator_where_the_discriminator_is_sure() -> None:
    logits = torch.tensor([[-1000.0], [-50.0], [50.0]], requires_grad=True)
    (pull,) = torch.autograd.grad(generator_loss(logits, "logistic"), logits)
    torch.testing.assert_close(pull, torch.tensor([[-1.0], [-1.0], [0.0]]) / 3)


def test_r1_of_a_linear_discriminator_is_the_norm_of_its_weight() -> None:
    weight = torch.randn(3 * 4 * 4, 1, dtype=torch.float64)
    images = torch.randn(5, 3, 4, 4, dtype=torch.float64)
    penalty = r1_penalty(lambda x: x.flatten(1) @ weight, images)
    torch.testing.assert_close(penalty, weight.square().sum().expand(5))


def test_r1_is_of_each_image_and_reaches_the_weights() -> None:
    weight = torch.tensor([2.0], dtype=torch.float64, requires_grad=True)
    images = torch.randn(3, 1, 2, 2, dtype=torch.float64)
    penalty = r1_penalty(lambda x: weight * x.square().sum(dim=(1, 2, 3))[:, None] / 2, images)  # gradient: weight * x
    norms = images.square().sum(dim=(1, 2, 3))
    torch.testing.assert_close(penalty, 4 * norms)
    (slope,) = torch.autograd.grad(penalty.sum(), weight)
    torch.testing.assert_close(slope, 2 * weight.detach() * norms.sum())


def test_path_lengths_of_a_linear_generator_are_those_of_its_jacobian() -> None:
    torch.manual_seed(0)
    n, rows, width, size = 4000, 2, 3, 4
    jacobian = torch.randn(rows * width, size * size, dtype=torch.float64)
    ws = torch.randn(n, rows, width, dtype=torch.float64, requires_grad=True)
    images = (ws.flatten(1) @ jacobian).view(n, 1, size, size)
    lengths = path_lengths(images, ws)
    # E |J^T y|^2 for y of variance 1 / (H W), as a mean over the rows.
    expected = jacobian.square().sum() / size**2 / rows
    assert lengths.square().mean().item() == pytest.approx(expected.item(), rel=0.05)


def test_path_lengths_reach_the_weights() -> None:
    torch.manual_seed(0)
    scale = torch.ones([], dtype=torch.float64, requires_grad=True)
    ws = torch.randn(3, 2, 4, dtype=torch.float64, requires_grad=True)
    lengths = path_lengths((scale * ws.sum(dim=1)).view(3, 1, 2, 2), ws)
    (slope,) = torch.autograd.grad(lengths.sum(), scale)
    torch.testing.assert_close(slope, lengths.detach().sum())  # lengths are linear in the scale
