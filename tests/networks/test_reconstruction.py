"""The losses of an encoder beside a GAN, and the lean encoder."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from networks.stylegan2 import LeanEncoder
from networks.stylegan2.reconstruction import pyramid_l1, sliced_wasserstein


@given(shift=st.floats(-2, 2), levels=st.integers(1, 4))
def test_a_constant_shift_counts_once_a_level(shift: float, levels: int) -> None:
    x = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert float(pyramid_l1(x + shift, x, levels)) == pytest.approx(levels * abs(shift), abs=1e-4)


def test_edges_count_beside_pixels() -> None:
    x = torch.zeros(1, 1, 8, 8)
    x[..., 4:] = 1  # one edge down the middle
    assert float(pyramid_l1(x, torch.zeros_like(x), levels=1)) == pytest.approx(0.5 + 1 / 7)


def test_equal_samples_in_any_order_are_at_distance_nothing() -> None:
    x = torch.randn(32, 5, generator=torch.Generator().manual_seed(0))
    assert float(sliced_wasserstein(x, x.flip(0))) == pytest.approx(0, abs=1e-10)


@given(scale=st.floats(0, 10))
def test_a_shift_counts_its_mean_square(scale: float) -> None:
    torch.manual_seed(0)
    x, shift = torch.randn(16, 4), scale * torch.randn(4)
    # A random direction keeps 1/D of a vector's squared length.
    distance = float(sliced_wasserstein(x, x + shift, directions=4096))
    assert distance == pytest.approx(float(shift.square().mean()), rel=0.1, abs=1e-6)


@pytest.mark.parametrize("shape", [(3, 4), (4, 3), (4, 4, 1)])
def test_samples_of_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"one shape, got \[4, 4\]"):
        sliced_wasserstein(torch.zeros(4, 4), torch.zeros(shape))


def test_the_encoder_is_rebuilt_from_its_config() -> None:
    encoder = LeanEncoder(16, 6, img_channels=1, channels=(4, 8))
    again = LeanEncoder(**encoder.config)
    again.load_state_dict(encoder.state_dict())
    img = torch.randn(2, 1, 16, 16)
    assert again(img).shape == (2, 6)
    torch.testing.assert_close(again(img), encoder(img), rtol=0, atol=0)


def test_channels_that_lead_elsewhere_are_refused() -> None:
    with pytest.raises(ValueError, match="2 fit 16 pixels, not 64"):
        LeanEncoder(64, 8, channels=(4, 4))
    with pytest.raises(ValueError, match="16"):
        LeanEncoder(16, 8, channels=(4, 4))(torch.zeros(1, 3, 8, 8))
