"""Modulated convolution against its definition, a kernel for each sample, and what demodulation makes it blind to."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional as F

from cuda_ops.modulated_conv2d import modulated_conv2d
from cuda_ops.upfirdn2d import filter2d, setup_filter, upsample2d

F4 = setup_filter().double()


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


X, STYLES = draw(3, 5, 6, 6), draw(3, 5, seed=1)


def definition(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    noise: Tensor | None = None,
    noise_strength: Tensor | float = 1.0,
    bias: Tensor | None = None,
    up: int = 1,
    resample_filter: Tensor | None = None,
    demodulate: bool = True,
    slope: float = 1.0,
    gain: float = 1.0,
    clamp: float = math.inf,
) -> Tensor:
    """Equations 1 and 3, sample by sample."""
    rows, k = [], weight.shape[-1]
    for image, style in zip(x, styles, strict=True):
        w = weight * style[None, :, None, None]
        if demodulate:
            w = w / (w.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).sqrt()
        if up == 1:
            rows.append(F.conv2d(image[None], w, padding=k // 2))
        else:
            large = F.conv_transpose2d(image[None], w.transpose(0, 1), stride=2)
            padding = (len(resample_filter) + 1 - k) // 2
            rows.append(filter2d(large, resample_filter, padding, 4.0)[..., : 2 * x.shape[2], : 2 * x.shape[3]])
    z = torch.cat(rows)
    z = z if noise is None else z + noise_strength * noise
    z = z if bias is None else z + bias[:, None, None]
    return (gain * torch.where(z > 0, z, slope * z)).clamp(-clamp, clamp)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("learned", [True, False])
@pytest.mark.parametrize(("kernel", "up"), [(1, 1), (3, 1), (3, 2)])
@pytest.mark.parametrize("demodulate", [True, False])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_it_is_equations_1_and_3_sample_by_sample(
    device: str, batch: int, learned: bool, kernel: int, up: int, demodulate: bool, layout: torch.memory_format
) -> None:
    weight = draw(4, 5, kernel, kernel, seed=2).to(device).requires_grad_(learned)
    x, styles, f = (t.to(device) for t in (X[:batch], STYLES[:batch], F4))
    noise, strength, bias = (draw(*shape, seed=3).to(device) for shape in ((6 * up, 6 * up), (), (4,)))
    x = x.contiguous(memory_format=layout)
    given = (x, weight, styles, noise, strength, bias, up, f, demodulate)
    got = modulated_conv2d(*given, act="lrelu", gain=1.3, clamp=2.0)
    wanted = definition(*given, slope=0.2, gain=1.3, clamp=2.0)
    torch.testing.assert_close(got, wanted)
    if not got.is_cuda or kernel == 1:  # cuDNN's convolutions in float64 know one layout
        assert got.is_contiguous(memory_format=layout)


def test_fresh_noise_is_each_samples_own_and_the_strength_is_one_by_default() -> None:
    weight, noise = draw(4, 5, 3, 3, seed=2), draw(3, 1, 6, 6, seed=3)
    torch.testing.assert_close(modulated_conv2d(X, weight, STYLES, noise), definition(X, weight, STYLES, noise))


@pytest.mark.parametrize(("act", "slope", "gain"), [("linear", 1, 1), ("relu", 0, 2**0.5), ("lrelu", 0.2, 2**0.5)])
def test_an_activation_has_its_own_gain_by_default(act: str, slope: float, gain: float) -> None:
    weight = draw(4, 5, 3, 3, seed=2)
    wanted = definition(X, weight, STYLES, slope=slope, gain=gain)
    torch.testing.assert_close(modulated_conv2d(X, weight, STYLES, act=act), wanted)


@settings(deadline=None, max_examples=15)
@given(scale=st.floats(0.1, 100), style_scale=st.floats(0.1, 100))
def test_demodulation_is_blind_to_the_scale_of_weights_and_styles(scale: float, style_scale: float) -> None:
    weight = draw(4, 5, 3, 3, seed=2)
    got = modulated_conv2d(X, weight * scale, STYLES * style_scale)
    wanted = modulated_conv2d(X, weight, STYLES)
    torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-5)  # the epsilon of 1e-8 shows


def test_upsampling_1x1_is_the_plain_upsample_of_the_result() -> None:
    weight = draw(4, 5, 1, 1, seed=2)
    got = modulated_conv2d(X, weight, STYLES, up=2, resample_filter=F4)
    torch.testing.assert_close(got, upsample2d(modulated_conv2d(X, weight, STYLES), F4))


@pytest.mark.parametrize(("kernel", "up"), [(1, 1), (3, 1), (3, 2)])
def test_first_and_second_derivative(device: str, kernel: int, up: int) -> None:
    shapes = (2, 2, 2, 3), (2, 2, kernel, kernel), (2, 2), (2 * up, 3 * up), (), (2,)
    leaves = [draw(*shape, seed=i).to(device).requires_grad_() for i, shape in enumerate(shapes)]
    f = F4.to(device)

    def op(*given: Tensor) -> Tensor:
        return modulated_conv2d(*given, up, f, act="lrelu")

    assert gradcheck(op, leaves)
    assert gradgradcheck(op, leaves)


@pytest.mark.parametrize("learned", [True, False])
def test_a_single_sample_differentiates_twice_too(learned: bool) -> None:
    x, w, s = draw(1, 2, 3, 3), draw(2, 2, 3, 3, seed=1).requires_grad_(learned), draw(1, 2, seed=2).requires_grad_()
    assert gradgradcheck(lambda s: modulated_conv2d(x, w, s, act="lrelu"), s)


def path_penalty(layer: Callable[..., Tensor], x: Tensor, weights: list[Tensor], affine: Tensor, w: Tensor) -> Tensor:
    """Squared norm of the Jacobian's product with noise (equation 4) of a small generator."""
    styles = w @ affine + 1
    for i, weight in enumerate(weights):
        last = i == len(weights) - 1
        arguments = {"demodulate": False} if last else {"up": 2, "resample_filter": F4.to(x)} if i == 1 else {}
        x = layer(x, weight, styles, last, **arguments)
    noise = draw(*x.shape, seed=8).to(x) / math.sqrt(x.shape[2] * x.shape[3])
    (slope,) = torch.autograd.grad((x * noise).sum(), w, create_graph=True)
    return slope.square().sum()


