"""Choosing what to label: far apart, where members disagree, and the same whatever the batch."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from networks.latent import Latent
from networks.segmentation import head_for
from networks.selection import critic_features, disagreement, generator_features, k_center
from networks.stylegan2 import Generator


@pytest.fixture(scope="module")
def generator() -> Generator:
    torch.manual_seed(0)
    return Generator(16, z_dim=8, w_dim=8, mapping_layers=2, channel_base=128, channel_max=8).eval()


def radius(x: torch.Tensor, chosen: list[int]) -> float:
    """How far the furthest row is from the nearest chosen one."""
    return torch.cdist(x, x[chosen]).amin(1).max().item()


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000), count=st.integers(2, 6))
def test_the_greedy_choice_covers_within_twice_the_best(seed: int, count: int) -> None:
    x = torch.randn(9, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    best = min(radius(x, [*pick]) for pick in torch.combinations(torch.arange(9), count).tolist())
    chosen = k_center(x, count)
    assert len(set(chosen)) == count
    assert radius(x, chosen) <= 2 * best + 1e-9  # Gonzalez 1985


def test_a_longer_choice_begins_with_a_shorter_one_and_goes_on_from_what_is_taken() -> None:
    x = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
    whole = k_center(x, 8)
    assert k_center(x, 3) == whole[:3]
    assert k_center(x, 5, chosen=whole[:3]) == whole[3:]


def test_weights_move_the_choice_and_a_weight_of_zero_is_chosen_last() -> None:
    x = torch.tensor([[0.0], [1.0], [4.0], [9.0]])
    assert k_center(x, 1, weights=torch.tensor([0.1, 1.0, 0.2, 0.2])) == [1]
    assert k_center(x, 1, chosen=[1], weights=torch.tensor([1.0, 1.0, 3.0, 0.1])) == [2]
    assert k_center(x, 3, chosen=[1], weights=torch.tensor([1.0, 1.0, 0.0, 1.0]))[-1] == 2


def test_equal_rows_are_still_chosen_once_each() -> None:
    assert sorted(k_center(torch.zeros(4, 2), 4)) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("count", "chosen", "weights"),
    [(5, [], None), (4, [0], None), (1, [], torch.tensor([1.0, -1.0, 0.0, 0.0])), (1, [], torch.full((4,), torch.nan))],
)
def test_what_cannot_be_chosen(count: int, chosen: list[int], weights: torch.Tensor | None) -> None:
    with pytest.raises(ValueError, match=r"rows|weights"):
        k_center(torch.zeros(4, 2), count, chosen, weights)


def test_features_tell_images_apart_whatever_the_batch(generator: Generator) -> None:
    codes = generator.sample(5, seed=0)
    codes = Latent.cat([codes, codes[2]])
    whole, pieces = generator_features(generator, codes, batch=6), generator_features(generator, codes, batch=2)
    torch.testing.assert_close(whole, pieces, rtol=1e-4, atol=1e-5)
    distance = torch.cdist(whole, whole)
    assert distance[2, 5] < 1e-4
    assert distance[0, 1] > 0.1
    read = [c for name, (c, _) in generator.feature_shapes.items() if name not in generator.constant_features]
    assert whole.shape == (6, 4 * sum(read))
    assert whole.square().sum(1).mean() <= len(generator.feature_shapes)  # each map adds at most 1


def test_a_critic_sees_the_renderings(generator: Generator) -> None:
    class Mean(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            assert images.abs().max() <= 1
            return images.mean((2, 3))

    found = critic_features(Mean(), generator, generator.sample(5, seed=0), batch=2)
    assert found.shape == (5, 3)
    torch.testing.assert_close(found.mean(0), torch.zeros(3), atol=1e-5, rtol=0)


def test_members_that_agree_doubt_nothing(generator: Generator) -> None:
    codes = generator.sample(3, seed=0)
    one = head_for(generator, "default", 3, members=1, width=8, hidden=8).eval()
    several = head_for(generator, "default", 3, members=4, width=8, hidden=8).eval()
    assert disagreement(one, generator, codes).abs().max() < 1e-6
    found = disagreement(several, generator, codes, batch=2)
    assert found.shape == (3,)
    assert (found > 1e-4).all()
    torch.testing.assert_close(disagreement(several, generator, codes[1]), found[1:2], rtol=1e-3, atol=1e-6)
