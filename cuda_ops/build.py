"""Builds the kernels once, into the cache, and remembers how that went.

A library is named by what it was made of: sources, flags, torch, compilers, architectures or the processor. The first
process that needs it builds it with ninja under a lock, others wait and load it, later ones load it in milliseconds. A
build that failed is not tried again: its verdict says why, and how to have another try.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import platform
import shutil
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch

from cuda_ops.cache_dir import cache_dir

SOURCES = Path(__file__).parent / "csrc"
NAME = "ganvas_ops"
# The oldest LibTorch whose stable ABI the sources keep to: 2.11, the least version in pyproject.toml.
TARGET = "-DTORCH_TARGET_VERSION=0x020b000000000000"
CXX_FLAGS = (TARGET, "-O2")
CPU_FLAGS = (TARGET, "-O3", "-march=native")
NVCC_FLAGS = (TARGET, "-O3", "-DUSE_CUDA", "-std=c++17")


class Verdict(NamedTuple):
    """What became of a build."""

    library: Path | None  # what torch.ops.load_library takes
    reason: str = ""      # without a library: why, and how to mend it, in one line


class Target(NamedTuple):
    """What is built."""

    name: str                    # "cuda", "cpu", or "host": those for a GPU built for the CPU, for the tests
    sources: tuple[Path, ...]
    compilers: tuple[str, ...]   # programs that it needs


def cuda_target() -> Target:
    """The kernels for the GPUs of ``TORCH_CUDA_ARCH_LIST``, or for those that torch sees."""
    return Target("cuda", tuple(sorted(SOURCES.glob("*.cu"))), (_cxx(), find_nvcc()))


def cpu_target() -> Target:
    """What plain PyTorch is slow at, for the processor at hand."""
    return Target("cpu", (SOURCES / "minimal_filtering.cpp",), (_cxx(),))


def host_target() -> Target:
    """The arithmetic of the GPU's kernels for the CPU."""
    return Target("host", (SOURCES / "host.cpp",), (_cxx(),))


def find_nvcc() -> str:
    """The CUDA compiler: that of ``CUDA_HOME``, on the path, or in the usual place; may not exist.

    One that stands apart from its toolkit, a wrapper, comes last: the build needs the toolkit's libraries.
    """
    home = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
    if home:
        return str(Path(home) / "bin" / "nvcc")
    found = [path for path in (shutil.which("nvcc"), "/usr/local/cuda/bin/nvcc") if path and Path(path).exists()]
    whole = [path for path in found if (Path(path).parents[1] / "include" / "cuda_runtime.h").exists()]
    return [*whole, *found, "nvcc"][0]


def _cxx() -> str:
    return os.environ.get("CXX", "c++")


def architectures() -> str:
    """``TORCH_CUDA_ARCH_LIST``, or the compute capabilities of the GPUs that torch sees, such as ``8.0;9.0``."""
    wish = os.environ.get("TORCH_CUDA_ARCH_LIST")
    if wish:
        return wish
    found = {torch.cuda.get_device_capability(i) for i in range(torch.cuda.device_count())}
    return ";".join(f"{major}.{minor}" for major, minor in sorted(found))


def folder(target: Target) -> Path:
    """Where the library of ``target`` is, or would be."""
    key = hashlib.sha256()
    flags = (*_flags(target), *NVCC_FLAGS) if target.name == "cuda" else _flags(target)
    for part in (torch.__version__, *flags, *(_identity(program) for program in target.compilers)):
        key.update(f"{part}\n".encode())
    if target.name == "cuda":
        key.update(architectures().encode())
    if target.name == "cpu":
        key.update(_processor().encode())
    for path in (*target.sources, *sorted(SOURCES.iterdir())):
        key.update(path.name.encode() + path.read_bytes())
    return cache_dir() / "ops" / f"{target.name}-{key.hexdigest()[:16]}"


def _identity(program: str) -> str:
    """A compiler by place, size and time: running it for its version would take longer than all the rest."""
    found = shutil.which(program)
    if found is None:
        return program
    stat = Path(found).resolve().stat()
    return f"{found} {stat.st_size} {stat.st_mtime_ns}"


def _flags(target: Target) -> tuple[str, ...]:
    """The C++ compiler's."""
    return CPU_FLAGS if target.name == "cpu" else CXX_FLAGS


