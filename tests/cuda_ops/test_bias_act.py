"""The activations' definitions, the order of the steps, and what a wrong call gets."""

from __future__ import annotations

import math

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from cuda_ops.bias_act import ACTIVATIONS, bias_act

X = torch.linspace(-2, 2, 24, dtype=torch.float64).reshape(2, 3, 4) + 0.03  # no value at a kink


def test_steps_come_in_the_order_bias_activation_gain_clamp() -> None:
    x = torch.tensor([[-3.0, 1.0, 5.0]])
    y = bias_act(x, torch.tensor([1.0, 1.0, 1.0]), act="lrelu", alpha=0.5, gain=2.0, clamp=4.0)
    assert y.tolist() == [[-2.0, 4.0, 4.0]]


@pytest.mark.parametrize(
    ("act", "function"),
    [
        ("linear", lambda x: x),
        ("relu", lambda x: math.sqrt(2) * x.clamp(min=0)),
        ("lrelu", lambda x: math.sqrt(2) * torch.where(x > 0, x, 0.2 * x)),
        ("tanh", torch.tanh),
        ("sigmoid", lambda x: 1 / (1 + (-x).exp())),
        ("elu", lambda x: torch.where(x > 0, x, x.exp() - 1)),
        ("selu", lambda x: 1.0507009873554805 * torch.where(x > 0, x, 1.6732632423543772 * (x.exp() - 1))),
        ("softplus", lambda x: (1 + x.exp()).log()),
        ("swish", lambda x: math.sqrt(2) * x / (1 + (-x).exp())),
    ],
)
def test_activation_is_its_formula(act: str, function: object) -> None:
    torch.testing.assert_close(bias_act(X, act=act), function(X))


def test_every_activation_is_covered_and_differentiates_twice() -> None:
    bias = torch.tensor([0.1, -0.2, 0.3], dtype=torch.float64, requires_grad=True)
    x = X.clone().requires_grad_(True)
    for act in ACTIVATIONS:
        assert gradcheck(lambda x, b, act=act: bias_act(x, b, act=act), (x, bias))
        assert gradgradcheck(lambda x, b, act=act: bias_act(x, b, act=act), (x, bias))


@pytest.mark.parametrize("dim", [0, 1, 2])
def test_bias_runs_along_its_dimension(dim: int) -> None:
    bias = torch.arange(X.shape[dim], dtype=torch.float64)
    got = bias_act(X, bias, dim=dim).movedim(dim, -1)
    torch.testing.assert_close(got, X.movedim(dim, -1) + bias)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_half(dtype: torch.dtype) -> None:
    assert bias_act(X.to(dtype), torch.zeros(3), act="lrelu").dtype == dtype


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"act": "gelu"}, r"act must be one of \['elu', .*, got 'gelu'"),
        ({"bias": torch.zeros(4)}, r"bias must be \[3\] for dim 1 of \[2, 3, 4\], got \[4\]"),
        ({"bias": torch.zeros(3, 1)}, r"bias must be \[3\] for dim 1 of \[2, 3, 4\], got \[3, 1\]"),
        ({"bias": torch.zeros(3).long()}, "bias must be float16, bfloat16, float32 or float64, got int64"),
        ({"bias": torch.zeros(3, device="meta")}, "bias must be on cpu, as x is, got meta"),
        ({"x": X.long()}, "x must be float16, bfloat16, float32 or float64, got int64"),
        ({"dim": 3}, r"dim must be a dimension of x, which is \[2, 3, 4\], got 3"),
        ({"alpha": 0.1}, "alpha must be a slope of lrelu of 0 or more, got 0.1 for linear"),
        ({"alpha": -0.1, "act": "lrelu"}, "alpha must be a slope of lrelu of 0 or more, got -0.1 for lrelu"),
        ({"clamp": -1.0}, "clamp must be 0 or more, got -1.0"),
    ],
)
def test_a_wrong_call_is_named(registered: str, arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bias_act(**{"x": X, **arguments})
