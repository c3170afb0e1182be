"""An edit is a step: it adds, scales, keeps to rows, and refuses codes that it does not belong to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from networks.checkpoints.bundle import save_bundle
from networks.checkpoints.edits import load_edit, save_edit
from networks.checkpoints.errors import GanvasError
from networks.latent import Latent
from networks.latent_edit import LatentEdit

ROWS, WIDTH = 6, 4


def codes(n: int = 3, seed: int = 0, owner: str | None = "a" * 64) -> Latent:
    return Latent("w+", {"ws": torch.randn(n, ROWS, WIDTH, generator=torch.Generator().manual_seed(seed))}, None, owner)


def an_edit(seed: int = 1, **changes: object) -> LatentEdit:
    step = torch.randn(ROWS, WIDTH, generator=torch.Generator().manual_seed(seed))
    return replace(LatentEdit("w+", {"ws": step}, "a" * 64, ("mouth",), "smile"), **changes)


@given(a=st.floats(-3, 3), b=st.floats(-3, 3))
@hypothesis_settings(deadline=None)
def test_strengths_add_up(a: float, b: float) -> None:
    edit, start = an_edit(), codes()
    twice = edit.apply(edit.apply(start, a), b)
    torch.testing.assert_close(twice.tensors["ws"], edit.apply(start, a + b).tensors["ws"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close((edit * a).apply(start).tensors["ws"], edit.apply(start, a).tensors["ws"])


def test_nothing_else_of_a_latent_changes() -> None:
    start = codes().with_noise({"b4.conv1": torch.zeros(3, 4, 4)})
    moved = an_edit().apply(start)
    assert (moved.space, moved.generator_hash) == (start.space, start.generator_hash)
    assert torch.equal(moved.tensors["noise.b4.conv1"], start.tensors["noise.b4.conv1"])
    assert torch.equal(an_edit().apply(start, 0.0).tensors["ws"], start.tensors["ws"])


def test_sums_apply_both_and_name_both() -> None:
    both = an_edit(1) + an_edit(2, region=("hair", "mouth"), name="curls")
    one_by_one = an_edit(2).apply(an_edit(1).apply(codes()))
    torch.testing.assert_close(both.apply(codes()).tensors["ws"], one_by_one.tensors["ws"])
    assert (both.region, both.name) == (("mouth", "hair"), "smile + curls")


def test_rows_are_restricted_by_a_strength_for_each_or_for_good() -> None:
    strengths = torch.tensor([0.0, 0, 1, 1, 0, 0])
    by_strength = an_edit().apply(codes(), strengths)
    by_rows = an_edit().rows(2, 4).apply(codes())
    assert torch.equal(by_strength.tensors["ws"], by_rows.tensors["ws"])
    assert torch.equal(by_rows.tensors["ws"][:, :2], codes().tensors["ws"][:, :2])


def test_an_edit_between_codes_leads_from_one_to_the_other() -> None:
    start, end = codes(1), codes(1, seed=5)
    edit = LatentEdit.between(start, end, ("hair",))
    torch.testing.assert_close(edit.apply(start).tensors["ws"], end.tensors["ws"])
    assert edit.generator_hash == start.generator_hash


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: an_edit().apply(codes(), float("nan")), "finite number"),
        (lambda: an_edit().apply(codes(), torch.tensor([float("inf")] * ROWS)), "must be finite"),
        (lambda: an_edit().apply(codes(), torch.ones(2)), r"\[6\], got \[2\]"),
        (lambda: an_edit().apply(codes(owner="b" * 64)), "belongs to generator aaaaaaaaaaaa"),
        (lambda: an_edit().apply(Latent("w", {"w": torch.zeros(1, WIDTH)})), r"in w\+, and these are in w"),
        (lambda: an_edit().apply(Latent("w+", {"ws": torch.zeros(1, 8, WIDTH)})), r"\[8, 4\]"),
        (lambda: an_edit() + an_edit(generator_hash="b" * 64), "different generators"),
        (lambda: an_edit() + LatentEdit("w", {"w": torch.zeros(WIDTH)}), "different spaces"),
        (lambda: an_edit().rows(4, 9), "rows 4 to 9"),
        (lambda: LatentEdit("w", {"w": torch.zeros(WIDTH)}).rows(0, 1), "has no rows"),
        (lambda: an_edit(delta={"ws": torch.full((ROWS, WIDTH), torch.nan)}), "NaN or infinite"),
        (lambda: an_edit(delta={}), "delta is empty"),
        (lambda: LatentEdit.between(codes(2), codes(3)), "as many codes"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(make, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make()


def test_a_bundle_gives_the_edit_back(tmp_path: Path) -> None:
    edit = an_edit()
    found = load_edit(save_edit(tmp_path / "smile.safetensors", edit, {"licence": "CC0-1.0"}))
    assert torch.equal(found.delta["ws"], edit.delta["ws"])
    assert (found.space, found.generator_hash, found.region, found.name) == ("w+", "a" * 64, ("mouth",), "smile")


def test_a_vector_of_editgan_is_read_and_written(tmp_path: Path) -> None:
    path = save_edit(tmp_path / "smile.npy", an_edit())
    assert np.load(path).shape == (1, ROWS, WIDTH)
    found = load_edit(path)
    assert torch.equal(found.delta["ws"], an_edit().delta["ws"])
    assert (found.generator_hash, found.region, found.name) == (None, (), "smile")
    with pytest.raises(GanvasError, match=r"in w\+"):
        save_edit(tmp_path / "a.npy", LatentEdit("w", {"w": torch.zeros(WIDTH)}))


@pytest.mark.parametrize("array", [
    np.zeros((2, ROWS, WIDTH), np.float32), np.zeros(3, np.float32), np.zeros((ROWS, WIDTH), int),
    np.full((ROWS, WIDTH), np.nan, np.float32), np.array([{"a": 1}], dtype=object),
])  # fmt: skip
def test_arrays_that_are_no_vectors_are_refused(array: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", array)
    with pytest.raises(GanvasError, match=r"v\.npy"):
        load_edit(tmp_path / "v.npy")


def test_other_bundles_are_no_edits(tmp_path: Path) -> None:
    path = save_bundle(tmp_path / "x.safetensors", {"ws": torch.zeros(1)}, {"kind": "latents"})
    with pytest.raises(GanvasError, match="not an edit"):
        load_edit(path)
    path = save_bundle(tmp_path / "y.safetensors", {"ws": torch.zeros(1)}, {"kind": "edit", "space": "moon"})
    with pytest.raises(GanvasError, match="does not describe an edit"):
        load_edit(path)
    with pytest.raises(GanvasError, match=r"cannot be read"):
        load_edit(tmp_path / "none.npy")
