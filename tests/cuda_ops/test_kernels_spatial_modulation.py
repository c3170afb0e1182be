"""The registered ops of spatial_modulation: the kernels' lines on the CPU, and plain PyTorch, against float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from benchmarks.ops_blob import straight_modulation
from cuda_ops.spatial_modulation import SPATIAL_MODULATION, SPATIAL_MODULATION_BACKWARD, spatial_modulation
from tests.cuda_ops.layouts import some_maps

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}
LAYOUTS = {
    "contiguous": lambda x: x.contiguous(),
    "channels_last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "samples_last": lambda x: x.permute(1, 2, 3, 0).contiguous().permute(3, 0, 1, 2),
    "strided": lambda x: torch.stack([x, x], dim=-1)[..., 0],
    "unaligned": lambda x: torch.cat([x.new_zeros(1), x.flatten()])[1:].view(x.shape),
}
# n, k, channels, height, width: aligned sides; sides of no whole vector; several blocks in each direction.
SHAPES = [(2, 3, 8, 4, 4), (2, 5, 7, 3, 5), (1, 2, 140, 4, 34), (1, 13, 4, 30, 33)]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_and_gradients_are_those_in_float64(device: str, shape: tuple[int, ...], layout: str) -> None:
    _compare(shape, layout, torch.float64, device)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_types_are_as_exact_as_they_can_be(device: str, dtype: torch.dtype, layout: str) -> None:
    _compare((2, 4, 12, 6, 8), layout, dtype, device)


def test_more_blobs_than_a_block_sums_at_once(device: str) -> None:
    _compare((1, 68, 4, 2, 4), "contiguous", torch.float64, device)


def _compare(shape: tuple[int, ...], layout: str, dtype: torch.dtype, device: str) -> None:
    maps = [t.to(device, dtype) for t in some_maps(*shape)]
    wide = [t.double().requires_grad_() for t in maps]
    maps = [LAYOUTS[layout](maps[0]).requires_grad_(), *(t.requires_grad_() for t in maps[1:])]
    got, wanted = spatial_modulation(*maps), straight_modulation(*wide)
    torch.manual_seed(0)
    grad = torch.randn_like(wanted).to(dtype)
    slopes = torch.autograd.grad(got, maps, grad), torch.autograd.grad(wanted, wide, grad.double())
    for a, w in zip((got, *slopes[0]), (wanted, *slopes[1]), strict=True):
        assert a.dtype == dtype
        torch.testing.assert_close(a.double(), w, rtol=0, atol=TOLERANCE[dtype] * max(1.0, w.abs().max().item()))
    assert got.stride() == torch.empty_like(maps[0]).stride()


def test_the_ops_are_registered_well(device: str) -> None:
    dtype = torch.float64 if device == "cpu" else torch.float32
    maps = [t.to(device, dtype).requires_grad_() for t in some_maps(2, 3, 4, 3, 3)]
    grad = torch.ones_like(maps[0], requires_grad=True)
    torch.library.opcheck(SPATIAL_MODULATION, (*maps, 1e-8))
    torch.library.opcheck(SPATIAL_MODULATION_BACKWARD, (grad, *maps, 1e-8))
    some = ("test_schema", "test_faketensor")
    for layout in LAYOUTS.values():
        other = [layout(maps[0]), maps[1].mT, maps[2]]
        torch.library.opcheck(SPATIAL_MODULATION, (*other, 1e-8), test_utils=some)
        torch.library.opcheck(SPATIAL_MODULATION_BACKWARD, (grad, *other, 1e-8), test_utils=some)


def test_derivatives_are_right_to_the_second(device: str) -> None:
    maps = tuple(t.to(device).requires_grad_() for t in some_maps(1, 2, 3, 2, 2))
    assert gradcheck(spatial_modulation, maps)
    assert gradgradcheck(spatial_modulation, maps)


def test_a_penalty_on_gradients_differentiates_what_they_came_from(device: str) -> None:
    """As a path length: the gradient of y itself depends on the maps."""
    maps = [t.to(device).requires_grad_() for t in some_maps(2, 3, 4, 3, 3)]

    def penalty(y: Tensor) -> Tensor:
        return sum(g.square().sum() for g in torch.autograd.grad(y.pow(3).sum(), maps, create_graph=True))

    got = torch.autograd.grad(penalty(spatial_modulation(*maps)), maps)
    wanted = torch.autograd.grad(penalty(straight_modulation(*maps)), maps)
    torch.testing.assert_close(got, wanted, rtol=1e-8, atol=1e-8)
