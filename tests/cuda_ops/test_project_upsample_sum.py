"""Projection before enlargement gives what enlargement before projection gives, whole or a window."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import interpolate

from cuda_ops.project_upsample_sum import project_upsample_sum

SHAPES = [(5, 4, 4), (5, 4, 4), (3, 8, 4), (2, 16, 12), (2, 16, 12), (4, 7, 9), (2, 40, 40)]
OUT = (16, 12)


def drawn() -> tuple[list[Tensor], list[Tensor], Tensor]:
    g = torch.Generator().manual_seed(0)
    maps = [torch.randn(2, *shape, dtype=torch.float64, generator=g).requires_grad_() for shape in SHAPES]
    weights = [torch.randn(3, shape[0], dtype=torch.float64, generator=g).requires_grad_() for shape in SHAPES]
    return maps, weights, torch.randn(3, dtype=torch.float64, generator=g).requires_grad_()


def original(maps: list[Tensor], weights: list[Tensor], bias: Tensor, nearest: bool = False) -> Tensor:
    """Every map enlarged, concatenated, and projected at full size."""
    how = {"mode": "nearest"} if nearest else {"mode": "bilinear", "align_corners": False}
    large = torch.cat([interpolate(x, OUT, **how) for x in maps], dim=1)
    return torch.einsum("oc,nchw->nohw", torch.cat(weights, dim=1), large) + bias.view(1, -1, 1, 1)


@pytest.mark.parametrize("nearest", [False, True])
def test_values_and_gradients_are_the_original_s(nearest: bool) -> None:
    maps, weights, bias = drawn()
    got = project_upsample_sum(maps, weights, OUT, bias, nearest=nearest)
    wanted = original(maps, weights, bias, nearest)
    torch.testing.assert_close(got, wanted)
    towards = torch.randn_like(wanted)
    leaves = [*maps, *weights, bias]
    pairs = zip(*(torch.autograd.grad(y, leaves, towards) for y in (got, wanted)), strict=True)
    for a, b in pairs:
        torch.testing.assert_close(a, b)


@settings(deadline=None, max_examples=25)
@given(edges=st.tuples(*[st.floats(0, 1)] * 4))
def test_a_window_is_that_part_of_the_whole_and_so_are_its_gradients(edges: tuple[float, ...]) -> None:
    rows, columns = (
        sorted(round(edge * (side - 1)) for edge in pair)
        for pair, side in ((edges[:2], OUT[0]), (edges[2:], OUT[1]))
    )
    top, bottom, left, right = rows[0], rows[1] + 1, columns[0], columns[1] + 1
    maps, weights, bias = drawn()
    part = project_upsample_sum(maps, weights, OUT, bias, (top, bottom, left, right))
    crop = project_upsample_sum(maps, weights, OUT, bias)[:, :, top:bottom, left:right]
    torch.testing.assert_close(part, crop)
    towards, leaves = torch.randn_like(part), [*maps, *weights, bias]
    pairs = zip(*(torch.autograd.grad(y, leaves, towards) for y in (part, crop)), strict=True)
    for a, b in pairs:
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("chosen", [slice(0, 1), slice(3, 5), slice(3, 4)], ids=["coarse", "own size", "one map"])
def test_maps_of_one_kind_alone_will_do(chosen: slice) -> None:
    maps, weights, bias = drawn()
    wanted = original(maps[chosen], weights[chosen], torch.zeros_like(bias))
    torch.testing.assert_close(project_upsample_sum(maps[chosen], weights[chosen], OUT), wanted)


def test_maps_stored_in_half_precision_take_the_type_of_the_weights() -> None:
    maps, weights, bias = drawn()
    halves = [x.detach().half() for x in maps]
    got = project_upsample_sum(halves, weights, OUT, bias)
    assert got.dtype == torch.float64
    torch.testing.assert_close(got, original([x.double() for x in halves], weights, bias))


def test_no_tensor_of_full_size_has_the_maps_channels() -> None:
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            result = func(*args, **(kwargs or {}))
            for t in result if isinstance(result, (tuple, list)) else [result]:
                if isinstance(t, Tensor):
                    largest = max(largest, t.numel())
            return result

    maps = [torch.randn(1, 64, side, side) for side in (4, 8, 16, 32)]
    weights = [torch.randn(2, 64, requires_grad=True) for _ in maps]
    with Watch():
        project_upsample_sum(maps, weights, (64, 64)).square().sum().backward()
    assert largest <= 64 * 32 * 32  # the largest map, as it came


X, W = torch.zeros(2, 3, 4, 4), torch.zeros(5, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"maps": []}, "a weight for each of one or more maps, got 0 and 1"),
        ({"weights": [W, W]}, "a weight for each of one or more maps, got 1 and 2"),
        ({"maps": [X[0]]}, r"maps\[0\] must be \[3, C, h, w\] and not empty, got \[3, 4, 4\]"),
        ({"maps": [X, X[:1]], "weights": [W, W]}, r"maps\[1\] must be \[2, C, h, w\] .*, got \[1, 3, 4, 4\]"),
        ({"maps": [X[..., :0]]}, r"maps\[0\] must be .* not empty, got \[2, 3, 4, 0\]"),
        ({"weights": [W[:, :2]]}, r"weights\[0\] must be \[5, 3\] of torch.float32, got \[5, 2\]"),
        ({"maps": [X, X], "weights": [W, W.half()]},
         r"weights\[1\] must be \[5, 3\] of torch.float32, .* of torch.float16"),
        ({"maps": [X.long()]}, r"maps\[0\] must be float16, bfloat16, float32 or float64, got int64"),
        ({"weights": [W.to("meta")]}, r"weights\[0\] must be on cpu, as maps\[0\] is, got meta"),
        ({"bias": torch.zeros(4)}, r"bias must be \[5\] of torch.float32, got \[4\]"),
        ({"window": (0, 9, 0, 8)}, r"the window must be a part of \[8, 8\], .* got \[0, 9, 0, 8\]"),
        ({"window": (3, 3, 0, 8)}, r"the window must be a part of \[8, 8\], .* got \[3, 3, 0, 8\]"),
    ],
)
def test_a_wrong_call_is_named(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        project_upsample_sum(**({"maps": [X], "weights": [W], "size": (8, 8)} | arguments))
