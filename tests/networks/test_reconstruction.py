"""The loss of an encoder beside a GAN, the lean encoder, and the critic of its codes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from networks.stylegan2 import LeanEncoder
from networks.stylegan2.code_critic import CodeCritic
from networks.stylegan2.reconstruction import pyramid_l1


@given(shift=st.floats(-2, 2), levels=st.integers(1, 4))
def test_a_constant_shift_counts_once_a_level(shift: float, levels: int) -> None:
    x = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert float(pyramid_l1(x + shift, x, levels)) == pytest.approx(levels * abs(shift), abs=1e-4)


def test_edges_count_beside_pixels() -> None:
    x = torch.zeros(1, 1, 8, 8)
    x[..., 4:] = 1  # one edge down the middle
    assert float(pyramid_l1(x, torch.zeros_like(x), levels=1)) == pytest.approx(0.5 + 1 / 7)


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


def test_the_critic_sees_that_codes_are_all_alike() -> None:
    critic, w = CodeCritic(4, width=8), torch.randn(16, 4)
    assert critic(w).shape == (16, 1)
    assert not torch.allclose(critic(w)[0], critic(w[:1].repeat(16, 1))[0])
    with pytest.raises(ValueError, match="groups of 8, got 12"):
        critic(w[:12])
