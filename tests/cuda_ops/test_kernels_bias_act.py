"""The registered op: the kernels' arithmetic on the CPU, and the plain PyTorch one, against float64."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from cuda_ops import bias_act as module
from cuda_ops.bias_act import ACTIVATIONS, bias_act
from cuda_ops.registration import REFERENCES

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}
CASES = [{"act": act} for act in ACTIVATIONS] + [
    {"act": "lrelu", "gain": -0.7, "clamp": 0.4},
    {"act": "linear", "gain": 2.0, "clamp": 1.0},
    {"act": "swish", "gain": 2.0, "clamp": 0.8},
    {"act": "relu", "gain": 0.0},
]
LAYOUTS = {
    "contiguous": lambda x: x.contiguous(),
    "channels_last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "transposed": lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
    "strided": lambda x: torch.stack([x, x], dim=-1)[..., 0],
    "unaligned": lambda x: torch.cat([x.new_zeros(1), x.flatten()])[1:].view(x.shape),
}


def drawn(dtype: torch.dtype, shape: tuple[int, ...] = (2, 3, 5, 7)) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Values of ``dtype`` away from the kinks, where rounding would decide on the side."""
    g = torch.Generator().manual_seed(0)
    x, bias, dy, ddx = (torch.randn(s, dtype=torch.float64, generator=g) for s in (shape, shape[1:2], shape, shape))
    x = torch.where((x + bias.view(-1, *[1] * (len(shape) - 2))).abs() < 0.1, x + 0.3, x)
    return tuple(t.to(dtype) for t in (x, bias, dy, ddx))


def orders(x: Tensor, bias: Tensor, dy: Tensor, ddx: Tensor, options: dict[str, Any]) -> list[Tensor]:
    """The result and its first and second derivatives along given directions."""
    x, bias, dy = x.requires_grad_(), bias.requires_grad_(), dy.requires_grad_()
    y = bias_act(x, bias, **options)
    dx, db = torch.autograd.grad(y, (x, bias), dy, create_graph=True)
    second = torch.autograd.grad((dx * ddx).sum() + db.sum(), (x, bias, dy), allow_unused=True)
    none = (torch.zeros_like(x), torch.zeros_like(bias), torch.zeros_like(dy))
    return [y, dx, db, *(zero if t is None else t for t, zero in zip(second, none, strict=True))]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("options", CASES, ids=str)
