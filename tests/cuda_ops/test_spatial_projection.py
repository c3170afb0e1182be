"""What BlobGAN's layers show of themselves: the straightforward form's values and gradients; wrong calls."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from benchmarks.saved import saved_bytes
from cuda_ops import spatial_modulation_reference
from cuda_ops.spatial_projection import SPATIAL_PROJECTION, SPATIAL_PROJECTION_BACKWARD, by_blob, spatial_projection
from tests.cuda_ops.layouts import some_maps


def straight(x: Tensor, weights: Tensor, styles: Tensor, kernel: Tensor) -> Tensor:
    """By the map of styles."""
    return torch.einsum("oc,nchw,nkhw,nkc->nohw", kernel, x, weights, styles)


def some(n: int, k: int, channels: int, height: int, width: int, outputs: int = 3) -> list[Tensor]:
    maps = some_maps(n, k, channels, height, width)
    return [*maps, torch.randn(outputs, channels, dtype=torch.float64)]


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(1, 3), k=st.integers(1, 6), channels=st.integers(1, 9), height=st.integers(1, 7),
    width=st.integers(1, 7), outputs=st.integers(1, 4), layout=st.sampled_from(["first", "last", "neither"]),
    chunk=st.sampled_from([1, 20, 1 << 18]),
)  # fmt: skip
def test_parts_of_any_size_make_the_straightforward_form(
    n: int, k: int, channels: int, height: int, width: int, outputs: int, layout: str, chunk: int
) -> None:
    maps = some(n, k, channels, height, width, outputs)
    if layout == "last":
        maps[0] = maps[0].contiguous(memory_format=torch.channels_last)
    elif layout == "neither":
        maps[0] = maps[0].mT.contiguous().mT
    maps = [t.requires_grad_() for t in maps]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spatial_modulation_reference, "CHUNK", chunk)
        got = spatial_projection(*maps)
        grad = torch.randn_like(got)
        slopes = torch.autograd.grad(got, maps, grad)
    wanted = straight(*maps)
    torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(slopes, torch.autograd.grad(wanted, maps, grad), rtol=1e-8, atol=1e-8)
    assert slopes[0].stride() == torch.empty_like(maps[0]).stride()
    torch.testing.assert_close(by_blob(*maps), wanted, rtol=1e-10, atol=1e-12)


def test_it_is_differentiable_twice() -> None:
    maps = [t.requires_grad_() for t in some(2, 3, 4, 2, 3)]
    assert torch.autograd.gradcheck(spatial_projection, maps)
    assert torch.autograd.gradgradcheck(spatial_projection, maps)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_any_type_is_computed_in_single_precision(dtype: torch.dtype) -> None:
    maps = [t.to(dtype).requires_grad_() for t in some(2, 3, 8, 4, 4)]
    y = spatial_projection(*maps)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, straight(*(t.float() for t in maps)))
    torch.testing.assert_close(by_blob(maps[0], *(t.float() for t in maps[1:])), y, rtol=0.1, atol=0.3)
    slopes = torch.autograd.grad(y.sum(), maps)
    assert [t.dtype for t in slopes] == [dtype] * 4


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_autocast_changes_nothing(dtype: torch.dtype) -> None:
    maps = [t.float().requires_grad_() for t in some(2, 3, 8, 4, 4)]
    x = maps[0].to(dtype)
    found = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            y = spatial_projection(x, *maps[1:])
            slopes = torch.autograd.grad(y.square().sum(), maps, create_graph=True)
            found.append([y, *slopes, *torch.autograd.grad(slopes[0].square().sum(), maps)])
    for a, b in zip(*found, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_nothing_but_the_arguments_is_kept(dtype: torch.dtype) -> None:
    x, *small = [t.float().requires_grad_() for t in some(1, 11, 48, 16, 16)]
    maps = [x.detach().to(dtype).requires_grad_(), *small]
    assert saved_bytes(lambda: spatial_projection(*maps), besides=tuple(maps)) == 0


@pytest.mark.parametrize("turned", [False, True])
def test_the_ops_keep_to_their_contract(turned: bool) -> None:
    maps = [t.float() for t in some(2, 3, 4, 5, 6)]
    if turned:  # dense, and not in the usual order
        maps = [*(t.contiguous(memory_format=torch.channels_last) for t in maps[:2]),
                *(t.mT.contiguous().mT for t in maps[2:])]  # fmt: skip
    maps = [t.requires_grad_() for t in maps]
    torch.library.opcheck(SPATIAL_PROJECTION, tuple(maps))
    grad = torch.randn(2, 3, 5, 6, requires_grad=True)
    torch.library.opcheck(SPATIAL_PROJECTION_BACKWARD, (grad, *maps))


def test_compiles_without_a_break() -> None:
    maps = [t.float().requires_grad_() for t in some(2, 3, 8, 4, 4)]

    def loss(*maps: Tensor) -> Tensor:
        return spatial_projection(*maps).square().sum()

    got = torch.autograd.grad(torch.compile(loss, fullgraph=True, backend="aot_eager")(*maps), maps)
    torch.testing.assert_close(got, torch.autograd.grad(loss(*maps), maps))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.zeros(2, 6, 4)}, r"x must be \[N, C, H, W\], got \[2, 6, 4\]"),
        ({"weights": torch.zeros(2, 3, 4, 5)}, r"weights must be \[2, K, 4, 4\] for x of .*, got \[2, 3, 4, 5\]"),
        ({"styles": torch.zeros(2, 3, 5)}, r"styles must be \[2, 3, 6\] for these x and weights, got \[2, 3, 5\]"),
        ({"kernel": torch.zeros(3, 5)}, r"kernel must be \[O, 6\] for x of .*, got \[3, 5\]"),
        ({"kernel": torch.zeros(3, 6, device="meta")}, "kernel must be on cpu, as x is, got meta"),
        ({"kernel": torch.zeros(3, 6, dtype=torch.int64)}, "kernel must be .* float32 or float64, got int64"),
    ],
    ids=str,
)  # fmt: skip
def test_a_wrong_call_is_told_what(change: dict[str, Any], message: str) -> None:
    arguments = {"x": torch.zeros(2, 6, 4, 4), "weights": torch.zeros(2, 3, 4, 4), "styles": torch.zeros(2, 3, 6),
                 "kernel": torch.zeros(3, 6)}  # fmt: skip
    with pytest.raises(ValueError, match=message):
        spatial_projection(**{**arguments, **change})
