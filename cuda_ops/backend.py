"""Which implementation of the custom operations runs; ``GANVAS_OPS=auto|cuda|reference`` chooses.

``reference`` is plain PyTorch and runs everywhere. ``cuda`` are kernels of our own for tensors on a GPU, built on first
use (``cuda_ops/build.py``). ``auto`` takes the kernels where they can be had, and otherwise says once why not. For the
CPU there are few kernels, of what plain PyTorch is slow at: unless ``reference`` is asked for they are built and taken
where there is a C++ compiler, and nothing is said where there is none. ``cuda`` is a wish for tensors on a GPU alone.
"""

from __future__ import annotations

import os
import warnings

import torch
from torch import Tensor

from cuda_ops import build

CHOICES = ("auto", "cuda", "reference")

_ready: bool | None = None      # whether the kernels are loaded; None: nobody has asked for them yet
_cpu_ready: bool | None = None  # the same of those for the CPU


def wish() -> str:
    """What ``GANVAS_OPS`` asks for.

    Raises:
        ValueError: if there is no such choice.
    """
    choice = os.environ.get("GANVAS_OPS", "auto")
    if choice not in CHOICES:
        raise ValueError(f"GANVAS_OPS={choice} is unknown: it may be {', '.join(CHOICES)}.")
    return choice


def has_kernels(x: Tensor) -> bool:
    """Whether an op on ``x`` goes to a kernel; the first question about a tensor on a GPU builds them.

    While a graph is traced nothing is built: the op then builds on its first call.
    """
    if not x.is_cuda:
        return False
    return _ready is not False if torch.compiler.is_compiling() else ready()


def ready() -> bool:
    """Load the kernels, once in a process.

    Raises:
        ValueError: if ``GANVAS_OPS=cuda`` and they cannot be had.
    """
    global _ready
    if _ready is None:
        choice = wish()
        reason = _why_not() if choice != "reference" else "GANVAS_OPS=reference"
        if reason and choice == "cuda":
            raise ValueError(f"GANVAS_OPS=cuda: {reason}.")
        if reason and choice == "auto":
            warnings.warn(f"Custom operations run as plain PyTorch: {reason}.", RuntimeWarning, stacklevel=2)
        _ready = not reason
    return _ready


def cpu_ready() -> bool:
    """Load the kernels for the CPU, once in a process."""
    global _cpu_ready
    if _cpu_ready is None:
        _cpu_ready = wish() != "reference" and _load_for_cpu()
    return _cpu_ready


def _load_for_cpu() -> bool:
    target = build.cpu_target()
    verdict = build.load(target)
    if verdict.reason and not build.missing(target):
        warnings.warn(f"3x3 convolutions on the CPU run as plain PyTorch: {verdict.reason}.", RuntimeWarning,
                      stacklevel=3)  # fmt: skip
    return verdict.library is not None


def asked() -> bool:
    """Whether this process has tried to load the kernels."""
    return _ready is not None


def _why_not() -> str:
    """Load the kernels, or say why not."""
    return _no_gpu() or build.load(build.cuda_target()).reason or _cannot_run()


def _no_gpu() -> str:
    return "" if torch.cuda.is_available() else "torch sees no GPU"


def _cannot_run() -> str:
    """Why the library does not run on the GPU at hand: TORCH_CUDA_ARCH_LIST may name others."""
    from cuda_ops.bias_act import BIAS_ACT  # which imports this module

    try:
        BIAS_ACT(torch.zeros(1, 1, device="cuda"), None, 1, 0, 0.0, 1.0, float("inf"))
    except RuntimeError as error:
        wanted = os.environ.get("TORCH_CUDA_ARCH_LIST")
        return f"{str(error).splitlines()[0]} (TORCH_CUDA_ARCH_LIST={wanted})"
    return ""


def check() -> None:
    """Refuse a wish that is known to be in vain, without building anything.

    Raises:
        ValueError: if ``GANVAS_OPS`` is unknown, or ``cuda`` where the kernels cannot be had.
    """
    if wish() == "cuda":
        verdict = build.known(build.cuda_target())
        reason = _no_gpu() or (verdict.reason if verdict else "")
        if reason:
            raise ValueError(f"GANVAS_OPS=cuda: {reason}.")


def describe() -> str:
    """One line about the backend, for people; nothing is built."""
    choice = os.environ.get("GANVAS_OPS", "auto")
    if wish() == "reference":
        return f"reference (plain PyTorch; as asked; GANVAS_OPS={choice})"
    return f"{_describe_gpu(choice)}; on the CPU {_describe_cpu()}"


def _describe_gpu(choice: str) -> str:
    target, reason = build.cuda_target(), _no_gpu()
    verdict = None if reason else build.known(target)
    if reason := reason or (verdict.reason if verdict else ""):
        return f"reference (plain PyTorch; {reason}; GANVAS_OPS={choice})"
    if verdict is None:
        return f"cuda (to be built on first use into {build.folder(target)}; GANVAS_OPS={choice})"
    return f"cuda (built for {build.architectures()}: {verdict.library}; GANVAS_OPS={choice})"


def _describe_cpu() -> str:
    target = build.cpu_target()
    verdict = build.known(target)
    if verdict is None:
        return f"kernels of 3x3 convolutions (to be built on first use into {build.folder(target)})"
    return f"kernels of 3x3 convolutions ({verdict.library})" if verdict.library else f"none ({verdict.reason})"
