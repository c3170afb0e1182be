"""Modulated convolution: two ways to one result, and what demodulation makes it blind to."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradgradcheck
from torch.nn import functional as F

from cuda_ops.upfirdn2d import setup_filter, upsample2d
from networks.stylegan2.layers import Conv2d, FullyConnected, modulated_conv2d, normalize_2nd_moment
from networks.stylegan2.resolutions import block_channels, block_dtypes

F4 = setup_filter().double()


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


X, STYLES = draw(3, 5, 6, 6), draw(3, 5, seed=1)


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("up", [1, 2])
@pytest.mark.parametrize("demodulate", [True, False])
@pytest.mark.parametrize("noisy", [True, False])
def test_fused_equals_scaled(kernel: int, up: int, demodulate: bool, noisy: bool) -> None:
    weight = draw(4, 5, kernel, kernel, seed=2)
    noise = draw(3, 1, 6 * up, 6 * up, seed=3) if noisy else None
    a, b = (
        modulated_conv2d(X, weight, STYLES, noise, up, F4, demodulate=demodulate, fused=fused, gain=1.7)
        for fused in (True, False)
    )
    assert a.shape == (3, 4, 6 * up, 6 * up)
    torch.testing.assert_close(a, b)


def test_it_is_equations_1_and_3_sample_by_sample() -> None:
    weight = draw(4, 5, 3, 3, seed=2)
    rows = []
    for x, style in zip(X, STYLES, strict=True):
        w = weight * style[None, :, None, None]
        w = w / w.square().sum(dim=(1, 2, 3), keepdim=True).sqrt()
        rows.append(F.conv2d(x[None], w, padding=1))
    torch.testing.assert_close(modulated_conv2d(X, weight, STYLES), torch.cat(rows))


@pytest.mark.parametrize("fused", [True, False])
@settings(deadline=None, max_examples=15)
@given(scale=st.floats(0.1, 100), style_scale=st.floats(0.1, 100))
def test_demodulation_is_blind_to_the_scale_of_weights_and_styles(
    fused: bool, scale: float, style_scale: float
) -> None:
    weight = draw(4, 5, 3, 3, seed=2)
    expected = modulated_conv2d(X, weight, STYLES, fused=fused)
    got = modulated_conv2d(X, weight * scale, STYLES * style_scale, fused=fused)
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-5)  # the epsilon of 1e-8 shows


def test_gain_is_a_factor_on_output_and_noise() -> None:
    weight, noise = draw(4, 5, 3, 3, seed=2), draw(6, 6, seed=3)
    torch.testing.assert_close(
        modulated_conv2d(X, weight, STYLES, noise, gain=3.0), 3 * modulated_conv2d(X, weight, STYLES, noise)
    )


def test_upsampling_1x1_is_the_plain_upsample_of_the_result() -> None:
    weight = draw(4, 5, 1, 1, seed=2)
    got = modulated_conv2d(X, weight, STYLES, up=2, resample_filter=F4)
    torch.testing.assert_close(got, upsample2d(modulated_conv2d(X, weight, STYLES), F4))


@pytest.mark.parametrize("fused", [True, False])
def test_second_derivative(fused: bool) -> None:
    x, w, s = (t.requires_grad_(True) for t in (draw(2, 2, 3, 3), draw(2, 2, 3, 3, seed=1), draw(2, 2, seed=2)))
    assert gradgradcheck(lambda x, w, s: modulated_conv2d(x, w, s, up=2, resample_filter=F4, fused=fused), (x, w, s))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 5e-3), (torch.bfloat16, 4e-2)])
@pytest.mark.parametrize("fused", [True, False])
def test_half_precision_survives_large_styles(dtype: torch.dtype, tolerance: float, fused: bool) -> None:
    weight, styles = draw(4, 5, 3, 3, seed=2).float(), 1e4 * STYLES.float()  # w * s alone overflows float16
    full = modulated_conv2d(X.float(), weight, styles, fused=fused)
    half = modulated_conv2d(X.to(dtype), weight, styles, fused=fused)
    assert half.dtype == dtype
    assert (half.float() - full).abs().max() < tolerance * full.abs().max()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"styles": STYLES[:2]}, r"styles must be \[3, 5\] and weight \[O, 5, k, k\], got \[2, 5\] and \[4, 5, 3, 3\]"),
        ({"weight": draw(4, 6, 3, 3)}, r"styles must be \[3, 5\] and .*, got \[3, 5\] and \[4, 6, 3, 3\]"),
        ({"up": 3}, "up must be 1, or 2 with a resample_filter, got up=3"),
        ({"up": 2}, "up must be 1, or 2 with a resample_filter, got up=2"),
    ],
)
def test_a_wrong_call_is_named(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        modulated_conv2d(**{"x": X, "weight": draw(4, 5, 3, 3), "styles": STYLES, **arguments})


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
