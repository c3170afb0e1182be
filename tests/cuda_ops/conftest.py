"""What every op is held to: the kernels' arithmetic on the CPU, the same in plain PyTorch, and a GPU's kernels."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import pytest
import torch

from cuda_ops import backend, build
from cuda_ops.registration import REFERENCES


@pytest.fixture(scope="session")
def host_kernels() -> None:
    """CPU kernels of the CUDA sources, under the registered ops."""
    verdict = build.load(build.host_target())
    assert verdict.library is not None, verdict.reason


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
    library = torch.library.Library("ganvas", "IMPL")
    if request.param == "reference":
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Warning only once for all operators", UserWarning)
            for name, reference in REFERENCES.items():
                library.impl(name, reference, "CPU", allow_override=True)
    torch.use_deterministic_algorithms(True, warn_only=True)
    assert torch.empty(1).isnan().all()
    yield request.param
    torch.use_deterministic_algorithms(False)
    library._destroy()


@pytest.fixture
def device(registered: str) -> str:
    """Where the tensors of a test belong."""
    return "cuda" if registered == "cuda" else "cpu"
