"""A convolution with a style at each pixel, against its definition."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from cuda_ops.modulated_conv2d import modulated_conv2d
from cuda_ops.regional_conv2d import regional_conv2d
from cuda_ops.upfirdn2d import setup_filter


def inputs(k: int = 3, size: int = 8, up: int = 1, kernel: int = 3) -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(shape, dtype=torch.float64, generator=rng)  # noqa: E731
    fine = draw(2, k, size * up, size * up).softmax(dim=1)
    return {
        "x": draw(2, 5, size, size), "weight": draw(4, 5, kernel, kernel), "styles": draw(2, k, 5),
        "regions": F.avg_pool2d(fine, up) if up > 1 else fine, "regions_out": fine,
    }  # fmt: skip


@pytest.mark.parametrize("kernel", [1, 3])
def test_it_is_its_definition(kernel: int) -> None:
    given = inputs(kernel=kernel)
    s = torch.einsum("nkhw,nki->nihw", given["regions"], given["styles"])
    y = F.conv2d(given["x"] * s, given["weight"], padding=kernel // 2)
    energy = F.conv2d(s.square(), given["weight"].square().sum(dim=[2, 3], keepdim=True))
    torch.testing.assert_close(regional_conv2d(**given), y * (energy + 1e-8).rsqrt())
    torch.testing.assert_close(regional_conv2d(**given, demodulate=False), y)


@pytest.mark.parametrize("up", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_style_everywhere_is_the_plain_layer(up: int, dtype: torch.dtype) -> None:
    given = {name: t.to(dtype) for name, t in inputs(up=up).items()}
    same = given["styles"][:, :1].expand(-1, 3, -1)
    rng = torch.Generator().manual_seed(1)
    rest = {
        "noise": torch.randn(8 * up, 8 * up, generator=rng, dtype=dtype),
        "noise_strength": torch.tensor(0.5, dtype=dtype),
        "bias": torch.randn(4, generator=rng, dtype=dtype), "up": up, "resample_filter": setup_filter().to(dtype),
        "act": "lrelu", "clamp": 2.0,
    }  # fmt: skip
    found = regional_conv2d(given["x"], given["weight"], same, given["regions"], given["regions_out"], **rest)
    expected = modulated_conv2d(given["x"], given["weight"], same[:, 0], **rest)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)


def test_gradients_of_both_orders() -> None:
    given = inputs(k=2, size=4)
    names = ("x", "weight", "styles", "regions")
    free = tuple(given[name].requires_grad_() for name in names)
    run = lambda *tensors: regional_conv2d(*tensors, act="lrelu")  # noqa: E731
    assert torch.autograd.gradcheck(run, free)
    assert torch.autograd.gradgradcheck(run, free)


def test_half_precision_does_not_overflow() -> None:
    given = {name: t.half() for name, t in inputs().items()}
    given["styles"] = given["styles"] * 2000
    found = regional_conv2d(**given)
    assert found.dtype == torch.float16
    assert found.isfinite().all()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"styles": torch.zeros(2, 3, 6, dtype=torch.float64)}, r"styles must be \[2, K, 5\]"),
        ({"regions": torch.zeros(2, 2, 8, 8, dtype=torch.float64)}, r"regions must be \[2, 3, 8, 8\]"),
        ({"regions_out": torch.zeros(2, 3, 4, 4, dtype=torch.float64)}, r"regions_out must be \[2, 3, 8, 8\]"),
        ({"up": 2}, "up must be 1, or 2 with a resample_filter"),
        ({"act": "swish"}, "act must be one of"),
        ({"weight": torch.zeros(4, 5, 2, 2, dtype=torch.float64)}, "with an odd k"),
    ],
)
def test_what_does_not_fit_is_named(change: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        regional_conv2d(**{**inputs(), **change})
