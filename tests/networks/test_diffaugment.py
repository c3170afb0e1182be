"""Differentiable augmentation: ranges, gradients, and one draw an image."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from networks.augment import DiffAugment
from networks.augment.diffaugment import CHANGES, color, cutout, translation


@pytest.mark.parametrize("name", CHANGES)
def test_gradients_pass_through_twice(name: str) -> None:
    images = torch.randn(2, 3, 8, 8, dtype=torch.float64, requires_grad=True)

    def change(x: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(0)
        return CHANGES[name](x)

    assert torch.autograd.gradcheck(change, images)
    assert torch.autograd.gradgradcheck(change, images)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), side=st.sampled_from([8, 16, 31]))
def test_translation_moves_pixels_and_changes_none(seed: int, side: int) -> None:
    torch.manual_seed(seed)
    images = torch.rand(3, 2, side, side) + 1
    moved, reach = translation(images), round(side / 8)
    for before, after in zip(images, moved, strict=True):
        padded = torch.nn.functional.pad(before, [reach] * 4)
        windows = padded.unfold(1, side, 1).unfold(2, side, 1)  # [C, 2 reach + 1, 2 reach + 1, side, side]
        same = (windows == after[:, None, None]).all(dim=(0, 3, 4))
        assert same.sum() >= 1


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), side=st.sampled_from([8, 16, 31]))
def test_cutout_blackens_at_most_a_square_of_half_the_side(seed: int, side: int) -> None:
    torch.manual_seed(seed)
    images = torch.ones(4, 1, side, side)
    for image in cutout(images):
        rows, columns = (image[0] == 0).any(dim=1).nonzero(), (image[0] == 0).any(dim=0).nonzero()
        assert 1 <= len(rows) <= round(side / 2)
        assert 1 <= len(columns) <= round(side / 2)
        assert (image == 0).sum() == len(rows) * len(columns)


def test_color_leaves_shapes_alone() -> None:
    torch.manual_seed(0)
    images = torch.randn(6, 3, 8, 8)
    changed = color(images)
    for before, after in zip(images, changed, strict=True):
        grey, shown = before.mean(0).flatten(), after.mean(0).flatten()
        slope = torch.corrcoef(torch.stack([grey, shown]))[0, 1]
        assert slope == pytest.approx(1, abs=1e-4)  # brightness and contrast only, once the colours are averaged
    assert not torch.allclose(changed[0] - images[0], changed[1] - images[1])


def test_each_image_and_each_call_gets_its_own_draw() -> None:
    torch.manual_seed(0)
    augment, image = DiffAugment(), torch.rand(1, 3, 16, 16)
    batch = augment(image.expand(4, -1, -1, -1))
    assert all(not torch.equal(batch[0], other) for other in batch[1:])
    assert not torch.equal(augment(image), augment(image))
    torch.manual_seed(1)
    once = augment(image)
    torch.manual_seed(1)
    assert torch.equal(augment(image), once)


def test_an_unknown_change_is_refused() -> None:
    with pytest.raises(ValueError, match="has the changes color, translation, cutout, got 'mixup'"):
        DiffAugment(["color", "mixup"])
