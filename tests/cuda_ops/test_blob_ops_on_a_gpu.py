"""What only a GPU shows of the blob ops: streams, sizes beyond 32 bits, a graph without a wait (``make gpu-check``)."""

from __future__ import annotations

import pytest
import torch

from cuda_ops.blob_splat import blob_splat
from cuda_ops.spatial_modulation import spatial_modulation
from tests.cuda_ops.layouts import some_blobs, some_maps

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here"),
    pytest.mark.usefixtures("cuda_kernels"),
]


def test_kernels_run_on_the_current_stream() -> None:
    maps = [t.float().cuda() for t in some_maps(1, 3, 8, 32, 32)]
    blobs = {name: t.float().cuda() for name, t in some_blobs(1, 3).arguments.items()}
    wanted = spatial_modulation(*maps), blob_splat(**blobs, resolution=64, smallest=16)[16]
    late = [torch.zeros_like(t) for t in maps], {name: torch.zeros_like(t) for name, t in blobs.items()}
    torch.cuda.synchronize()
    with torch.cuda.stream(torch.cuda.Stream()):
        torch.cuda._sleep(50_000_000)  # what is on another stream would not wait for this
        for to, value in [*zip(late[0], maps, strict=True), *((late[1][name], blobs[name]) for name in blobs)]:
            to.copy_(value)
        got = spatial_modulation(*late[0]), blob_splat(**late[1], resolution=64, smallest=16)[16]
        torch.cuda.current_stream().synchronize()
    torch.testing.assert_close(got, wanted, rtol=0, atol=0)


def test_a_graph_is_captured_forward_and_backward() -> None:
    blobs = {name: t.float().cuda().requires_grad_() for name, t in some_blobs(2, 3).arguments.items()}
    x, _, styles = (t.float().cuda().requires_grad_() for t in some_maps(2, 4, 8, 16, 16))
    inputs = (*blobs.values(), x, styles)

    def gradients() -> tuple[torch.Tensor, ...]:
        weights = blob_splat(**blobs, resolution=64, smallest=16)[16]
        return torch.autograd.grad(spatial_modulation(x, weights, styles).square().sum(), inputs)

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        wanted = gradients()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):  # a wait for the GPU would raise
        got = gradients()
    graph.replay()
    torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_sizes_beyond_32_bits(layout: torch.memory_format) -> None:
    if torch.cuda.mem_get_info()[0] < 40e9:
        pytest.skip("less than 40 GB of GPU memory are free")
    n, channels, side = 33, 64, 1024
    x = torch.ones(n, channels, side, side, device="cuda", dtype=torch.float16).contiguous(memory_format=layout)
    weights = torch.full((n, 2, side, side), 0.5, device="cuda", dtype=torch.float16)
    styles = torch.full((n, 2, channels), 3.0, device="cuda", dtype=torch.float16)
    weights[-1, :, -1, -1] = torch.tensor([1.0, 0.0])
    styles[-1, 1] = 5.0
    styles[-1, 0, : channels // 2] = -3.0
    y = spatial_modulation(x, weights, styles)
    assert (y[0] == 1).all()
    assert (y[-1, : channels // 2, -1, -1] == -1).all()
    assert (y[-1, channels // 2 :, -1, -1] == 1).all()


def test_a_pyramid_beyond_32_bits() -> None:
    if torch.cuda.mem_get_info()[0] < 40e9:
        pytest.skip("less than 40 GB of GPU memory are free")
    n, k, side = 33, 63, 1024
    blobs = {name: t.float().cuda() for name, t in some_blobs(1, k).arguments.items()}
    many = {name: t.expand(n, *t.shape[1:]) for name, t in blobs.items()}
    got = blob_splat(**many, resolution=side, smallest=16, dtype=torch.float16)
    wanted = blob_splat(**blobs, resolution=side, smallest=16, dtype=torch.float16)
    for r, level in got.items():
        torch.testing.assert_close(level[-1:], wanted[r], rtol=0, atol=0)
