"""Sums of enlarged maps: the kernels' arithmetic and the reference on the CPU, against ``interpolate`` in float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.nn.functional import interpolate

from cuda_ops import upsample_sum as module
from cuda_ops.registration import REFERENCES
from cuda_ops.resize import span
from cuda_ops.upsample_sum import Frame, Piece, upsample_sum

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 2e-2, torch.bfloat16: 1e-1}
SIZES = [(4, 4), (8, 4), (2, 3), (1, 1), (32, 40)]  # the last is reduced
OUT = (16, 12)


def drawn(sizes: list[tuple[int, int]], n: int = 2, c: int = 5) -> list[Tensor]:
    g = torch.Generator().manual_seed(0)
    return [torch.randn(n, c, *size, dtype=torch.float64, generator=g) for size in sizes]


def laid_out(x: Tensor, layout: str) -> Tensor:
    if layout == "channels_last":
        return x.contiguous(memory_format=torch.channels_last)
    return torch.stack([x, x], dim=-1)[..., 0] if layout == "strided" else x.contiguous()


def whole(x: Tensor) -> Piece:
    return Piece(x, 0, 0, *x.shape[2:])


def cut(x: Tensor, frame: Frame, nearest: bool = False) -> Piece:
    """The least that the frame needs."""
    height, width = x.shape[2:]
    top, bottom = span(frame.top, frame.top + frame.height, height, frame.out_height, nearest)
    left, right = span(frame.left, frame.left + frame.width, width, frame.out_width, nearest)
    return Piece(x[:, :, top:bottom, left:right], top, left, height, width)


def enlarged(x: Tensor, size: tuple[int, int], nearest: bool) -> Tensor:
    if not nearest:
        return interpolate(x, size, mode="bilinear", align_corners=False)
    # Not by interpolate: it multiplies by a rounded factor, and takes sample 12 of 39 for output 11 of 33, not 13.
    rows, columns = (torch.arange(out) * len_in // out for out, len_in in zip(size, x.shape[2:], strict=True))
    return x[:, :, rows][:, :, :, columns]


def formula(maps: list[Tensor], frame: Frame, nearest: bool = False) -> Tensor:
    total = sum(enlarged(x, (frame.out_height, frame.out_width), nearest) for x in maps)
    return total[:, :, frame.top : frame.top + frame.height, frame.left : frame.left + frame.width]


@pytest.mark.parametrize("frame", [Frame(0, 0, *OUT, *OUT), Frame(3, 1, 9, 10, *OUT)], ids=["whole", "window"])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "strided"])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("nearest", [False, True])
def test_values_and_gradients_are_those_in_float64(
    device: str, frame: Frame, layout: str, dtype: torch.dtype, nearest: bool
) -> None:
    exact = [x.to(dtype).double().to(device).requires_grad_() for x in drawn(SIZES)]
    maps = [laid_out(x.detach().to(dtype), layout).requires_grad_() for x in exact]
    y = upsample_sum([cut(x, frame, nearest) for x in maps], frame, nearest)
    wanted = formula(exact, frame, nearest)
    torch.testing.assert_close(y.double(), wanted, rtol=0, atol=TOLERANCE[dtype])
    towards = torch.randn_like(wanted).to(dtype)
    got = torch.autograd.grad(y, maps, towards)
    for a, b in zip(got, torch.autograd.grad(wanted, exact, towards.double()), strict=True):
        torch.testing.assert_close(a.double(), b, rtol=0, atol=TOLERANCE[dtype] * max(1.0, b.abs().max().item()))


def test_derivatives_are_right_to_the_second(device: str) -> None:
    maps = [x.to(device).requires_grad_() for x in drawn([(2, 2), (3, 1)], 1, 2)]
    frame = Frame(1, 0, 3, 3, 5, 4)

    def op(*maps: Tensor) -> Tensor:
        return upsample_sum([cut(x, frame) for x in maps], frame)

    assert gradcheck(op, maps)
    assert gradgradcheck(op, maps)
    assert gradgradcheck(lambda *maps: op(*maps).square(), maps)


def test_the_ops_are_registered_well(device: str) -> None:
    maps = [x.to(device).requires_grad_() for x in drawn([(2, 2), (3, 3)], 1, 2)]
    places, window = [0, 0, 2, 2, 0, 0, 3, 3], [1, 0, 3, 3, 5, 4]
    torch.library.opcheck(module.UPSAMPLE_SUM, (maps, places, window, False))
    grad = torch.randn(1, 2, 3, 3, dtype=torch.float64, device=device, requires_grad=True)
    torch.library.opcheck(module.UPSAMPLE_SUM_BACKWARD, (grad, [2, 2, 3, 3], places, window, False))


@given(
    sizes=st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=4),
    out=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    corners=st.tuples(*[st.floats(0, 1)] * 4),
    channels=st.integers(1, 9),
    layout=st.sampled_from(["contiguous", "channels_last"]),
    nearest=st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_any_sizes_and_windows(
    host_kernels: None, sizes: list[tuple[int, int]], out: tuple[int, int], corners: tuple[float, ...], channels: int,
    layout: str, nearest: bool,
) -> None:  # fmt: skip
    (top, bottom), (left, right) = (
        sorted(round(corner * (side - 1)) for corner in pair)
        for pair, side in ((corners[:2], out[0]), (corners[2:], out[1]))
    )
    frame = Frame(top, left, bottom + 1 - top, right + 1 - left, *out)
    maps = [laid_out(x, layout) for x in drawn(sizes, 2, channels)]
    pieces = [cut(x, frame, nearest) for x in maps]
    places, parts = [number for piece in pieces for number in piece[1:]], [piece.x for piece in pieces]
    wanted = formula(maps, frame, nearest)
    for op in (module.UPSAMPLE_SUM, REFERENCES["upsample_sum"]):
        torch.testing.assert_close(op(parts, places, list(frame), nearest), wanted)
    shapes = [side for x in parts for side in x.shape[2:]]
    back = torch.randn_like(wanted), shapes, places, list(frame), nearest
    pairs = zip(module.UPSAMPLE_SUM_BACKWARD(*back), REFERENCES["upsample_sum_backward"](*back), strict=True)
    for a, b in pairs:
        torch.testing.assert_close(a, b)
        assert a.stride() == b.stride()


def test_tiles_of_the_reference_are_parts_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    maps, frame = drawn(SIZES), Frame(2, 1, 13, 11, *OUT)
    monkeypatch.setattr(module, "TILE", 5)
    torch.testing.assert_close(upsample_sum([cut(x, frame) for x in maps], frame), formula(maps, frame))


def test_nothing_is_saved_for_the_backward_pass() -> None:
    saved: list[Tensor] = []
    maps = [x.requires_grad_() for x in drawn(SIZES)]
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        upsample_sum([whole(x) for x in maps], Frame(0, 0, *OUT, *OUT))
    assert saved == []


X = torch.zeros(2, 3, 4, 4)


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        ([], "there must be 1 to 16 maps, got 0"),
        ([whole(X)] * 17, "there must be 1 to 16 maps, got 17"),
        ([whole(X), whole(X[:1])], r"maps must be alike, .* got \[2, 3, 4, 4\] of .* and \[1, 3, 4, 4\] of"),
        ([whole(X), whole(X.half())], "maps must be alike, .* of torch.float32 .* of torch.float16"),
        ([Piece(X, 0, 0, 40_000, 4)], "sides may have 32768 pixels at most"),
        ([Piece(X, 0, 1, 4, 5)], r"needs samples 0 to 5 of a map's dimension 3, its piece has 1 to 5"),
    ],
)
def test_a_wrong_call_is_named(pieces: list[Piece], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        upsample_sum(pieces, Frame(0, 0, 8, 8, 8, 8))
