"""Resampling against its definition, written as loops: zeros inserted, filtered, decimated."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.autograd import gradgradcheck

from cuda_ops.upfirdn2d import downsample2d, filter2d, setup_filter, upfirdn2d, upsample2d

X = torch.randn(2, 3, 6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
LOPSIDED = torch.tensor([[1.0, 2, 0, 0], [0, 3, 1, 0], [0, 0, 1, 0], [5, 0, 0, 1]], dtype=torch.float64)


def resample(x: Tensor, f: Tensor, up: int, down: int, before: int, after: int, gain: float) -> Tensor:
    """The definition: a true convolution (the filter runs backwards) of the zero-padded, zero-filled signal."""
    n, c, h, w = x.shape
    k = len(f)
    z = x.new_zeros(n, c, h * up + before + after, w * up + before + after)
    for i in range(h):
        for j in range(w):
            z[:, :, before + i * up, before + j * up] = x[:, :, i, j]
    rows = range(0, z.shape[2] - k + 1, down)
    columns = range(0, z.shape[3] - k + 1, down)
    y = x.new_zeros(n, c, len(rows), len(columns))
    for i, top in enumerate(rows):
        for j, left in enumerate(columns):
            y[:, :, i, j] = gain * (z[:, :, top : top + k, left : left + k] * f.flip(0, 1)).sum(dim=(2, 3))
    return y


@pytest.mark.parametrize("f", [setup_filter().double(), setup_filter([1, 1]).double(), LOPSIDED])
def test_up_and_down_are_their_definition(f: Tensor) -> None:
    k = len(f)
    # Padding that centres the filter on the pixel grid: (k + up - 1) / 2 before and (k - up) / 2 after, and so down.
    torch.testing.assert_close(upsample2d(X, f), resample(X, f, 2, 1, (k + 1) // 2, (k - 2) // 2, gain=4))
    torch.testing.assert_close(downsample2d(X, f), resample(X, f, 1, 2, (k - 1) // 2, (k - 2) // 2, gain=1))


def test_filter_is_its_definition() -> None:
    torch.testing.assert_close(filter2d(X, LOPSIDED, padding=2, gain=3.0), resample(X, LOPSIDED, 1, 1, 2, 2, gain=3))


def test_a_flat_image_stays_flat_inside() -> None:
    flat, f = torch.ones(1, 1, 8, 8), setup_filter()
    torch.testing.assert_close(upsample2d(flat, f)[..., 2:-2, 2:-2], torch.ones(1, 1, 12, 12))
    torch.testing.assert_close(downsample2d(flat, f)[..., 1:-1, 1:-1], torch.ones(1, 1, 2, 2))


def test_up_and_down_are_adjoint_but_for_the_gain() -> None:
    f = setup_filter().double()
    y = torch.randn(2, 3, 12, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close((upsample2d(X, f) * y).sum(), 4 * (X * downsample2d(y, f)).sum())


@pytest.mark.parametrize("op", [upsample2d, downsample2d, lambda x, f: filter2d(x, f, padding=1)])
def test_second_derivative(op: object) -> None:
    x = X[:1, :1, :4, :4].clone().requires_grad_(True)
    assert gradgradcheck(lambda x: op(x, setup_filter().double()).square(), (x,))


def test_the_usual_filter_sums_to_one_and_is_separable() -> None:
    f = setup_filter()
    assert f.sum().item() == pytest.approx(1)
    torch.testing.assert_close(f, torch.outer(f.sum(1), f.sum(0)))


@pytest.mark.parametrize(
    ("x", "f", "message"),
    [
        (torch.zeros(3, 4, 4), setup_filter(), r"x must be \[N, C, H, W\], got \[3, 4, 4\]"),
        (torch.zeros(1, 3, 4, 4), torch.ones(3, 3), r"f must be a square filter with an even side, got \[3, 3\]"),
        (torch.zeros(1, 3, 4, 4), torch.ones(4), r"f must be a square filter with an even side, got \[4\]"),
    ],
)
def test_a_wrong_call_is_named(x: Tensor, f: Tensor, message: str) -> None:
    for op in (upsample2d, downsample2d):
        with pytest.raises(ValueError, match=message):
            op(x, f)
    with pytest.raises(ValueError, match=r"f must be a square filter, got \[2, 4\]"):
        filter2d(torch.zeros(1, 3, 4, 4), torch.ones(2, 4), padding=1)


IMAGE = torch.zeros(1, 3, 4, 6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": IMAGE[0]}, r"x must be \[N, C, H, W\], got \[3, 4, 6\]"),
        ({"x": IMAGE[:, :, :0]}, r"x must be \[N, C, H, W\], got \[1, 3, 0, 6\]"),
        ({"x": IMAGE.long()}, "x must be float16, bfloat16, float32 or float64, got int64"),
        ({"f": torch.ones(2, 2).long()}, "f must be float16, bfloat16, float32 or float64, got int64"),
        ({"f": torch.ones(2, 2, device="meta")}, "f must be on cpu, as x is, got meta"),
        ({"f": torch.ones(2, 2, requires_grad=True)}, "f must not require a gradient"),
        ({"f": torch.ones(1, 2, 2)}, r"f must be \[taps\] or \[taps_y, taps_x\], got \[1, 2, 2\]"),
        ({"f": torch.ones(0)}, r"f must be \[taps\] or \[taps_y, taps_x\], got \[0\]"),
        ({"up": 0}, "up must be a factor of 1 or more, or two of them"),
        ({"up": (1, 2, 3)}, r"up must be a factor of 1 or more, or two of them \(x, y\), got \(1, 2, 3\)"),
        ({"down": (1, -2)}, "down must be a factor of 1 or more"),
        ({"padding": (1, 2, 3)}, r"padding must be one number, \(x, y\) or .*, got \[1, 2, 3\]"),
        ({"padding": (-3, -2, 0, 0)}, "padding must leave left and right at least .* 2 samples of 6, got -3 and -2"),
        ({"padding": (0, 0, -4, 9)}, "padding must leave top and bottom at least .* 2 samples of 4, got -4 and 9"),
        ({"f": torch.ones(9)}, "padding must leave left and right at least the filter's 9 samples of 6, got 0 and 0"),
    ],
)
def test_a_wrong_general_call_is_named(registered: str, arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        upfirdn2d(**{"x": IMAGE, "f": torch.ones(2, 2), **arguments})
