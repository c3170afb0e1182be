"""The maps of minimal filtering: kernels and plain PyTorch alike, whatever the sizes, and what a kernel refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cuda_ops import backend, build
from cuda_ops.build import Verdict
from cuda_ops.minimal_filtering import IN_PYTORCH, Maps, image_maps


@pytest.fixture(scope="module")
def kernels(cpu_kernels: None) -> Maps:
    maps = image_maps(torch.float32)
    assert maps != IN_PYTORCH
    assert image_maps(torch.bfloat16) == IN_PYTORCH
    return maps


@given(
    n=st.integers(1, 3), down=st.integers(1, 4), across=st.integers(1, 3), channels=st.integers(1, 37),
    dtype=st.sampled_from([torch.float32, torch.float64]), data=st.data(),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_kernels_do_what_plain_pytorch_does(
    kernels: Maps, n: int, down: int, across: int, channels: int, dtype: torch.dtype, data: st.DataObject
) -> None:
    torch.manual_seed(0)
    whole = torch.randn(n + 1, 4 * down, 4 * across, channels, dtype=dtype)
    x = whole[data.draw(st.integers(0, 1)) :]
    top = 4 * data.draw(st.integers(0, down - 1))
    bottom = 4 * data.draw(st.integers(top // 4 + 1, down))
    close = {"rtol": 0, "atol": 1e-4 if dtype == torch.float32 else 1e-12}
    points = IN_PYTORCH.input_points(x, top, bottom)
    torch.testing.assert_close(kernels.input_points(x, top, bottom), points, **close)
    rows = x[:, top:bottom]
    torch.testing.assert_close(kernels.gradient_points(rows), IN_PYTORCH.gradient_points(rows), **close)
    outputs = [torch.full_like(whole, torch.nan) for _ in range(2)]
    for maps, y in zip((kernels, IN_PYTORCH), outputs, strict=True):
        maps.output_from_points(points, y[len(whole) - len(x) :, top:bottom])
    torch.testing.assert_close(*outputs, **close, equal_nan=True)


def test_threads_share_the_tiles(kernels: Maps) -> None:
    x = torch.randn(4, 32, 32, 64)
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(kernels.input_points(x, 0, 32))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*found)


@pytest.mark.parametrize(("name", "arguments", "why"), [
    ("gradient_points", (torch.zeros(1, 3, 4, 4).permute(0, 2, 3, 1),), "channels last"),
    ("gradient_points", (torch.zeros(1, 4, 4, 3, dtype=torch.float16),), "float32 and float64"),
    ("gradient_points", (torch.zeros(1, 6, 4, 3),), "whole tiles"),
    ("input_points", (torch.zeros(1, 8, 4, 3), 4, 12), "rows that the images have"),
    ("input_points", (torch.zeros(1, 8, 4, 3), 0, 2), "rows that the images have"),
    ("output_from_points", (torch.zeros(36, 1, 3), torch.zeros(1, 8, 4, 3)), "contiguous products"),
    ("output_from_points", (torch.zeros(36, 2, 2), torch.zeros(1, 8, 4, 3)), "contiguous products"),
    ("output_from_points", (torch.zeros(36, 3, 2).mT, torch.zeros(1, 8, 4, 3)), "contiguous products"),
    ("output_from_points", (torch.zeros(36, 2, 3).double(), torch.zeros(1, 8, 4, 3)), "contiguous products"),
])  # fmt: skip
def test_a_kernel_refuses_what_it_would_misread(
    kernels: Maps, name: str, arguments: tuple[Any, ...], why: str
) -> None:
    with pytest.raises(RuntimeError, match=why):
        getattr(kernels, name)(*arguments)


@pytest.mark.parametrize(("wish", "verdict", "missing", "taken", "told"), [
    ("auto", Verdict(Path("ganvas_ops.so")), "", True, 0),
    ("cuda", Verdict(Path("ganvas_ops.so")), "", True, 0),
    ("auto", Verdict(None, "no C++ compiler c++"), "no C++ compiler c++", False, 0),
    ("auto", Verdict(None, "c++ is not itself"), "", False, 1),
    ("reference", Verdict(Path("ganvas_ops.so")), "", False, 0),
])  # fmt: skip
def test_without_kernels_it_is_plain_pytorch_and_a_failure_is_told_once(
    wish: str, verdict: Verdict, missing: str, taken: bool, told: int, monkeypatch: pytest.MonkeyPatch,
    recwarn: pytest.WarningsRecorder,
) -> None:  # fmt: skip
    monkeypatch.setenv("GANVAS_OPS", wish)
    monkeypatch.setattr(backend, "_cpu_ready", None)
    tries = []
    monkeypatch.setattr(build, "load", lambda target: tries.append(target.name) or verdict)
    monkeypatch.setattr(build, "missing", lambda target: missing)
    assert [backend.cpu_ready() for _ in range(2)] == [taken] * 2
    assert tries == ([] if wish == "reference" else ["cpu"])
    says = "3x3 convolutions on the CPU run as plain PyTorch: c++ is not itself."
    assert [str(warning.message) for warning in recwarn.list] == [says] * told


def test_the_report_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path))
    monkeypatch.delenv("GANVAS_OPS", raising=False)
    place = build.folder(build.cpu_target())
    assert f"on the CPU kernels of 3x3 convolutions (to be built on first use into {place})" in backend.describe()
    monkeypatch.setenv("CXX", str(tmp_path / "absent"))
    assert "on the CPU none (no C++ compiler" in backend.describe()


def test_a_library_is_of_one_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    here = build.folder(build.cpu_target()), build.folder(build.host_target())
    monkeypatch.setattr(build, "_processor", lambda: "x86_64 flags: fpu sse2")
    there = build.folder(build.cpu_target()), build.folder(build.host_target())
    assert here[0] != there[0]
    assert here[1] == there[1]
