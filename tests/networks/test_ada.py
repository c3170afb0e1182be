"""Adaptive augmentation: maps of the plane and of colours that do what they say, gradients, and the controller."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from networks.augment import AdaptiveAugment
from networks.augment import ada as module
from networks.augment.resample import sample_image

SIZE = 32


def smooth(size: int = SIZE, n: int = 1) -> Tensor:
    """Images without much detail, ``[n, 3, size, size]``."""
    drawn = torch.randn(n, 3, size // 8, size // 8, generator=torch.Generator().manual_seed(0))
    return F.interpolate(drawn, size=(size, size), mode="bicubic").clamp(-1, 1)


def moved(images: Tensor, *rows: list[float]) -> Tensor:
    """The result of one inverse map, in pixels from the centre."""
    inverse = torch.tensor([*rows, [0.0, 0.0, 1.0]]).expand(len(images), 3, 3)
    return AdaptiveAugment()._resampled(images, inverse)


def inner(x: Tensor, margin: int = 6) -> Tensor:
    return x[..., margin:-margin, margin:-margin]


# --- sampling


def test_sampling_is_grid_sample_and_differentiates_twice() -> None:
    torch.manual_seed(0)
    image, grid = torch.randn(2, 3, 5, 6, dtype=torch.float64, requires_grad=True), torch.rand(2, 4, 4, 2) * 3 - 1.5
    grid = grid.double()
    expected = F.grid_sample(image, grid, padding_mode="reflection", align_corners=False)
    torch.testing.assert_close(sample_image(image, grid), expected)
    assert torch.autograd.gradcheck(lambda x: sample_image(x, grid), image)
    assert torch.autograd.gradgradcheck(lambda x: sample_image(x, grid), image)


# --- geometry


def test_nothing_moves_without_a_map() -> None:
    images = smooth(n=2)
    torch.testing.assert_close(moved(images, [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]), images, atol=0.02, rtol=0)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (([-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]), lambda x: x.flip(3)),
        (([1.0, 0.0, 3.0], [0.0, 1.0, 0.0]), lambda x: x.roll(-3, dims=3)),
        (([1.0, 0.0, 0.0], [0.0, 1.0, -2.0]), lambda x: x.roll(2, dims=2)),
        (([0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]), lambda x: x.rot90(-1, (2, 3))),
        (([0.5, 0.0, 0.0], [0.0, 0.5, 0.0]), lambda x: F.interpolate(inner(x, 8), scale_factor=2, mode="bicubic")),
    ],
    ids=["flip", "right", "down", "turn", "zoom"],
)
def test_a_map_moves_the_picture(rows: tuple[list[float], list[float]], expected: object) -> None:
    images = smooth()
    torch.testing.assert_close(inner(moved(images, *rows)), inner(expected(images)), atol=0.06, rtol=0)


def test_what_comes_from_outside_is_the_mirrored_picture() -> None:
    images = smooth()
    out = moved(images, [1.0, 0.0, 10.0], [0.0, 1.0, 0.0])  # ten columns beyond the right edge come in
    mirrored = F.pad(images, (0, 10, 0, 0), mode="reflect")[..., 10:]
    torch.testing.assert_close(inner(out, 2), inner(mirrored, 2), atol=0.08, rtol=0)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_maps_of_the_plane_can_be_undone(seed: int) -> None:
    torch.manual_seed(seed)
    inverse = module._geometry(8, 0.7, SIZE)
    assert torch.equal(inverse[:, 2], torch.tensor([0.0, 0.0, 1.0]).expand(8, 3))
    area = torch.linalg.det(inverse[:, :2, :2]).abs()
    assert ((area > 2**-4) & (area < 2**4)).all()  # flips and turns keep areas, scales change them by a few octaves


def test_each_change_happens_as_often_as_asked_for() -> None:
    torch.manual_seed(0)
    eye = torch.eye(3)
    for p in (0.0, 0.3, 1.0):
        changed = (module._perhaps(torch.zeros(4000, 3, 3), p) != eye).any(dim=(1, 2)).float().mean()
        assert changed.item() == pytest.approx(p, abs=0.03)
    assert torch.equal(module._geometry(5, 0.0, SIZE), eye.expand(5, 3, 3))
    assert torch.equal(module._colors(5, 0.0), torch.eye(4).expand(5, 4, 4))


# --- colour


def test_hue_turns_about_grey_and_keeps_lengths() -> None:
    angle = torch.tensor([0.0, 2 * math.pi / 3, 1.0])
    turn = module._turn_hue(angle)[:, :3, :3]
    torch.testing.assert_close(turn[0], torch.eye(3))
    torch.testing.assert_close(turn[1] @ torch.tensor([1.0, 0, 0]), torch.tensor([0.0, 1, 0]), atol=1e-6, rtol=0)
    torch.testing.assert_close(turn @ turn.mT, torch.eye(3).expand(3, 3, 3), atol=1e-6, rtol=0)
    torch.testing.assert_close(turn @ torch.ones(3), torch.ones(3, 3))


def test_one_channel_gets_no_colours() -> None:
    torch.manual_seed(0)
    augment, grey = AdaptiveAugment(p=1.0), smooth(n=4)[:, :1]
    assert augment(grey).shape == grey.shape


# --- the whole


def test_nothing_happens_at_probability_zero() -> None:
    images = smooth(n=2)
    assert AdaptiveAugment()(images) is images


def test_every_image_gets_its_own_draw_and_gradients_reach_the_weights_of_a_penalty() -> None:
    torch.manual_seed(0)
    augment, image = AdaptiveAugment(p=0.9), smooth()
    batch = augment(image.expand(4, -1, -1, -1))
    assert all(not torch.equal(batch[0], other) for other in batch[1:])
    weight = torch.randn(3 * SIZE * SIZE, requires_grad=True)
    leaf = image.clone().requires_grad_()
    (gradient,) = torch.autograd.grad((augment(leaf).flatten() * weight).sum(), leaf, create_graph=True)
    (by_weight,) = torch.autograd.grad(gradient.square().sum(), weight)  # R1, through the augmentation
    assert by_weight.abs().sum() > 0


def test_a_small_probability_leaves_most_images_nearly_alone() -> None:
    torch.manual_seed(0)
    images = smooth(n=1).expand(200, -1, -1, -1)
    close = (AdaptiveAugment(p=0.02)(images) - images).abs().mean(dim=(1, 2, 3)) < 0.01
    assert 0.65 < close.float().mean() < 0.9  # (1 - p)^13 or so


# --- the controller


def test_p_rises_while_the_discriminator_is_sure_and_falls_again() -> None:
    augment = AdaptiveAugment(target=0.6, interval=2, full_images=80)
    sure, unsure = torch.ones(4, 1), torch.tensor([[1.0], [-1], [1], [-1]])
    augment.observe(sure)
    assert float(augment.p) == 0
    augment.observe(sure)
    assert float(augment.p) == pytest.approx(8 / 80)
    for _ in range(2):
        augment.observe(sure)
    assert float(augment.p) == pytest.approx(16 / 80)
    for _ in range(6):
        augment.observe(unsure)
    assert float(augment.p) == 0  # never below


def test_several_logits_an_image_are_one_opinion() -> None:
    one, several = (AdaptiveAugment(target=0.6, interval=1, full_images=80) for _ in range(2))
    one.observe(torch.ones(4, 1))
    several.observe(torch.ones(4, 16))
    assert float(several.p) == float(one.p) == pytest.approx(4 / 80)
    several.observe(torch.tensor([[1.0, -1, 1, -1]]).expand(4, -1))  # unsure
    assert float(several.p) == 0


def test_p_never_exceeds_one() -> None:
    augment = AdaptiveAugment(interval=1, full_images=8, p=0.9)
    augment.observe(torch.ones(4, 1))
    assert float(augment.p) == 1


@pytest.mark.parametrize("arguments", [{"p": 1.5}, {"target": 1.0}, {"interval": 0}, {"full_images": 0}])
def test_numbers_that_make_no_sense_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="ADA needs 0 <= p <= 1"):
        AdaptiveAugment(**arguments)
