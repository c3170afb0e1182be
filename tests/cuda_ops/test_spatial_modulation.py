"""Modulation by a style at each pixel: what must hold for any maps, and what a wrong call gets."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from benchmarks.ops_blob import straight_modulation
from benchmarks.saved import saved_bytes
from cuda_ops import spatial_modulation_reference
from cuda_ops.spatial_modulation import spatial_modulation
from tests.cuda_ops.layouts import some_maps


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(1, 3), k=st.integers(1, 6), channels=st.integers(1, 9), height=st.integers(1, 7),
    width=st.integers(1, 7), last=st.booleans(), chunk=st.sampled_from([1, 20, 1 << 18]),
)  # fmt: skip
def test_parts_of_any_size_make_the_straightforward_form(
    n: int, k: int, channels: int, height: int, width: int, last: bool, chunk: int
) -> None:
    maps = some_maps(n, k, channels, height, width)
    if last:
        maps[0] = maps[0].contiguous(memory_format=torch.channels_last)
    maps = [t.requires_grad_() for t in maps]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spatial_modulation_reference, "CHUNK", chunk)
        got = spatial_modulation(*maps)
        grad = torch.randn_like(got)
        slopes = torch.autograd.grad(got, maps, grad)
    wanted = straight_modulation(*maps)
    torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(slopes, torch.autograd.grad(wanted, maps, grad), rtol=1e-8, atol=1e-8)


@settings(max_examples=20, deadline=None)
@given(factor=st.floats(0.1, 100.0), data=st.data())
def test_styles_have_no_scale_and_blobs_no_order(factor: float, data: st.DataObject) -> None:
    x, weights, styles = some_maps(2, 4, 6, 5, 5)
    y = spatial_modulation(x, weights, styles)
    torch.testing.assert_close(spatial_modulation(x, weights * factor, styles), y, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(spatial_modulation(x, weights, styles * factor), y, rtol=1e-5, atol=1e-5)
    order = data.draw(st.permutations(range(4)))
    torch.testing.assert_close(spatial_modulation(x, weights[:, order], styles[:, order]), y)


def test_one_style_everywhere_modulates_channels() -> None:
    x, _, styles = some_maps(2, 1, 6, 4, 4)
    y = spatial_modulation(x, torch.ones(2, 1, 4, 4, dtype=torch.float64), styles)
    norm = (styles.square().mean(2, keepdim=True) + 1e-8).sqrt()
    torch.testing.assert_close(y, x * (styles / norm)[:, 0, :, None, None])


def test_a_pixel_sees_its_own_weights_only() -> None:
    x, weights, styles = some_maps(1, 3, 5, 6, 6)
    changed = weights.clone()
    changed[:, :, 2, 3] += 1.0
    moved = (spatial_modulation(x, changed, styles) - spatial_modulation(x, weights, styles)).abs().amax((0, 1))
    assert moved[2, 3] > 1e-3
    assert moved.count_nonzero() == 1


def test_styles_that_cancel_stay_finite_in_single_precision() -> None:
    x, _, styles = some_maps(1, 2, 64, 4, 4)
    maps = [x.float(), torch.full((1, 2, 4, 4), 0.5), torch.cat([styles[:, :1], -styles[:, :1]], 1).float()]
    maps = [t.requires_grad_() for t in maps]
    y = spatial_modulation(*maps)
    assert all(t.isfinite().all() for t in (y, *torch.autograd.grad(y.sum(), maps)))
    assert y.abs().max() < 1e-2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_nothing_but_the_arguments_is_kept(dtype: torch.dtype) -> None:
    maps = [t.to(dtype).requires_grad_() for t in some_maps(1, 11, 48, 16, 16)]
    assert saved_bytes(lambda: spatial_modulation(*maps), besides=tuple(maps)) == 0
    # Both forms keep x, which the layer before keeps as well. Beside it ours keeps weights and styles.
    ours = saved_bytes(lambda: spatial_modulation(*maps), besides=maps[:1])
    assert saved_bytes(lambda: straight_modulation(*maps), besides=maps[:1]) >= 5 * ours


def test_weights_and_styles_take_the_type_of_x() -> None:
    x, weights, styles = (t.float() for t in some_maps(1, 3, 8, 4, 4))
    y = spatial_modulation(x.bfloat16(), weights, styles)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), spatial_modulation(x, weights, styles), rtol=2e-2, atol=2e-2)


def test_compiles_without_a_break() -> None:
    maps = [t.float().requires_grad_() for t in some_maps(2, 3, 8, 4, 4)]

    def loss(*maps: Tensor) -> Tensor:
        return spatial_modulation(*maps).square().sum()

    got = torch.autograd.grad(torch.compile(loss, fullgraph=True, backend="aot_eager")(*maps), maps)
    torch.testing.assert_close(got, torch.autograd.grad(loss(*maps), maps))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.zeros(2, 6, 4)}, r"x must be \[N, C, H, W\], got \[2, 6, 4\]"),
        ({"x": torch.zeros(2, 6, 4, 4, dtype=torch.int64)}, "x must be .* float32 or float64, got int64"),
        ({"weights": torch.zeros(2, 3, 4, 5)}, r"weights must be \[2, K, 4, 4\] for x of .*, got \[2, 3, 4, 5\]"),
        ({"weights": torch.zeros(2, 0, 4, 4)}, "weights must have 1 to 192 maps, got 0"),
        ({"weights": torch.zeros(2, 193, 4, 4)}, "weights must have 1 to 192 maps, got 193"),
        ({"styles": torch.zeros(2, 3, 5)}, r"styles must be \[2, 3, 6\] for these x and weights, got \[2, 3, 5\]"),
        ({"styles": torch.zeros(2, 3, 6, device="meta")}, "styles must be on cpu, as x is, got meta"),
        ({"eps": 0.0}, "eps must be more than 0, got 0.0"),
    ],
    ids=str,
)  # fmt: skip
def test_a_wrong_call_is_told_what(change: dict[str, Any], message: str) -> None:
    arguments = {"x": torch.zeros(2, 6, 4, 4), "weights": torch.zeros(2, 3, 4, 4), "styles": torch.zeros(2, 3, 6)}
    with pytest.raises(ValueError, match=message):
        spatial_modulation(**{**arguments, **change})
