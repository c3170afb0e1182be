"""A build happens once; one that cannot happen says why, once, and how to mend it."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from cuda_ops import backend, build
from cuda_ops.build import Target, Verdict

ROOT = Path(__file__).parents[2]
# Builds, or loads, the library of a given source in a process of its own.
PROCESS = """
import sys
from pathlib import Path
from cuda_ops import build
verdict = build.load(build.Target("host", (Path(sys.argv[1]),), (build._cxx(),)))
print(verdict.library, verdict.reason)
print("cpp_extension" if "torch.utils.cpp_extension" in sys.modules else "nothing imported to build")
"""


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Target:
    """A library that is quick to build, by a compiler that writes down when it is called."""
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "cache"))
    source = tmp_path / "tiny.cpp"
    source.write_text("int answer() { return 42; }\n")
    set_compiler(tmp_path, monkeypatch, 'exec c++ "$@"')
    return Target("host", (source,), (build._cxx(),))


def set_compiler(folder: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    compiler = folder / "compiler"
    compiler.write_text(f'#!/bin/sh\necho "$@" >> {folder}/calls\n{line}\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))


def compilations(folder: Path) -> int:
    calls = folder / "calls"
    return sum(" -c " in line for line in calls.read_text().splitlines()) if calls.exists() else 0


def start(source: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", PROCESS, str(source)], stdout=subprocess.PIPE, text=True, env=environment
    )


def test_two_processes_build_once_and_a_third_only_loads(tiny: Target, tmp_path: Path) -> None:
    processes = [start(tiny.sources[0]) for _ in range(2)]
    told = [process.communicate()[0].splitlines() for process in processes]
    library = build.folder(tiny) / "ganvas_ops.so"
    assert [lines[0].strip() for lines in told] == [str(library)] * 2
    assert compilations(tmp_path) == 1
    calls = (tmp_path / "calls").read_text()
    third = start(tiny.sources[0]).communicate()[0].splitlines()
    assert third[0].strip() == str(library)
    assert third[1] == "nothing imported to build"
    assert (tmp_path / "calls").read_text() == calls
    assert sorted(path.name for path in library.parent.iterdir()) == ["ganvas_ops.so", "lock", "verdict.json"]


def test_what_a_library_is_made_of_names_it(tiny: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = tiny._replace(name="cuda")
    monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", "8.0")
    places = [build.folder(cuda)]
    monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", "9.0+PTX")
    places.append(build.folder(cuda))
    tiny.sources[0].write_text("int answer() { return 43; }\n")
    places.append(build.folder(cuda))
    monkeypatch.setattr(torch, "__version__", "2.99.0")
    places.append(build.folder(cuda))
    (tmp_path / "compiler").write_text("#!/bin/sh\nexec another\n")
    places.append(build.folder(cuda))
    assert len(set(places)) == len(places)


def test_a_compiler_that_fails_is_tried_once(tiny: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = """case "$*" in *version*) exec c++ "$@";; esac; echo 'tiny.cpp:1: error: no room on device' >&2; exit 1"""
    set_compiler(tmp_path, monkeypatch, line)
    first = build.load(tiny)
    assert first.library is None
    assert "error: no room on device" in first.reason
    place = build.folder(tiny)
    assert str(place / "build.log") in first.reason
    assert "no room on device" in (place / "build.log").read_text()
    calls = (tmp_path / "calls").read_text()
    again = build.load(tiny)
    assert (tmp_path / "calls").read_text() == calls
    assert f"tried before: remove {place} to try again" in again.reason
    assert build.known(tiny) == again


def test_a_build_that_was_killed_is_made_again(tiny: Target) -> None:
    work = build.folder(tiny) / "build"
    work.mkdir(parents=True)
    (work / "lock").touch()  # torch's own lock, which would be waited for
    (work / "ganvas_ops.so").write_bytes(b"half a library")
    assert build.load(tiny).library is not None


def test_without_a_compiler_nothing_is_tried(tiny: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", str(tmp_path / "absent"))
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "nowhere"))
    assert "no C++ compiler" in build.load(build.host_target()).reason
    monkeypatch.delenv("CXX")
    reason = build.load(build.cuda_target()).reason
    assert f"no {tmp_path / 'nowhere' / 'bin' / 'nvcc'}: install the CUDA toolkit" in reason
    assert "CUDA_HOME" in reason
    assert not (tmp_path / "cache").exists()


def test_a_cache_that_cannot_be_written_is_named(tiny: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()  # permissions do not stop the superuser; this does
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "file"))
    reason = build.load(tiny).reason
    assert str(tmp_path / "file") in reason
    assert "set GANVAS_CACHE to a folder that can be written" in reason


def test_a_library_in_a_cache_that_cannot_be_written_is_loaded(tiny: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    built = build.load(tiny)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    for name in ("mkdir", "write_text", "touch"):
        monkeypatch.setattr(Path, name, refuse)
    monkeypatch.setattr(build, "_locked", refuse)
    assert build.load(tiny) == built


@pytest.mark.parametrize("architecture", ["9.9", "2.0"])
def test_an_unknown_architecture_is_named(
    architecture: str, tiny: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", architecture)
    source = tmp_path / "tiny.cu"
    source.write_text("__global__ void nothing() {}\n")
    nvcc = build.find_nvcc()
    if not Path(nvcc).exists():
        pytest.skip("no nvcc here")
    verdict = build.load(Target("cuda", (source,), (build._cxx(), nvcc)))
    assert verdict.library is None
    assert any(word in verdict.reason for word in (architecture, architecture.replace(".", "")))
    assert os.environ["TORCH_CUDA_ARCH_LIST"] == architecture


def on_gpu() -> SimpleNamespace:
    return SimpleNamespace(is_cuda=True)


@pytest.fixture
def gpu_without_kernels(monkeypatch: pytest.MonkeyPatch) -> list[Target]:
    """A GPU, and a build that fails; gives the list of tries."""
    tries: list[Target] = []
    monkeypatch.setattr(backend, "_ready", None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(build, "architectures", lambda: "9.0")
    monkeypatch.setattr(build, "load", lambda target: tries.append(target) or Verdict(None, "nvcc is not itself"))
    return tries


def test_the_fall_back_is_told_once(gpu_without_kernels: list[Target], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANVAS_OPS", "auto")
    with pytest.warns(RuntimeWarning, match="Custom operations run as plain PyTorch: nvcc is not itself"):
        assert not backend.has_kernels(on_gpu())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not backend.has_kernels(on_gpu())
    assert len(gpu_without_kernels) == 1


def test_who_asks_for_kernels_gets_the_reason(gpu_without_kernels: list, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANVAS_OPS", "cuda")
    with pytest.raises(ValueError, match="GANVAS_OPS=cuda: nvcc is not itself"):
        backend.has_kernels(on_gpu())


def test_who_asks_for_the_reference_builds_nothing(gpu_without_kernels: list, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANVAS_OPS", "reference")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not backend.has_kernels(on_gpu())
    assert gpu_without_kernels == []


def test_a_tensor_on_the_cpu_builds_nothing(gpu_without_kernels: list) -> None:
    assert not backend.has_kernels(torch.zeros(1))
    assert gpu_without_kernels == []


def test_the_report_names_the_verdict(
    tiny: Target, gpu_without_kernels: list, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GANVAS_OPS", raising=False)
    monkeypatch.setattr(build, "cuda_target", lambda: tiny)
    place = build.folder(tiny)
    assert f"cuda (to be built on first use into {place}; GANVAS_OPS=auto)" in backend.describe()
    place.mkdir(parents=True)
    (place / "verdict.json").write_text('{"reason": "nvcc is not itself"}')
    assert "reference (plain PyTorch; nvcc is not itself (tried before: remove" in backend.describe()
    (place / "verdict.json").write_text('{"reason": ""}')
    (place / "ganvas_ops.so").touch()
    assert f"cuda (built for 9.0: {place / 'ganvas_ops.so'}; GANVAS_OPS=auto)" in backend.describe()


def test_importing_the_ops_builds_and_imports_nothing() -> None:
    code = (
        "import sys, cuda_ops.bias_act, cuda_ops.upfirdn2d, cuda_ops.conv3x3\n"
        "from cuda_ops import backend\n"
        "assert not backend.asked() and backend._cpu_ready is None\n"
        "assert 'torch.utils.cpp_extension' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
