"""Equalised layers keep the scale of what passes through them; and the rules of a network's sizes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from networks.stylegan2.layers import Conv2d, FullyConnected, normalize_2nd_moment
from networks.stylegan2.resolutions import block_channels, block_dtypes


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


STYLES = draw(3, 5, seed=1)


def test_equalised_layers_keep_unit_variance() -> None:
    torch.manual_seed(0)
    linear, conv = FullyConnected(256, 256, act="lrelu", lr_mult=0.01), Conv2d(64, 64, 3, act="lrelu")
    assert linear(torch.randn(256, 256)).square().mean().item() == pytest.approx(1, abs=0.15)
    assert conv(torch.randn(4, 64, 12, 12))[..., 1:-1, 1:-1].square().mean().item() == pytest.approx(1, abs=0.15)


def test_multiplier_slows_learning_and_leaves_the_output_scale() -> None:
    torch.manual_seed(0)
    fast, slow = FullyConnected(8, 4), FullyConnected(8, 4, lr_mult=0.01)
    slow.weight.data.copy_(fast.weight * 100)
    slow.bias.data.copy_(torch.ones(4) * 100)
    fast.bias.data.fill_(1)
    x = torch.randn(2, 8)
    torch.testing.assert_close(slow(x), fast(x))


def test_gain_of_a_clamped_convolution_scales_its_clamp() -> None:
    torch.manual_seed(0)
    layer, x = Conv2d(3, 4, 3, act="lrelu", conv_clamp=0.5), 10 * torch.randn(1, 3, 8, 8)
    assert layer(x).abs().max().item() == 0.5
    torch.testing.assert_close(layer(x, gain=0.25), 0.25 * layer(x))


@settings(deadline=None, max_examples=20)
@given(scale=st.floats(0.1, 100.0))
def test_norm_is_blind_to_scale(scale: float) -> None:
    torch.testing.assert_close(normalize_2nd_moment(STYLES * scale), normalize_2nd_moment(STYLES), rtol=1e-4, atol=1e-6)


def test_channels_halve_from_the_bound_on() -> None:
    assert block_channels(1024, 32768, 512) == {
        4: 512, 8: 512, 16: 512, 32: 512, 64: 512, 128: 256, 256: 128, 512: 64, 1024: 32
    }  # fmt: skip


@pytest.mark.parametrize("resolution", [8, 0, 48, -64])
def test_other_resolutions_are_refused(resolution: int) -> None:
    with pytest.raises(ValueError, match=f"img_resolution must be a power of two of at least 16, got {resolution}"):
        block_channels(resolution, 1024, 64)


def test_half_precision_is_of_the_finest_blocks_but_never_at_4() -> None:
    half = {r for r, dtype in block_dtypes(64, 2, "float16").items() if dtype == torch.float16}
    assert half == {32, 64}
    assert block_dtypes(16, 9, "bfloat16") == {4: torch.float32, 8: torch.bfloat16, 16: torch.bfloat16}
    with pytest.raises(ValueError, match="half_dtype must be float16 or bfloat16, got 'int8'"):
        block_dtypes(64, 1, "int8")
