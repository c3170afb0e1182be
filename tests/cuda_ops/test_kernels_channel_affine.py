"""The passes around a modulated convolution: kernels' arithmetic and reference on the CPU, against float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from cuda_ops import channel_affine as module
from cuda_ops.channel_affine import IDENTITY, Activation, channel_affine
from cuda_ops.registration import REFERENCES

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 6e-3, torch.bfloat16: 4e-2}
LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda x: x.contiguous(),
    "channels_last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "transposed": lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
    "strided": lambda x: torch.stack([x, x], dim=-1)[..., 0],
    "unaligned": lambda x: torch.cat([x.new_zeros(1), x.flatten()])[1:].view(x.shape),
}
ACTIVATIONS: dict[str, Activation] = {
    "identity": IDENTITY, "leaky": (0.2, 1.5, math.inf), "clamped": (0.2, 1.5, 1.1), "relu": (0.0, 2.0, math.inf),
    "gain": (1.0, 0.7, math.inf), "bounded": (1.0, 0.7, 0.9),
}  # fmt: skip


class Arguments(NamedTuple):
    x: Tensor
    scale: Tensor | None = None
    noise: Tensor | None = None
    noise_scale: Tensor | None = None
    bias: Tensor | None = None

    def to(self, *place: torch.device | torch.dtype | str) -> Arguments:
        """Copies of another type, or elsewhere."""
        return Arguments(*(None if t is None else t.detach().clone().to(*place) for t in self))


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def drawn(n: int, c: int, height: int, width: int, kind: str) -> Arguments:
    scale, bias = draw(n, c, seed=1), draw(1, c, seed=2)
    noise, strength = draw(1, 1, height, width, seed=3), draw(1, c, seed=4)
    x = draw(n, c, height, width, seed=0)
    return {
        "nothing": Arguments(x),
        "scale": Arguments(x, scale),
        "bias": Arguments(x, bias=bias),
        "shared noise": Arguments(x, scale, noise, strength, bias),
        "fresh noise": Arguments(x, None, draw(n, 1, height, width, seed=3), draw(n, c, seed=4), draw(n, c, seed=2)),
        "one scale": Arguments(x, draw(1, c, seed=1), noise, strength),
    }[kind]


KINDS = ("nothing", "scale", "bias", "shared noise", "fresh noise", "one scale")


def formula(a: Arguments, activation: Activation) -> Tensor:
    """The definition."""
    wide = [None if t is None else t[:, :, None, None] for t in (a.scale, a.noise_scale, a.bias)]
    z = a.x if wide[0] is None else a.x * wide[0]
    z = z if a.noise is None else z + a.noise * wide[1]
    z = z if wide[2] is None else z + wide[2]
    slope, gain, clamp = activation
    return (gain * torch.where(z > 0, z, slope * z)).clamp(-clamp, clamp)


def away_from_kinks(a: Arguments, activation: Activation) -> Arguments:
    """Moved where rounding does not decide on which side of a kink a value is."""
    slope, gain, clamp = activation
    x = a.x
    for _ in range(50):
        y = formula(a._replace(x=x), (slope, gain, math.inf))
        near = (y.abs() < 0.06) | ((y.abs() - clamp).abs() < 0.06)
        x = torch.where(near, x + 0.37, x)
    assert not near.any()
    return a._replace(x=x)


def orders(op: Callable[..., Tensor], a: Arguments, activation: Activation) -> list[Tensor]:
    """The result, the gradients along one direction, and theirs along others."""
    leaves = [t.requires_grad_() for t in a if t is not None]
    y = op(a, activation)
    towards = draw(*y.shape, seed=9).to(y).requires_grad_()
    first = torch.autograd.grad(y, leaves, towards, create_graph=True)
    energy = sum((g.double() * draw(*g.shape, seed=10 + i).to(g.device)).sum() for i, g in enumerate(first))
    second = torch.autograd.grad(energy, [*leaves, towards], allow_unused=True, materialize_grads=True)
    return [y, *first, *second]


@pytest.mark.parametrize("kind", ["scale", "shared noise", "fresh noise"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("activation", ["identity", "clamped"])
def test_values_and_derivatives_are_those_in_float64(
    device: str, kind: str, layout: str, dtype: torch.dtype, activation: str
) -> None:
    act = ACTIVATIONS[activation]
    rounded = away_from_kinks(drawn(2, 5, 4, 6, kind), act).to(dtype).to(device)
    wanted = orders(formula, rounded.to(torch.float64), act)
    rounded = rounded._replace(x=LAYOUTS[layout](rounded.x))
    got = orders(lambda a, act: channel_affine(*a, act), rounded, act)
    for a, b in zip(got, wanted, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=0, atol=TOLERANCE[dtype] * max(1.0, b.abs().max().item()))
    assert got[0].dtype == dtype
    assert got[0].stride() == torch.empty_like(rounded.x).stride()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_derivatives_are_right_to_the_third(device: str, kind: str, activation: str) -> None:
    act = ACTIVATIONS[activation]
    a = away_from_kinks(drawn(2, 2, 1, 2, kind), act).to(device)
    leaves = [t.requires_grad_() for t in a if t is not None]

    def op(*given: Tensor) -> Tensor:
        values = iter(given)
        return channel_affine(*(None if t is None else next(values) for t in a), act)

    assert gradcheck(op, leaves)
    assert gradgradcheck(op, leaves)

    def third(y: Tensor) -> tuple[Tensor, ...]:
        first = torch.autograd.grad(y.square().sum(), leaves, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), leaves, create_graph=True)
        return torch.autograd.grad(sum(g.square().sum() for g in second), leaves)

    for got, wanted in zip(third(op(*leaves)), third(formula(a, act)), strict=True):
        torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize(("kind", "activation"), [("scale", "identity"), ("shared noise", "clamped")])
def test_the_ops_are_registered_well(device: str, kind: str, activation: str) -> None:
    act = ACTIVATIONS[activation]
    a = drawn(2, 3, 2, 4, kind).to(device)
    for t in a:
        if t is not None:
            t.requires_grad_()
    torch.library.opcheck(module.CHANNEL_AFFINE, (a.x, a.scale, None, None, *a[2:], None, *act))
    mask = channel_affine(*a, act).detach() if activation != "identity" else None
    y, y_scale, grad = (
        draw(*shape, seed=5).to(device).requires_grad_() for shape in ((2, 3, 2, 4), (2, 3), (2, 3, 2, 4))
    )
    torch.library.opcheck(module.CHANNEL_AFFINE, (a.x, a.scale, y, y_scale, *a[2:], mask, *act))
    for want in (1, 10 if a.noise is None else 15):
        torch.library.opcheck(module.CHANNEL_AFFINE_BACKWARD, (grad, a.x, a.scale, a.noise, mask, *act, want))


@given(
    shape=st.tuples(st.integers(0, 3), st.integers(1, 19), st.integers(0, 9), st.integers(1, 70)),
    kind=st.sampled_from(KINDS),
    layout=st.sampled_from(["contiguous", "channels_last", "transposed"]),
    dtype=st.sampled_from([torch.float64, torch.float32, torch.float16]),
)
@settings(max_examples=300, deadline=None)
def test_any_shape(host_kernels: None, shape: tuple[int, ...], kind: str, layout: str, dtype: torch.dtype) -> None:
    act = ACTIVATIONS["clamped"]
    a = drawn(*shape, kind)
    sums = torch.promote_types(dtype, torch.float32)
    x, grad = (LAYOUTS[layout](t.to(dtype)) for t in (a.x, draw(*shape, seed=1)))
    small = [None if t is None else t.to(sums) for t in a[1:]]
    forward = (x, small[0], None, None, *small[1:], None, *act)
    got = module.CHANNEL_AFFINE(*forward)
    torch.testing.assert_close(got, REFERENCES["channel_affine"](*forward), rtol=1e-2, atol=1e-2)
    assert got.stride() == torch.empty_like(x).stride()
    back = (grad, x, small[0], small[1], got, *act, 11 if a.noise is None else 15)
    wanted = REFERENCES["channel_affine_backward"](*back)
    tolerance = {"rtol": 2e-2, "atol": 0.2} if dtype == torch.float16 else {"rtol": 1e-4, "atol": 1e-4}
    for value, expected in zip(module.CHANNEL_AFFINE_BACKWARD(*back), wanted, strict=True):
        torch.testing.assert_close(value, expected, **tolerance)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_a_channel_in_several_parts_has_the_sum_of_all(host_kernels: None, layout: str) -> None:
    a = drawn(2, 8, 40, 40, "shared noise")  # more pixels than one team takes
    grad = LAYOUTS[layout](draw(2, 8, 40, 40, seed=5))
    x = LAYOUTS[layout](a.x)
    got = module.CHANNEL_AFFINE_BACKWARD(grad, x, a.scale, a.noise, None, *IDENTITY, 14)
    sums = [(grad * x).sum((2, 3)), (grad * a.noise).sum((2, 3)), grad.sum((2, 3))]
    assert got[0].numel() == 0
    for value, expected in zip(got[1:], sums, strict=True):
        torch.testing.assert_close(value, expected)


def test_batches_beyond_a_part_of_the_reference_are_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    a = drawn(5, 3, 4, 4, "fresh noise")
    back = (draw(5, 3, 4, 4, seed=5), a.x, draw(5, 3, seed=6), a.noise, a.x, 0.2, 1.5, 1.1, 15)
    whole = REFERENCES["channel_affine_backward"](*back)
    monkeypatch.setattr(module, "PART", 2 * 3 * 4 * 4)
    for value, expected in zip(REFERENCES["channel_affine_backward"](*back), whole, strict=True):
        torch.testing.assert_close(value, expected)


def test_the_least_is_saved(device: str) -> None:
    saved: list[Tensor] = []
    a = Arguments(*(t.requires_grad_() for t in drawn(2, 3, 8, 8, "shared noise").to(device)))
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        y = channel_affine(*a, ACTIVATIONS["leaky"])
        large = {t.data_ptr() for t in saved if t.numel() == y.numel()}
        assert large == {a.x.data_ptr(), y.data_ptr()}
        saved.clear()
        y = channel_affine(a.x, None, a.noise, a.noise_scale, a.bias)
        assert not [t for t in saved if t.numel() == y.numel()], "a sum needs none of its maps"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": torch.zeros(3, 4, 4)}, r"x must be \[N, C, H, W\], got \[3, 4, 4\]"),
        ({"x": torch.zeros(2, 3, 4, 4).long()}, "x must be float16, bfloat16, float32 or float64, got int64"),
        ({"scale": torch.zeros(3, 3)}, r"scale must be \[2 or 1, 3\] for x \[2, 3, 4, 4\], got \[3, 3\]"),
        ({"bias": torch.zeros(3)}, r"bias must be \[2 or 1, 3\] .*, got \[3\]"),
        ({"noise": torch.zeros(1, 1, 4, 4)}, "noise and noise_scale go together, got only one"),
        ({"noise": torch.zeros(1, 1, 4, 5), "noise_scale": torch.zeros(1, 3)},
         r"noise must be \[2 or 1, 1, 4, 4\], got \[1, 1, 4, 5\]"),
        ({"activation": (-0.1, 1.0, 1.0)}, "slope must be at least 0, gain and bound above 0, got -0.1, 1.0, 1.0"),
        ({"activation": (0.1, 0.0, 1.0)}, "slope must be at least 0, gain and bound above 0, got 0.1, 0.0, 1.0"),
        ({"bias": torch.zeros(1, 3, device="meta")}, "bias must be on cpu, as x is, got meta"),
    ],
)  # fmt: skip
def test_a_wrong_call_is_named(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        channel_affine(**({"x": torch.zeros(2, 3, 4, 4)} | arguments))
