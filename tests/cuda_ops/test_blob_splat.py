"""Blobs to weights: the equations, what must hold of any layout, and what a wrong call gets."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from benchmarks.saved import saved_bytes
from cuda_ops.blob_splat import BLOB_SPLAT, blob_opacity, blob_splat
from tests.cuda_ops.layouts import Blobs, packed, some_blobs, splat

layouts = st.builds(some_blobs, st.integers(1, 2), st.integers(1, 5), seed=st.integers(0, 999))


def first(b: Blobs, resolution: int = 16, **options: Any) -> Tensor:
    return blob_splat(**b.arguments, resolution=resolution, smallest=resolution, **options)[resolution]


@settings(max_examples=30, deadline=None)
@given(b=layouts, halvings=st.integers(0, 3), data=st.data())
def test_weights_sum_to_one_and_a_level_is_the_mean_of_the_one_before(
    b: Blobs, halvings: int, data: st.DataObject
) -> None:
    order = torch.tensor(data.draw(st.permutations(range(b.size.shape[1]))))
    levels = list(blob_splat(**b.arguments, resolution=24, smallest=24 >> halvings, order=order).values())
    assert [level.shape[-1] for level in levels] == [24 >> i for i in range(halvings + 1)]
    for level in levels:
        assert level.min() >= 0
        torch.testing.assert_close(level.sum(1), torch.ones_like(level[:, 0]))
    for fine, coarse in pairwise(levels):
        torch.testing.assert_close(torch.nn.functional.avg_pool2d(fine, 2), coarse)


@settings(max_examples=30, deadline=None)
@given(b=layouts, data=st.data())
def test_order_and_names_of_blobs_are_two_things(b: Blobs, data: st.DataObject) -> None:
    n, k = b.size.shape
    names = torch.tensor([data.draw(st.permutations(range(k))) for _ in range(n)])
    renamed = Blobs(*(t.gather(1, names.view(n, k, *[1] * (t.ndim - 2)).expand_as(t)) for t in b))
    # Blob names[i] is now called i: the depths of the new names are those of the old.
    same = first(renamed, order=names.argsort(1))
    torch.testing.assert_close(same[:, 0], first(b)[:, 0])
    torch.testing.assert_close(same[:, 1:].take_along_dim(names.argsort(1)[..., None, None], 1), first(b)[:, 1:])
    torch.testing.assert_close(first(b, order=torch.arange(k)), first(b), rtol=0, atol=0)


@settings(max_examples=20, deadline=None)
@given(b=layouts, right=st.integers(-5, 5), down=st.integers(-5, 5))
def test_moved_blobs_make_the_same_picture_elsewhere(b: Blobs, right: int, down: int) -> None:
    moved = b._replace(centre=b.centre + torch.tensor([right, down], dtype=torch.float64) / 16)
    rows, columns = slice(max(down, 0), 16 + min(down, 0)), slice(max(right, 0), 16 + min(right, 0))
    there = first(moved)[:, :, rows, columns]
    here = first(b)[:, :, rows.start - down : rows.stop - down, columns.start - right : columns.stop - right]
    torch.testing.assert_close(there, here)


@settings(max_examples=20, deadline=None)
@given(b=layouts, turn=st.floats(-1e-6, 1e-6))
def test_a_small_turn_of_the_basis_is_a_small_change(b: Blobs, turn: float) -> None:
    torch.testing.assert_close(first(b._replace(turn=b.turn + turn)), first(b), rtol=0, atol=1e-4)
    torch.testing.assert_close(first(b._replace(turn=b.turn + torch.pi)), first(b), rtol=0, atol=1e-12)  # an ellipse


def test_a_blob_along_x_is_wider_than_tall() -> None:
    one = torch.ones(1, 1)
    b = Blobs(torch.tensor([[[0.5, 0.5]]]), one, one, 0 * one, one)
    weight = first(b, 32, offset=0.5)[0, 1]
    assert weight[15, 4] > weight[4, 15]
    torch.testing.assert_close(weight, weight.flip(0, 1))
    upright = first(b._replace(turn=torch.pi / 2 * one), 32, offset=0.5)[0, 1]
    torch.testing.assert_close(weight, upright.T)


@settings(max_examples=20, deadline=None)
@given(b=layouts, data=st.data())
def test_a_removed_blob_leaves_the_others_as_without_it(b: Blobs, data: st.DataObject) -> None:
    k = b.size.shape[1]
    gone = data.draw(st.integers(0, k - 1))
    rest = [i for i in range(k) if i != gone]
    for removed in (b._replace(size=b.size.index_fill(1, torch.tensor(gone), -200.0)),
                    b._replace(opacity=b.opacity.index_fill(1, torch.tensor(gone), 0.0))):  # fmt: skip
        weights = first(removed)
        assert weights[:, 1 + gone].max() < 1e-80
        if rest:
            torch.testing.assert_close(weights[:, [0, *(1 + i for i in rest)]], first(Blobs(*(t[:, rest] for t in b))))


def test_the_front_blob_shows_its_whole_opacity() -> None:
    b = some_blobs(2, 3)
    alone = blob_opacity(**b.arguments, resolution=16)
    torch.testing.assert_close(first(b)[:, 3], alone[:, 2])
    torch.testing.assert_close(first(b, order=torch.tensor([1, 2, 0]))[:, 1], alone[:, 0])
    assert (alone <= b.opacity[..., None, None]).all()


def test_opacity_is_one_by_default() -> None:
    b = some_blobs(1, 3)
    levels = blob_splat(b.centre, b.size, b.log_aspect, b.angle, 16, 8)
    assert list(levels) == [16, 8]
    torch.testing.assert_close(levels[16], first(b._replace(opacity=torch.ones_like(b.opacity))), rtol=0, atol=0)


def test_single_precision_keeps_five_digits_of_needles() -> None:
    b = some_blobs(2, 8)
    b = b._replace(log_aspect=8 * b.log_aspect)  # from a needle of 2000 to 1 to another across it
    got = first(Blobs(*(t.float() for t in b)), 64)
    torch.testing.assert_close(got.double(), splat(b, 64, 64)[0], rtol=0, atol=2e-5)


def test_types_follow_the_centre_unless_told() -> None:
    b = some_blobs(1, 2, torch.float32)
    assert first(b).dtype == torch.float32
    assert first(b, dtype=torch.bfloat16).dtype == torch.bfloat16
    half = first(Blobs(*(t.half() for t in b)))
    assert half.dtype == torch.float16
    torch.testing.assert_close(half.float(), first(b), rtol=0, atol=0.02)  # half a position of 2**-11


def test_only_the_blobs_are_kept_for_the_backward_pass() -> None:
    b = Blobs(*(t.requires_grad_() for t in some_blobs(2, 10, torch.float32)))
    ours = saved_bytes(lambda: BLOB_SPLAT(packed(b), None, 64, 16, 0.02, 0.0, torch.float32), besides=(b.turn,))
    assert ours == 2 * 10 * 7 * 4
    assert saved_bytes(lambda: splat(b, 64, 16)) >= 5 * ours


def test_compiles_without_a_break() -> None:
    b = Blobs(*(t.requires_grad_() for t in some_blobs(2, 3, torch.float32)))

    def loss(*tensors: Tensor) -> Tensor:
        levels = blob_splat(**Blobs(*tensors).arguments, resolution=16, smallest=8)
        return sum(level.square().sum() for level in levels.values())

    wanted = torch.autograd.grad(loss(*b), b)
    got = torch.autograd.grad(torch.compile(loss, fullgraph=True, backend="aot_eager")(*b), b)
    torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"centre": torch.zeros(2, 3)}, r"centre must be \[N, K, 2\] with K of 1 to 191, got \[2, 3\]"),
        ({"centre": torch.zeros(2, 192, 2)}, r"centre must be .* with K of 1 to 191, got \[2, 192, 2\]"),
        ({"size": torch.zeros(2, 4)}, r"size must be \[2, 3\], for a centre of \[2, 3, 2\], got \[2, 4\]"),
        ({"angle": torch.zeros(2, 3)}, r"angle must be \[2, 3, 2\]"),
        ({"opacity": torch.zeros(3)}, r"opacity must be \[2, 3\]"),
        ({"log_aspect": torch.zeros(2, 3, dtype=torch.float64)}, "log_aspect must be float32, as centre is"),
        ({"size": torch.zeros(2, 3, dtype=torch.int32)}, "size must be .* float32 or float64, got int32"),
        ({"size": torch.zeros(2, 3, device="meta")}, "size must be on cpu, as centre is, got meta"),
        ({"order": torch.zeros(4, dtype=torch.int64)}, r"order must be \[3\] or \[2, 3\] of int64, got \[4\] of int64"),
        ({"order": torch.zeros(3)}, r"order must be .* of int64, got \[3\] of float32"),
        ({"resolution": 24, "smallest": 8}, "resolution must be smallest times a power of 2, got 24 and 8"),
        ({"resolution": 8, "smallest": 16}, "resolution and smallest must be 1 or more, in this order, got 8 and 16"),
        ({"smallest": 0}, "resolution and smallest must be 1 or more"),
        ({"area": 0.0}, "area must be more than 0, got 0.0"),
        ({"dtype": torch.int64}, "dtype must be one of"),
    ],
    ids=str,
)  # fmt: skip
def test_a_wrong_call_is_told_what(change: dict[str, Any], message: str) -> None:
    b = some_blobs(2, 3, torch.float32)
    arguments = {**b.arguments, "resolution": 16, "smallest": 8, **change}
    with pytest.raises(ValueError, match=message):
        blob_splat(**arguments)