def test_values_and_derivatives_are_those_in_float64(
    device: str, options: dict[str, Any], dtype: torch.dtype, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, bias, dy, ddx = (t.to(device) for t in drawn(dtype))
    got = orders(LAYOUTS[layout](x), bias, dy, ddx, options)
    with monkeypatch.context() as patch:
        patch.setattr(module.backend, "has_kernels", lambda x: False)
        wanted = orders(*(t.detach().double() for t in (x, bias, dy, ddx)), options)
    for a, b in zip(got, wanted, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=0, atol=TOLERANCE[dtype] * max(1.0, b.abs().max().item()))


@pytest.mark.parametrize("options", CASES, ids=str)
def test_the_ops_are_registered_well(device: str, options: dict[str, Any]) -> None:
    x, bias, dy, ddx = (t.to(device) for t in drawn(torch.float64, (2, 3, 4)))
    spec = ACTIVATIONS[options["act"]]
    settings = (1, module.NAMES.index(options["act"]), spec.alpha, options.get("gain", spec.gain),
                options.get("clamp", math.inf))  # fmt: skip
    for tensor in (x, bias, dy, ddx):
        tensor.requires_grad_()
    torch.library.opcheck(module.BIAS_ACT, (x, bias, *settings))
    torch.library.opcheck(module.BIAS_ACT, (x, None, *settings))
    smooth = options["act"] not in module.PIECEWISE_LINEAR
    reference = x if smooth else bias_act(x.detach(), bias.detach(), **options)
    torch.library.opcheck(module.BIAS_ACT_BACKWARD, (dy, reference, bias if smooth else None, *settings))
    if not smooth:
        torch.library.opcheck(module.BIAS_ACT_BACKWARD_WITH_BIAS, (dy, reference, *settings))
    else:
        torch.library.opcheck(module.BIAS_ACT_DOUBLE_BACKWARD, (ddx, dy, x, bias, *settings))


@pytest.mark.parametrize("options", CASES, ids=str)
def test_derivatives_are_right_to_the_third(device: str, options: dict[str, Any]) -> None:
    x, bias, _, _ = (t.to(device).requires_grad_() for t in drawn(torch.float64, (2, 3, 2)))
    assert gradcheck(lambda x, b: bias_act(x, b, **options), (x, bias))
    assert gradgradcheck(lambda x, b: bias_act(x, b, **options), (x, bias))

    def slope(x: Tensor, b: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad(bias_act(x, b, **options).square().sum(), (x, b), create_graph=True)

    assert gradgradcheck(slope, (x, bias))


def strides(x: Tensor) -> list[int]:
    """Those that matter."""
    return [stride for stride, size in zip(x.stride(), x.shape, strict=True) if size > 1 and x.numel()]


@given(
    shape=st.lists(st.integers(0, 19), min_size=1, max_size=5),
    data=st.data(),
    dtype=st.sampled_from([torch.float64, torch.float32, torch.float16]),
)
@settings(max_examples=60, deadline=None)
def test_any_shape_and_dimension(host_kernels: None, shape: list[int], data: st.DataObject, dtype: torch.dtype) -> None:
    dim = data.draw(st.integers(0, len(shape) - 1))
    order = data.draw(st.permutations(range(len(shape))))
    torch.manual_seed(0)
    x = torch.randn([shape[i] for i in order]).permute([order.index(i) for i in range(len(shape))]).to(dtype)
    bias = torch.randn(shape[dim], dtype=dtype)
    expected = bias_act(x, bias, act="lrelu", gain=1.5, clamp=3.0, dim=dim)
    settings = (dim, module.NAMES.index("lrelu"), 0.2, 1.5, 3.0)
    for op in (module.BIAS_ACT, REFERENCES["bias_act"]):
        got = op(x, bias, *settings)
        torch.testing.assert_close(got, expected, rtol=1e-2, atol=1e-2)
        assert strides(got) == strides(torch.empty_like(x))
    dx, db = module.BIAS_ACT_BACKWARD_WITH_BIAS(x, expected, *settings)
    wanted = REFERENCES["bias_act_backward_with_bias"](x.double(), expected.double(), *settings)
    torch.testing.assert_close((dx.double(), db.double()), wanted, rtol=1e-2, atol=1e-2 * math.sqrt(1 + x.numel()))


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("shape", [(2, 16, 70, 50), (700, 16), (9000, 9)])
def test_the_gradient_for_the_bias_is_the_sum_over_all_threads(
    device: str, shape: tuple[int, ...], layout: str
) -> None:
    x = torch.randn(shape, dtype=torch.float32, generator=torch.Generator().manual_seed(0)).to(device)
    x = x.contiguous(memory_format=torch.channels_last) if layout == "channels_last" and len(shape) == 4 else x
    arguments = (x, bias_act(x, act="relu"), 1, module.NAMES.index("relu"), 0.0, 1.5, math.inf)
    got = module.BIAS_ACT_BACKWARD_WITH_BIAS(*arguments)
    assert all(torch.equal(a, b) for a, b in zip(got, module.BIAS_ACT_BACKWARD_WITH_BIAS(*arguments), strict=True))
    wanted = REFERENCES["bias_act_backward_with_bias"](*arguments)
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize(("act", "limit"), [("relu", 0.0), ("lrelu", -math.inf), ("softplus", 0.0), ("elu", -1.0)])
def test_infinities_and_nan_pass_as_in_pytorch(device: str, act: str, limit: float) -> None:
    y = bias_act(torch.tensor([[-math.inf, math.inf, math.nan]], device=device), act=act, gain=1.0)
    assert y[0, 0].item() == pytest.approx(limit)
    assert y[0, 1].item() == math.inf
    assert y[0, 2].isnan()


def test_the_least_is_saved(device: str) -> None:
    saved: list[Tensor] = []
    x, bias = (torch.ones(shape, device=device, requires_grad=True) for shape in ((2, 3, 4), (3,)))
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        bias_act(x, bias)
        assert saved == []
        y = bias_act(x, bias, act="lrelu")
        assert [t.data_ptr() for t in saved] == [y.data_ptr()]
