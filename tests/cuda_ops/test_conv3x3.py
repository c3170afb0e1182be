"""The 3x3 convolution: the values, gradients and layout of the direct one, to any order, by kernels and without."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from cuda_ops import backend
from cuda_ops import conv3x3 as module
from cuda_ops.conv3x3 import conv3x3
from cuda_ops.minimal_filtering import IN_PYTORCH, image_maps
from cuda_ops.registration import without_autocast

CHANNELS = 128  # for any layout, by kernels or without


@pytest.fixture(scope="module", params=["kernels", "pytorch"], autouse=True)
def _maps(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "kernels":
            request.getfixturevalue("cpu_kernels")
        else:
            patch.setattr(backend, "_cpu_ready", False)
        assert (image_maps(torch.float32) == IN_PYTORCH) == (request.param == "pytorch")
        yield


def _by_points(x: Tensor, weight: Tensor) -> Tensor:
    """The fast algorithm whatever the sizes."""
    return module.CONV3X3(x, weight, False)


def _drawn(
    n: int, i: int, o: int, height: int, width: int, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    x, weight = torch.randn(n, i, height, width, dtype=dtype), torch.randn(o, i, 3, 3, dtype=dtype)
    return x.requires_grad_(), weight.requires_grad_()


@given(n=st.integers(1, 4), i=st.integers(1, 5), o=st.integers(1, 5), down=st.integers(1, 3), across=st.integers(1, 3))
@settings(max_examples=25, deadline=None)
def test_values_and_gradients_are_the_direct_convolution_s(n: int, i: int, o: int, down: int, across: int) -> None:
    x, weight = _drawn(n, i, o, 4 * down, 4 * across)
    y, expected = _by_points(x, weight), F.conv2d(x, weight, padding=1)
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-11)
    towards = torch.randn_like(y)
    got, wanted = (torch.autograd.grad(out, (x, weight), towards) for out in (y, expected))
    for a, b in zip(got, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-11)


def test_it_is_differentiable_twice_and_more() -> None:
    x, weight = _drawn(2, 2, 3, 4, 8)
    assert torch.autograd.gradcheck(_by_points, (x, weight))
    assert torch.autograd.gradgradcheck(_by_points, (x, weight))

    def penalty_gradient(convolve: Callable[[Tensor, Tensor], Tensor]) -> tuple[Tensor, ...]:
        slope = torch.autograd.grad(convolve(x, weight).square().sum(), x, create_graph=True)[0]
        bent = torch.autograd.grad(slope.square().sum(), weight, create_graph=True)[0]
        return torch.autograd.grad(bent.square().sum(), (x, weight))

    direct = penalty_gradient(lambda x, w: F.conv2d(x, w, padding=1))
    for a, b in zip(penalty_gradient(_by_points), direct, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(
    ("images", "parts"), [(2, 3), (1 / 2, 5 * 2), (1 / 3, 5 * 3), (0.01, 5 * 3)]
)
def test_a_batch_in_several_parts_is_the_batch(images: float, parts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight = _drawn(5, 3, 4, 12, 8)
    whole = _by_points(x, weight)
    gradients = torch.autograd.grad(whole.square().sum(), (x, weight))
    monkeypatch.setattr(module, "CHUNK", images * 12 * 8 * 4 * 36 / 16)
    assert len(list(module._parts(5, 12, 8 * 4))) == parts
    parted = _by_points(x, weight)
    torch.testing.assert_close(parted, whole)
    for a, b in zip(torch.autograd.grad(parted.square().sum(), (x, weight)), gradients, strict=True):
        torch.testing.assert_close(a, b)


def test_it_rounds_as_single_precision_does() -> None:
    x, weight = _drawn(4, CHANNELS, CHANNELS, 16, 16, torch.float32)
    exact = F.conv2d(x.double(), weight.double(), padding=1)
    error = (_by_points(x, weight) - exact).square().mean().sqrt()
    assert error / exact.std() < 3e-6


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_layout_is_the_inputs(layout: torch.memory_format) -> None:
    x, weight = _drawn(4, CHANNELS, CHANNELS, 16, 16, torch.float32)
    x = x.detach().contiguous(memory_format=layout)
    assert conv3x3(x, weight).is_contiguous(memory_format=layout)


def _is_fast(x: Tensor, weight: Tensor) -> bool:
    return "conv3x3" in type(conv3x3(x.detach().requires_grad_(), weight).grad_fn).__name__


def test_wide_layers_of_many_tiles_are_fast_and_the_others_direct() -> None:
    x, weight = torch.zeros(8, CHANNELS, 16, 16), torch.zeros(CHANNELS, CHANNELS, 3, 3)
    assert _is_fast(x, weight)
    assert not _is_fast(x[:1], weight), "too few tiles"
    assert not _is_fast(x, weight[:40]), "too few channels"
    assert not _is_fast(torch.zeros(8, CHANNELS, 14, 14), weight), "not whole tiles"
    assert not _is_fast(x.double(), weight.double())
    with torch.autocast("cpu", torch.bfloat16):
        assert conv3x3(x, weight).dtype == torch.bfloat16


@pytest.mark.parametrize(("channels", "images", "last", "kernels", "plain"), [
    (48, 2, True, True, False), (48, 2, False, False, False), (64, 2, True, True, True), (64, 2, False, False, False),
    (96, 2, False, True, False), (64, 1, True, True, False), (32, 8, True, False, False),
])  # fmt: skip
def test_kernels_and_channels_last_pay_sooner(
    channels: int, images: int, last: bool, kernels: bool, plain: bool
) -> None:
    x = torch.zeros(images, channels, 64, 64)
    x = x.contiguous(memory_format=torch.channels_last) if last else x
    assert _is_fast(x, torch.zeros(channels, channels, 3, 3)) == (kernels if backend.cpu_ready() else plain)


def test_no_images_have_no_gradient_and_half_types_are_taken() -> None:
    x, weight = _drawn(2, 3, 4, 8, 4)
    y = _by_points(x[:0], weight)
    assert y.shape == (0, 4, 8, 4)
    of_x, of_weight = torch.autograd.grad(y.sum(), (x, weight))
    assert of_x.count_nonzero() == of_weight.count_nonzero() == 0
    half = _by_points(x.bfloat16(), weight.bfloat16())
    torch.testing.assert_close(half.double(), F.conv2d(x, weight, padding=1), rtol=0, atol=0.5)


def test_threads_in_and_out_of_autocast_do_not_meet() -> None:
    x, weight = _drawn(2, 3, 4, 8, 4)
    inside, outside = threading.Event(), threading.Event()
    seen = []

    def entered(like: Tensor) -> Tensor:
        inside.set()
        assert outside.wait(10)
        return like

    def plain() -> None:
        assert inside.wait(10)
        _by_points(x.detach(), weight.detach())
        seen.append(torch.is_autocast_enabled("cpu"))
        outside.set()

    thread = threading.Thread(target=plain)
    thread.start()
    with torch.autocast("cpu", torch.bfloat16):
        without_autocast(entered)(x)
        seen.append(torch.is_autocast_enabled("cpu"))
    thread.join()
    assert seen == [False, True]


def test_a_backward_pass_under_autocast_keeps_its_precision() -> None:
    x, weight = _drawn(4, CHANNELS, CHANNELS, 16, 16, torch.float32)
    y = conv3x3(x, weight).square().sum()
    wanted = torch.autograd.grad(y, (x, weight), retain_graph=True)
    with torch.autocast("cpu", torch.bfloat16):
        got = torch.autograd.grad(y, (x, weight))
    for a, b in zip(got, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


@pytest.mark.parametrize(("x", "weight"), [([4, 8, 8], [8, 4, 3, 3]), ([1, 4, 8, 8], [8, 5, 3, 3]),
                                           ([1, 4, 8, 8], [8, 4, 1, 9])])  # fmt: skip
def test_other_shapes_are_refused(x: list[int], weight: list[int]) -> None:
    with pytest.raises(ValueError, match="x must be"):
        conv3x3(torch.zeros(x), torch.zeros(weight))


def test_only_asked_for_gradients_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight = _drawn(4, CHANNELS, CHANNELS, 16, 16, torch.float32)
    monkeypatch.setattr(module, "CONV3X3_OF_WEIGHT", lambda *_: pytest.fail("the weights want no gradient"))
    torch.autograd.grad(conv3x3(x, weight.detach()).sum(), x)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_ops_are_registered_well(layout: torch.memory_format) -> None:
    x, weight = _drawn(2, 3, 5, 8, 4)
    x = x.detach().contiguous(memory_format=layout).requires_grad_()
    grad = torch.randn(2, 5, 8, 4, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()
    torch.library.opcheck(module.CONV3X3, (x, weight, False))
    torch.library.opcheck(module.CONV3X3, (grad, weight, True))
    torch.library.opcheck(module.CONV3X3_OF_WEIGHT, (x, grad))
