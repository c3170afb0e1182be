"""What only a GPU shows: streams, sizes beyond 32 bits, many devices (``make gpu-check``)."""

from __future__ import annotations

import pytest
import torch

from cuda_ops.bias_act import bias_act
from cuda_ops.channel_affine import channel_affine
from cuda_ops.upfirdn2d import filter2d, setup_filter, upsample2d
from cuda_ops.upsample_sum import Frame, Piece, upsample_sum

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here"),
    pytest.mark.usefixtures("cuda_kernels"),
]


def test_kernels_run_on_the_current_stream() -> None:
    x = torch.zeros(1, 8, 256, 256, device="cuda")
    torch.cuda.synchronize()
    with torch.cuda.stream(torch.cuda.Stream()):
        torch.cuda._sleep(50_000_000)  # what is on another stream would not wait for this
        x.fill_(1.0)
        y = bias_act(filter2d(x, setup_filter().cuda(), padding=2), act="lrelu", gain=2.0)
        torch.cuda.current_stream().synchronize()
        assert (y[..., 3:-3, 3:-3] == 2).all()


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one GPU only")
def test_kernels_run_on_the_device_of_their_tensors() -> None:
    x = torch.ones(2, 3, 8, 8, device="cuda:1")
    y = bias_act(upsample2d(x, setup_filter().to("cuda:1")), act="relu", gain=1.0)
    assert y.device == x.device
    torch.testing.assert_close(y[..., 3:-3, 3:-3], torch.ones_like(y[..., 3:-3, 3:-3]))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_sizes_beyond_32_bits(layout: torch.memory_format) -> None:
    if torch.cuda.mem_get_info()[0] < 40e9:
        pytest.skip("less than 40 GB of GPU memory are free")
    x = torch.empty(33, 64, 1024, 1024, device="cuda", dtype=torch.float16, memory_format=layout)
    x.fill_(-1.0)
    x[-1, -1, -1, -1] = 3.0
    bias = torch.zeros(64, device="cuda", dtype=torch.float16)
    bias[-1] = 1.0
    y = bias_act(x, bias, act="lrelu", alpha=0.5, gain=1.0)
    assert y[-1, -1, -1, -1] == 4
    assert (y[-1, :-1] == -0.5).all()
    assert (y[0, :-1] == -0.5).all()
    del y
    y = filter2d(x, setup_filter([1, 1]).cuda(), padding=0)
    assert y[-1, -1, -1, -1] == 0
    assert (y[-1, :-1] == -1).all()
    assert (y[0] == -1).all()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_layers_of_sizes_beyond_32_bits(layout: torch.memory_format) -> None:
    if torch.cuda.mem_get_info()[0] < 40e9:
        pytest.skip("less than 40 GB of GPU memory are free")
    x = torch.empty(33, 64, 1024, 1024, device="cuda", dtype=torch.float16, memory_format=layout)
    x.fill_(-1.0)
    scale = torch.ones(33, 64, device="cuda")
    scale[-1, -1] = 3.0
    x.requires_grad_()
    scale.requires_grad_()
    y = channel_affine(x, scale, activation=(0.5, 1.0, float("inf")))
    assert (y[-1, -1] == -1.5).all()
    assert (y[-1, :-1] == -0.5).all()
    assert (y[0] == -0.5).all()
    of_x, of_scale = torch.autograd.grad(y, (x, scale), torch.ones_like(y))
    assert (of_x[-1, -1] == 1.5).all()
    assert (of_x[0] == 0.5).all()
    torch.testing.assert_close(of_scale, torch.full_like(scale, -0.5 * 1024**2))


def test_layers_run_on_the_current_stream() -> None:
    x, small = torch.zeros(1, 8, 256, 256, device="cuda"), torch.zeros(1, 8, 128, 128, device="cuda")
    torch.cuda.synchronize()
    with torch.cuda.stream(torch.cuda.Stream()):
        torch.cuda._sleep(50_000_000)  # what is on another stream would not wait for this
        x.fill_(1.0)
        small.fill_(2.0)
        scaled = channel_affine(x, torch.full((1, 8), 3.0, device="cuda"))
        enlarged = upsample_sum([Piece(small, 0, 0, 128, 128)], Frame(0, 0, 256, 256, 256, 256))
        torch.cuda.current_stream().synchronize()
        assert (scaled == 3).all()
        assert (enlarged == 2).all()
