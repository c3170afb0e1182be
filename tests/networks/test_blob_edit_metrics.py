"""Figures on edits of blobs, where what they must be can be seen."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from networks.metrics import psnr
from networks.metrics.blob_edits import (
    associate,
    centroid,
    class_shares,
    followed,
    outside,
    owned,
    removed,
    standing_out,
    stood_on,
)

ONE = torch.tensor([1])


def square(x: int, y: int, side: int = 4, size: int = 16) -> Tensor:
    """A mask with a square of class 1."""
    mask = torch.zeros(1, size, size, dtype=torch.uint8)
    mask[:, y : y + side, x : x + side] = 1
    return mask


def test_shares_are_of_the_weight_and_leave_out_what_is_no_class() -> None:
    masks = torch.tensor([[[0, 1, 255, 1]]], dtype=torch.uint8)
    weights = torch.tensor([[[[0.5, 0.5, 0.0, 0.0]], [[0.0, 0.2, 0.2, 0.6]], [[0.0, 0.0, 0.0, 0.0]]]])
    expected = torch.tensor([[[0.5, 0.5], [0.0, 0.8], [0.0, 0.0]]])
    torch.testing.assert_close(class_shares(weights, masks, 2), expected)
    with pytest.raises(ValueError, match=r"weights must be \[N, K, H, W\] and masks \[N, H, W\]"):
        class_shares(weights, masks[:, 0], 2)


def test_a_blob_is_what_stands_out_and_not_what_is_everywhere() -> None:
    expected = torch.tensor([0.6, 0.35, 0.04, 0.01])
    assert standing_out(torch.tensor([0.7, 0.05, 0.25, 0.0]), expected) == 2
    assert standing_out(torch.tensor([0.8, 0.1, 0.05, 0.05]), expected) == 0    # a few pixels are noise
    assert standing_out(torch.tensor([0.05, 0.02, 0.02, 0.0]), expected) == 0   # nearly nothing has a class


def test_a_blob_that_is_the_same_everywhere_is_consistent() -> None:
    expected = torch.tensor([0.5, 0.25, 0.25])
    bed, lamp = [0.2, 0.8, 0.0], [0.2, 0.0, 0.8]
    shares = torch.tensor([[bed, bed, bed], [bed, lamp, lamp], [bed, bed, bed]])
    visible = torch.tensor([[True, True, False], [True, True, False], [False, True, False]])
    found = associate(shares, expected, visible)
    assert found.label.tolist()[:2] == [1, 1]
    assert found.consistency[:2].tolist() == [1.0, pytest.approx(2 / 3)]
    assert math.isnan(found.consistency[2])
    assert found.used == [0, 1]
    assert found.in_scene[1].tolist() == [1, 2, 2]
    torch.testing.assert_close(found.purity[:2], torch.tensor([0.8, 0.8 * 2 / 3]))


def test_an_object_that_moves_with_its_blob_goes_all_the_way() -> None:
    vector = torch.tensor([[0.25, -0.125]])
    found = followed(square(4, 6), square(8, 4), ONE, vector)
    torch.testing.assert_close(found.share, torch.ones(1))
    torch.testing.assert_close(found.error, torch.zeros(1), atol=1e-6, rtol=0)
    half = followed(square(4, 6), square(6, 5), ONE, vector)
    torch.testing.assert_close(half.share, torch.tensor([0.5]))
    torch.testing.assert_close(half.error, vector.norm(dim=1) / 2)


@pytest.mark.parametrize("after", [square(4, 6), torch.zeros(1, 16, 16, dtype=torch.uint8)])
def test_an_object_that_stays_or_vanishes_does_not_follow(after: Tensor) -> None:
    found = followed(square(4, 6), after, ONE, torch.tensor([[0.25, 0.0]]))
    assert found.share.item() == 0
    assert found.error.item() == 0.25


def test_the_middle_is_in_widths_of_the_image_and_none_where_there_is_nothing() -> None:
    torch.testing.assert_close(centroid(square(4, 6), ONE), torch.tensor([[6 / 16, 8 / 16]]))
    assert centroid(square(4, 6), torch.tensor([2])).isnan().all()


def test_what_is_removed_is_counted_where_the_blob_was() -> None:
    before, weight = square(4, 4), torch.zeros(1, 16, 16)
    weight[:, 4:8, 4:8] = 0.5
    nothing = torch.zeros_like(before)
    assert removed(before, nothing, weight, ONE).item() == 1
    assert removed(before, before, weight, ONE).item() == 0
    assert removed(before, square(6, 4), weight, ONE).item() == 0.5
    assert removed(square(6, 4), before, weight, ONE).item() == -1          # there is more of it
    with pytest.raises(ValueError, match="nothing of the class to remove"):
        removed(nothing, before, weight, ONE)


def test_an_object_is_a_blobs_own_where_nothing_else_is_of_its_class() -> None:
    weight = torch.zeros(1, 16, 16)
    weight[:, 4:8, 4:8] = 0.5
    assert owned(weight, square(4, 4), ONE).item()
    assert not owned(weight, square(6, 4), ONE).item()
    assert not owned(weight, torch.zeros(1, 16, 16, dtype=torch.uint8), ONE).item()


def test_the_object_of_a_class_is_where_most_of_the_blob_lies() -> None:
    masks = square(2, 6) | square(10, 6)
    instances = square(2, 6) + 2 * square(10, 6)
    weight = torch.zeros(1, 16, 16)
    weight[:, 6:10, 8:14] = 0.5
    weight[:, 6:10, 2:4] = 0.9
    assert torch.equal(stood_on(weight, masks, ONE, instances), square(10, 6).bool())
    assert not stood_on(weight, masks, torch.tensor([2]), instances).any()        # nothing of that class
    assert not stood_on(weight, masks, ONE, torch.zeros_like(masks)).any()        # nothing that can be told


def test_outside_sees_only_what_lies_outside() -> None:
    torch.manual_seed(0)
    before, noise = torch.rand(2, 3, 8, 8), 0.1 * torch.randn(2, 3, 8, 8)
    region = torch.zeros(2, 8, 8)
    region[0, :, :4] = 1

    def critic(x: Tensor, y: Tensor) -> Tensor:
        return (x - y).abs().flatten(1).sum(1)

    inside = torch.zeros_like(noise)
    inside[:, :, :, :4] = noise[:, :, :, :4]
    quality, distance = outside(before, before + inside, region, critic)
    assert quality[0] > 100
    assert distance[0] == 0
    torch.testing.assert_close(quality[1], psnr(before, before + inside)[1])
    assert distance[1] > 0
    half, _ = outside(before, before + noise, region, critic)
    torch.testing.assert_close(half[0], psnr(before[..., 4:], (before + noise)[..., 4:])[0])
