"""The kernels' arithmetic on the CPU, and the two implementations that every op is held to."""

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


@pytest.fixture(params=["host", "reference"])
def registered(request: pytest.FixtureRequest, host_kernels: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Public functions go to the registered ops, whose kernels are the CUDA sources' or the plain PyTorch ones."""
    monkeypatch.setattr(backend, "has_kernels", lambda x: True)
    if request.param == "host":
        yield "host"
        return
    library = torch.library.Library("ganvas", "IMPL")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Warning only once for all operators", UserWarning)
        for name, reference in REFERENCES.items():
            library.impl(name, reference, "CPU", allow_override=True)
    yield "reference"
    library._destroy()
