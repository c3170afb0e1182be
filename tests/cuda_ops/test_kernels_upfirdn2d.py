"""The registered op, as kernels' arithmetic on the CPU and in plain PyTorch, against the definition in float64."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from cuda_ops import upfirdn2d as module
from cuda_ops.registration import REFERENCES
from cuda_ops.upfirdn2d import downsample2d, filter2d, setup_filter, upfirdn2d, upsample2d

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}


def definition(
    x: Tensor, f: Tensor, up: Sequence[int], down: Sequence[int], sides: Sequence[int], flip: bool, gain: float
) -> Tensor:
    """Zeros inserted, padded or cropped, filtered tap by tap, decimated."""
    n, c, h, w = x.shape
    (left, right, top, bottom), (taps_y, taps_x) = sides, f.shape
    z = x.new_zeros(n, c, h * up[1] + abs(top) + abs(bottom), w * up[0] + abs(left) + abs(right))
    z[:, :, abs(top) : abs(top) + h * up[1] : up[1], abs(left) : abs(left) + w * up[0] : up[0]] = x
    z = z[:, :, abs(top) - top : z.shape[2] - abs(bottom) + bottom, abs(left) - left : z.shape[3] - abs(right) + right]
    taps = (f if flip else f.flip(0, 1)) * gain
    rows, columns = z.shape[2] - taps_y + 1, z.shape[3] - taps_x + 1
    whole = sum(taps[i, j] * z[:, :, i : i + rows, j : j + columns] for i in range(taps_y) for j in range(taps_x))
    return whole[:, :, :: down[1], :: down[0]]


def drawn(shape: Sequence[int], dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(len(shape))).to(dtype)


def laid_out(x: Tensor, layout: str) -> Tensor:
    """The same values in other places of memory."""
    match layout:
        case "channels_last":
            return x.contiguous(memory_format=torch.channels_last)
        case "transposed":
            return x.transpose(2, 3).contiguous().transpose(2, 3)
        case "cut":
            whole = x.new_zeros(*x.shape[:3], x.shape[3] + 3)
            whole[..., 1:-2] = x
            return whole[..., 1:-2]
        case "cut channels_last":
            whole = x.new_zeros(x.shape[0], x.shape[1] + 5, *x.shape[2:]).contiguous(memory_format=torch.channels_last)
            whole[:, 5:] = x
            return whole[:, 5:]
    return x.contiguous()


def draw_case(data: st.DataObject) -> dict[str, Any]:
    """Factors, padding and a filter that go together, and the size of an image."""
    up, down = (data.draw(st.tuples(*[st.integers(1, 3)] * 2)) for _ in range(2))
    taps = data.draw(st.tuples(*[st.integers(1, 7)] * 2))
    size = data.draw(st.tuples(st.integers(1, 2), st.sampled_from([1, 3, 8, 16]), *[st.integers(1, 11)] * 2))
    sides: list[int] = []
    for axis in (0, 1):
        width = size[3 - axis] * up[axis]
        before, after = (data.draw(st.integers(1 - width, 6)) for _ in range(2))
        sides += [before, max(after, taps[1 - axis] - width - before)]
    return {"size": size, "taps": taps, "up": up, "down": down, "sides": sides}


@given(
    data=st.data(), flip=st.booleans(), dtype=st.sampled_from(list(TOLERANCE)),
    layout=st.sampled_from(["contiguous", "channels_last", "transposed", "cut", "cut channels_last"]),
)  # fmt: skip
@settings(max_examples=250, deadline=None)
def test_values_are_those_of_the_definition(
    host_kernels: None, data: st.DataObject, flip: bool, dtype: torch.dtype, layout: str
) -> None:
    case = draw_case(data)
    precise = torch.float64 if dtype == torch.float64 else torch.float32
    x, f = drawn(case["size"], dtype), drawn(case["taps"], precise)
    arguments = (case["up"], case["down"], case["sides"], flip, 1.5)
    expected = definition(x.double(), f.to(dtype).double(), *arguments)
    x = laid_out(x, layout)
    channels_last = layout == "channels_last"
    tolerance = TOLERANCE[dtype] * max(1.0, expected.abs().max().item(), x.abs().max().item() * f.abs().sum().item())
    for op in (module.UPFIRDN2D, REFERENCES["upfirdn2d"]):
        got = op(x, f, *arguments, channels_last)
        assert got.is_contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
        torch.testing.assert_close(got.double(), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("taps", [1, 2, 3, 4, 5, 6, 12, 31])
@pytest.mark.parametrize(("up", "down"), [(1, 1), (2, 1), (1, 2), (2, 2), (3, 2)])
def test_all_taps_count(
    registered: str, device: str, taps: int, up: int, down: int, dtype: torch.dtype, layout: str
) -> None:
    """Kernels of a fixed size have been known to cut longer filters off."""
    x = laid_out(drawn((2, 8, 9, 13), dtype).to(device), layout)
    f = drawn((taps, taps), dtype).float().to(device) / taps
    sides = (taps // 2, (taps + 1) // 2, taps // 2, taps)
    got = upfirdn2d(x, f, up, down, sides)
    expected = definition(x.double(), f.double(), (up, up), (down, down), sides, False, 1.0)
    rounding = TOLERANCE[dtype] if dtype != torch.float64 else 1e-5 * (registered == "reference") + 1e-12
    torch.testing.assert_close(got.double(), expected, rtol=0, atol=rounding * (4 + expected.abs().max().item()))


@given(data=st.data(), flip=st.booleans(), layout=st.sampled_from(["contiguous", "channels_last"]))
@settings(max_examples=40, deadline=None)
def test_derivatives_are_those_of_the_definition(
    host_kernels: None, data: st.DataObject, flip: bool, layout: str
) -> None:
    case = draw_case(data)
    x, f = laid_out(drawn(case["size"]), layout).requires_grad_(), drawn(case["taps"])
    arguments = (case["up"], case["down"], case["sides"], flip, 1.5)

    def penalty(op: Any) -> tuple[Tensor, ...]:
        y = op(x)
        towards = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).reshape(y.shape).requires_grad_()
        (dx,) = torch.autograd.grad((y * towards).sum(), x, create_graph=True)
        return dx, *torch.autograd.grad(dx.square().sum(), towards)

    wanted = penalty(lambda x: definition(x, f, *arguments))
    got = penalty(lambda x: module.UPFIRDN2D(x, f, *arguments, layout == "channels_last"))
    for a, b in zip(got, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


CASES = [
    {"up": 2, "padding": (2, 1, 2, 1), "gain": 4.0},
    {"up": 2, "padding": (1, 2, 1, 2)},
    {"down": 2, "padding": 1},
    {"padding": (-1, 2, 3, -2), "flip": True},
    {"up": (3, 1), "down": (1, 2), "padding": (2, 0, 0, 5)},
]


@pytest.mark.parametrize("arguments", CASES, ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_the_op_is_registered_well(device: str, arguments: dict[str, Any], layout: str) -> None:
    x = laid_out(drawn((2, 2, 5, 4)).to(device), layout).requires_grad_()
    f = drawn((4, 3)).to(device)
    up, down = (module._pair("up", arguments.get(name, 1)) for name in ("up", "down"))
    sides = module._sides(arguments.get("padding", 0))
    torch.library.opcheck(
        module.UPFIRDN2D, (x, f, up, down, sides, arguments.get("flip", False), 1.5, layout == "channels_last")
    )
    assert gradcheck(lambda x: upfirdn2d(x, f, **arguments), (x,))
    assert gradgradcheck(lambda x: upfirdn2d(x, f, **arguments).square(), (x,))


@pytest.mark.parametrize("taps", [3, 4, 5, 12])
def test_a_separable_filter_is_its_outer_product(device: str, taps: int) -> None:
    x, f = (drawn(shape).to(device) for shape in ((2, 3, 9, 7), (taps,)))
    options = {"up": (2, 1), "down": (1, 2), "padding": (4, 5, 6, 7), "gain": 2.0}
    torch.testing.assert_close(upfirdn2d(x, f, **options), upfirdn2d(x, torch.outer(f, f), **options))


@pytest.mark.parametrize("size", [1, 2, 4, 7])
@pytest.mark.parametrize("taps", [(1, 1), (1, 3, 3, 1), (1, 2, 3, 3, 2, 1)])
def test_the_networks_steps_are_the_same_through_the_kernels(
    device: str, taps: tuple[int, ...], size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, f = drawn((2, 3, 2 * size, 2 * size), torch.float32).to(device), setup_filter(taps).to(device)
    steps = [upsample2d, downsample2d, lambda x, f: filter2d(x, f, padding=len(taps) // 2, gain=2.0)]
    got = [step(x, f) for step in steps]
    monkeypatch.setattr(module.backend, "has_kernels", lambda x: False)
    for step, y in zip(steps, got, strict=True):
        torch.testing.assert_close(y, step(x, f))
