"""What every op is held to: the kernels' arithmetic on the CPU, the same in plain PyTorch, and a GPU's kernels."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import pytest
import torch

from cuda_ops import backend, build
from cuda_ops.registration import REFERENCES


@pytest.fixture
def cuda_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels on a GPU, without a way back to the references."""
    monkeypatch.setenv("GANVAS_OPS", "cuda")
    assert backend.ready()


@pytest.fixture(scope="module")
def host_kernels() -> Iterator[None]:
    """CPU kernels of the CUDA sources, under the registered ops. They stay loaded: afterwards they are covered up."""
    verdict = build.load(build.host_target())
    assert verdict.library is not None, verdict.reason
    while COVERS:
        COVERS.pop()._destroy()
    yield
    COVERS.append(references())


@pytest.fixture(scope="module")
def cpu_kernels() -> Iterator[None]:
    """The kernels for the CPU, whatever ``GANVAS_OPS`` asks of the other tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("GANVAS_OPS", raising=False)
        patch.setattr(backend, "_cpu_ready", backend._cpu_ready or None)  # True if they are loaded
        assert backend.cpu_ready(), build.known(build.cpu_target())
        yield


COVERS: list[torch.library.Library] = []  # between the modules that ask for the kernels, the references are the ops


def references() -> torch.library.Library:
    """Makes the references the ops' CPU kernels until it is destroyed."""
    library = torch.library.Library("ganvas", "IMPL")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Warning only once for all operators", UserWarning)
        for name, reference in REFERENCES.items():
            library.impl(name, reference, "CPU", allow_override=True)
    return library


@pytest.fixture(params=["host", "reference", pytest.param("cuda", marks=pytest.mark.gpu)])
def registered(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Public functions go to the registered ops, with kernels from the CUDA sources or in plain PyTorch.

    New tensors hold NaN, so that an element which a kernel leaves out is seen.
    """
    if request.param == "cuda":
        if not torch.cuda.is_available():
            pytest.skip("torch sees no GPU here")
        monkeypatch.setenv("GANVAS_OPS", "cuda")
        assert backend.ready()
    else:
        request.getfixturevalue("host_kernels")
        monkeypatch.setattr(backend, "has_kernels", lambda x: True)
    library = references() if request.param == "reference" else None
    torch.use_deterministic_algorithms(True, warn_only=True)
    assert torch.empty(1).isnan().all()
    yield request.param
    torch.use_deterministic_algorithms(False)
    if library:
        library._destroy()


@pytest.fixture
def device(registered: str) -> str:
    """Where the tensors of a test belong."""
    return "cuda" if registered == "cuda" else "cpu"
