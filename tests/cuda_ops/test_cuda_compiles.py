"""The CUDA sources compile, link and load without a GPU: with nvcc, and with stand-ins for torch's CUDA libraries."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from cuda_ops import build

ROOT = Path(__file__).parents[2]
NVCC = build.find_nvcc()
ARCHITECTURES = ("80", "90", "120")

pytestmark = pytest.mark.skipif(shutil.which(NVCC) is None, reason="no nvcc here: CUDA sources are not compiled")


def device_code(source: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Machine code for every architecture, without optimisation: seconds in place of a minute."""
    command = [NVCC, "-fatbin", str(source), "-o", str(folder / f"{source.stem}.fatbin")]
    command += ["-Xcicc", "-O0", "-Xptxas", "-O0"]
    command += [flag for flag in build.NVCC_FLAGS if not flag.startswith("-O")]
    command += ["--expt-relaxed-constexpr", f"-I{Path(torch.__file__).parent / 'include'}"]
    for number in ARCHITECTURES:
        command += ["-gencode", f"arch=compute_{number},code=sm_{number}"]
    return subprocess.run(command, capture_output=True, text=True)


def test_every_source_compiles_for_every_architecture(tmp_path: Path) -> None:
    sources = build.cuda_target().sources
    assert 0 < len(sources) <= 4
    with ThreadPoolExecutor(2) as pool:
        for source, done in zip(sources, pool.map(lambda source: device_code(source, tmp_path), sources), strict=True):
            assert done.returncode == 0, f"{source.name}: {done.stderr}"
            assert "warning" not in done.stderr, done.stderr


@pytest.fixture
def torch_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a CPU build of torch lacks: the two libraries that are linked, and the symbol that is taken from them."""
    if torch.version.cuda is not None:
        return
    source = tmp_path / "stand_in.cpp"
    source.write_text(
        'extern "C" int aoti_torch_get_current_cuda_stream(int, void** stream) { *stream = nullptr; return 0; }\n'
    )
    for name in ("c10_cuda", "torch_cuda"):
        subprocess.run(["c++", "-shared", "-fPIC", "-o", tmp_path / f"lib{name}.so", source], check=True)
    for variable in ("LIBRARY_PATH", "LD_LIBRARY_PATH"):
        monkeypatch.setenv(variable, os.pathsep.join([str(tmp_path), os.environ.get(variable, "")]).rstrip(os.pathsep))


PROCESS = """
import importlib, pkgutil
import torch
import cuda_ops
from cuda_ops import build, registration
for module in pkgutil.iter_modules(cuda_ops.__path__):
    importlib.import_module(f"cuda_ops.{module.name}")
verdict = build.load(build.cuda_target())
assert verdict.library, verdict.reason
has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key
assert len(registration.REFERENCES) > 5
print(sorted(name for name in registration.REFERENCES if not has_kernel(f"ganvas::{name}", "CUDA")))
"""


def test_the_library_is_built_and_brings_a_kernel_for_each_op(
    torch_libraries: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole way of a build: ninja, nvcc, linking, loading. Kept in the cache until a source changes."""
    monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", "9.0")
    done = subprocess.run(
        [sys.executable, "-c", PROCESS], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 0, done.stderr
    for_cpus = ["conv3x3", "conv3x3_of_weight", "spatial_projection", "spatial_projection_backward"]
    assert done.stdout.splitlines()[-1] == str(for_cpus)