def _processor() -> str:
    """What the processor can do: a cache may be shared by machines of which some can do less."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    able = [line for line in lines if line.lower().startswith(("flags", "features"))]
    return f"{platform.machine()} {able[0] if able else ''}"


def known(target: Target) -> Verdict | None:
    """What is known of ``target`` without building anything; None if a build has to tell."""
    reason = missing(target)
    return Verdict(None, reason) if reason else _read(folder(target))


def load(target: Target) -> Verdict:
    """Load the library of ``target`` into this process, building it first if nobody has."""
    verdict = known(target)
    if verdict is None:
        return _build_once(target)
    return _loaded(verdict.library) if verdict.library else verdict


def missing(target: Target) -> str:
    """Why there is no use in trying, or nothing."""
    if sys.platform != "linux":
        return f"the kernels are built on Linux only, this is {sys.platform}"
    for program in target.compilers:
        if shutil.which(program) is None:
            if Path(program).name == "nvcc":
                return f"no {program}: install the CUDA toolkit {torch.version.cuda or ''}, or name it in CUDA_HOME"
            return f"no C++ compiler {program}: install g++, or name one in CXX"
    return ""


def _read(place: Path) -> Verdict | None:
    """The verdict of an earlier build."""
    try:
        reason = json.loads((place / "verdict.json").read_text())["reason"]
    except (OSError, ValueError, KeyError):
        return None
    library = place / f"{NAME}.so"
    if reason:
        return Verdict(None, f"{reason} (tried before: remove {place} to try again)")
    return Verdict(library) if library.is_file() else None


def _build_once(target: Target) -> Verdict:
    """Build ``target``, unless another process has done so by the time it is our turn."""
    place = folder(target)
    try:
        place.mkdir(parents=True, exist_ok=True)
        with _locked(place / "lock"):
            verdict = _read(place)
            if verdict is None:
                verdict = _build(target, place)
                _write(place / "verdict.json", json.dumps({"reason": verdict.reason}))
                return verdict
    except OSError as error:
        return Verdict(None, f"{error.strerror}: {place}; set GANVAS_CACHE to a folder that can be written")
    return _loaded(verdict.library) if verdict.library else verdict


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Alone among the processes that lock ``path``; the lock of a process that dies is gone with it."""
    import fcntl  # Linux and macOS only, as the builds are

    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _write(path: Path, text: str) -> None:
    """A whole file or none."""
    part = path.with_suffix(".part")
    part.write_text(text)
    part.replace(path)


def _build(target: Target, place: Path) -> Verdict:
    """Compile, link and load."""
    work = place / "build"
    shutil.rmtree(work, ignore_errors=True)  # left by a process that was killed
    work.mkdir()
    if target.name == "cuda":  # a silence of half a minute would look like a fault; the others take seconds
        sys.stderr.write(f"Building the kernels of the custom operations, once, into {place} ...\n")
    try:
        _compile(target, work)
    except Exception as error:  # whatever a compiler, ninja or the loader has to say
        (place / "build.log").write_text(str(error))
        return Verdict(None, f"{_gist(str(error))} (all of it: {place / 'build.log'})")
    finally:
        for library in work.glob("*.so"):
            library.replace(place / f"{NAME}.so")
        shutil.rmtree(work, ignore_errors=True)
    return Verdict(place / f"{NAME}.so")


def _compile(target: Target, work: Path) -> None:
    with warnings.catch_warnings(), _on_path(Path(sys.executable).parent), _quiet("torch.utils.cpp_extension"):
        warnings.simplefilter("ignore")
        from torch.utils import cpp_extension  # slow to import, and needed once

        if target.name == "cuda":
            cpp_extension.CUDA_HOME = str(Path(find_nvcc()).parents[1])  # it looks once, when it is imported
        cpp_extension.load(
            f"{NAME}_{work.parent.name.replace('-', '_')}",  # torch counts builds of one name in a process
            [str(path) for path in target.sources],
            extra_cflags=list(_flags(target)),
            extra_cuda_cflags=list(NVCC_FLAGS),
            build_directory=str(work),
            with_cuda=target.name == "cuda",
            is_python_module=False,
        )


@contextlib.contextmanager
def _on_path(programs: Path) -> Iterator[None]:
    """``programs`` at the end of the path: pip puts ninja beside python, which need not be on it."""
    before = os.environ.get("PATH", "")
    os.environ["PATH"] = f"{before}{os.pathsep}{programs}"
    try:
        yield
    finally:
        os.environ["PATH"] = before


@contextlib.contextmanager
def _quiet(logger: str) -> Iterator[None]:
    """No notes on compilers that torch was not built with, nor on a toolkit without a GPU."""
    log = logging.getLogger(logger)
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


def _gist(log: str) -> str:
    """The first line that tells what is wrong."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    signs = ("cannot find", "error:", "fatal", "error")
    told = [line for sign in signs for line in lines[1:] if sign in line.lower()]  # the first names the library
    return (told or lines or ["the build failed without a word"])[0][:300]


def _loaded(library: Path) -> Verdict:
    try:
        torch.ops.load_library(str(library))
    except OSError as error:
        return Verdict(None, f"{error}: remove {library.parent} to build it again")
    return Verdict(library)