def test_path_length_differentiates_twice(device: str) -> None:
    """Its gradients are those of the definition in float64, and none is lost."""
    shapes = (4, 4, 3, 3), (4, 4, 3, 3), (3, 4, 1, 1), (6, 4), (2, 6)
    leaves = [draw(*shape, seed=i).to(device).requires_grad_() for i, shape in enumerate(shapes)]
    *weights, affine, w = leaves
    x = draw(2, 4, 4, 4, seed=6).to(device)

    def ours(x: Tensor, weight: Tensor, styles: Tensor, last: bool, **arguments) -> Tensor:
        return modulated_conv2d(x, weight, styles, act="linear" if last else "lrelu", **arguments)

    def plain(x: Tensor, weight: Tensor, styles: Tensor, last: bool, **arguments) -> Tensor:
        shape = {} if last else {"slope": 0.2, "gain": math.sqrt(2)}
        return definition(x, weight, styles, **shape, **arguments)

    got, wanted = (torch.autograd.grad(path_penalty(layer, x, weights, affine, w), leaves) for layer in (ours, plain))
    for a, b in zip(got, wanted, strict=True):
        assert a.abs().max() > 1e-3
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 5e-3), (torch.bfloat16, 4e-2)])
@pytest.mark.parametrize("batch", [1, 3])
def test_half_precision_survives_large_styles(dtype: torch.dtype, tolerance: float, batch: int) -> None:
    weight, styles = draw(4, 5, 3, 3, seed=2).float(), 1e4 * STYLES[:batch].float()  # w * s alone overflows float16
    full = modulated_conv2d(X[:batch].float(), weight, styles)
    half = modulated_conv2d(X[:batch].to(dtype), weight, styles)
    assert half.dtype == dtype
    assert (half.float() - full).abs().max() < tolerance * full.abs().max()


def test_a_layer_compiles_with_its_gradients(device: str) -> None:
    weight, bias = (draw(*shape, seed=2).to(device).requires_grad_() for shape in ((4, 5, 3, 3), (4,)))
    x, styles, noise, f = (t.to(device) for t in (X, STYLES, draw(12, 12, seed=3), F4))

    def layer(x: Tensor, styles: Tensor) -> Tensor:
        return modulated_conv2d(x, weight, styles, noise, None, bias, 2, f, act="lrelu", clamp=2.0)

    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    outputs = compiled(x, styles), layer(x, styles)
    torch.testing.assert_close(*outputs)
    pairs = zip(*(torch.autograd.grad(y.square().sum(), (weight, bias)) for y in outputs), strict=True)
    for a, b in pairs:
        torch.testing.assert_close(a, b)


def test_maps_that_a_layer_keeps_for_its_backward_pass(device: str) -> None:
    saved: dict[int, int] = {}

    def keep(t: Tensor) -> Tensor:
        saved[t.untyped_storage().data_ptr()] = t.numel()
        return t

    x, weight, styles, bias = (
        torch.randn(shape, device=device, requires_grad=True) for shape in ((2, 8, 16, 16), (8, 8, 3, 3), (2, 8), (8,))
    )
    noise = torch.randn(16, 16, device=device)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        y = modulated_conv2d(x, weight, styles, noise, None, bias, act="lrelu", clamp=3.0)
    # x and x scaled, the convolution's output and the layer's; the next layer keeps the last as its x.
    assert sum(size == y.numel() for size in saved.values()) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"styles": STYLES[:2]}, r"styles must be \[3, 5\] and weight \[O, 5, k, k\], got \[2, 5\] and \[4, 5, 3, 3\]"),
        ({"weight": draw(4, 6, 3, 3)}, r"styles must be \[3, 5\] and .*, got \[3, 5\] and \[4, 6, 3, 3\]"),
        ({"weight": draw(4, 5, 2, 2)}, r"weight \[O, I, k, k\] with an odd k, got .* and \[4, 5, 2, 2\]"),
        ({"x": X[0]}, r"x must be \[N, I, H, W\] and .* got \[5, 6, 6\]"),
        ({"x": X.long()}, "x must be float16, bfloat16, float32 or float64, got int64"),
        ({"styles": STYLES.to("meta")}, "styles must be on cpu, as x is, got meta"),
        ({"noise": draw(5, 6)}, r"noise must be \[6, 6\] or \[3, 1, 6, 6\], got \[1, 1, 5, 6\]"),
        ({"noise_strength": draw(3)}, r"noise_strength must be one number, \[\], got \[3\]"),
        ({"bias": draw(3)}, r"bias must be \[4\], got \[3\]"),
        ({"up": 3}, "up must be 1, or 2 with a resample_filter, got up=3"),
        ({"up": 2}, "up must be 1, or 2 with a resample_filter, got up=2"),
        ({"act": "tanh"}, r"act must be one of \['linear', 'lrelu', 'relu'\], got 'tanh'"),
        ({"gain": 0.0}, "gain must be above 0, got 0.0"),
        ({"clamp": -1.0}, "clamp must be above 0, got -1.0"),
    ],
)
def test_a_wrong_call_is_named(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        modulated_conv2d(**{"x": X, "weight": draw(4, 5, 3, 3), "styles": STYLES, **arguments})
