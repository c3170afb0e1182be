"""The registered ops of blob_splat: the kernels' lines on the CPU, and the plain PyTorch ones, against float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from cuda_ops.blob_splat import BLOB_SPLAT, BLOB_SPLAT_BACKWARD, blob_splat
from tests.cuda_ops.layouts import Blobs, packed, some_blobs, splat

# Sums over all pixels lose more digits than the weights.
VALUES = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 1e-3, torch.bfloat16: 1e-2}
GRADIENTS = {torch.float64: 1e-11, torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}
SIZES = [(8, 8), (7, 7), (24, 3), (32, 2), (32, 1), (10, 5)]  # whole and broken tiles, up to more levels than a warp's


def ours(b: Blobs, resolution: int, smallest: int, **options: Any) -> list[Tensor]:
    return list(blob_splat(**b.arguments, resolution=resolution, smallest=smallest, **options).values())


def with_orders(n: int, k: int, device: str) -> list[Tensor | None]:
    g = torch.Generator().manual_seed(1)
    return [None, torch.stack([torch.randperm(k, generator=g) for _ in range(n)]).to(device)]


@pytest.mark.parametrize("dtype", VALUES)
@pytest.mark.parametrize(("resolution", "smallest"), SIZES)
def test_values_and_gradients_are_those_in_float64(
    device: str, resolution: int, smallest: int, dtype: torch.dtype
) -> None:
    single = torch.float64 if dtype == torch.float64 else torch.float32
    for order in with_orders(2, 3, device):
        b = Blobs(*(t.to(device, single).requires_grad_() for t in some_blobs(2, 3)))
        wide = Blobs(*(t.detach().double().requires_grad_() for t in b))
        got = ours(b, resolution, smallest, order=order, offset=0.5, dtype=dtype)
        wanted = splat(wide, resolution, smallest, order, offset=0.5)
        torch.manual_seed(0)
        grads = [torch.randn_like(level).to(dtype).double() for level in wanted]
        for a, w in zip(got, wanted, strict=True):
            torch.testing.assert_close(a.double(), w, rtol=0, atol=VALUES[dtype])
        slopes = torch.autograd.grad(got, b, [g.to(dtype) for g in grads])
        for a, w in zip(slopes, torch.autograd.grad(wanted, wide, grads), strict=True):
            torch.testing.assert_close(a.double(), w, rtol=0, atol=GRADIENTS[dtype] * w.abs().max().item())


def test_many_opaque_blobs_hide_the_others_and_nothing_overflows(device: str) -> None:
    exact = some_blobs(1, 12)
    exact = exact._replace(size=60 + exact.size, opacity=torch.ones_like(exact.opacity))
    b = Blobs(*(t.to(device, torch.float32).requires_grad_() for t in exact))
    wide = Blobs(*(t.detach().double().requires_grad_() for t in b))
    levels = ours(b, 16, 16)[0], splat(wide, 16, 16)[0]
    torch.manual_seed(0)
    grad = torch.randn_like(levels[1])
    slopes = torch.autograd.grad(levels[0], b, grad.float()), torch.autograd.grad(levels[1], wide, grad)
    torch.testing.assert_close(levels[0].double(), levels[1], rtol=0, atol=1e-5)
    for a, w in zip(*slopes, strict=True):
        torch.testing.assert_close(a.double(), w, rtol=0, atol=1e-4 * max(1.0, w.abs().max().item()))


def test_the_ops_are_registered_well(device: str) -> None:
    dtype = torch.float64 if device == "cpu" else torch.float32
    blobs = packed(some_blobs(2, 2)).to(device, dtype).requires_grad_()
    order = torch.tensor([[1, 0], [0, 1]], device=device)
    view = (8, 4, 0.02, 0.5)
    grads = [torch.ones(2, 3, r, r, dtype=dtype, device=device, requires_grad=True) for r in (8, 4)]
    torch.library.opcheck(BLOB_SPLAT, (blobs, order, *view, dtype))
    torch.library.opcheck(BLOB_SPLAT_BACKWARD, (grads, blobs, order, *view))
    # In index order, and not contiguous: what a graph is traced with must still fit.
    some = ("test_schema", "test_faketensor")
    torch.library.opcheck(BLOB_SPLAT, (blobs.mT.contiguous().mT, None, *view, dtype), test_utils=some)
    torch.library.opcheck(BLOB_SPLAT_BACKWARD, ([g.mT for g in grads], blobs, None, *view), test_utils=some)


def test_derivatives_are_right_to_the_second(device: str) -> None:
    b = tuple(t.to(device).requires_grad_() for t in some_blobs(1, 2))

    def levels(*tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(ours(Blobs(*tensors), 4, 2, order=torch.tensor([1, 0], device=device), offset=0.5))

    assert gradcheck(levels, b)
    assert gradgradcheck(levels, b)


def test_a_penalty_on_gradients_differentiates_what_they_came_from(device: str) -> None:
    """As a path length: the gradient of the levels itself depends on the blobs."""
    b = Blobs(*(t.to(device).requires_grad_() for t in some_blobs(2, 3)))

    def penalty(levels: list[Tensor]) -> Tensor:
        energy = sum(level.pow(3).sum() for level in levels)
        return sum(g.square().sum() for g in torch.autograd.grad(energy, b, create_graph=True))

    got = torch.autograd.grad(penalty(ours(b, 8, 4)), b)
    wanted = torch.autograd.grad(penalty(splat(b, 8, 4)), b)
    torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-9)
