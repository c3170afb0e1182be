"""The kernels' arithmetic on the CPU, and the two implementations that every op is held to."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import pytest
import torch

from cuda_ops import backend, build
from cuda_ops.registration import REFERENCES


@pytest.fixture(scope="module")
def host_kernels() -> Iterator[None]:
    """CPU kernels of the CUDA sources, under the registered ops; a library cannot be unloaded, so it is covered up."""
    verdict = build.load(build.host_target())
    assert verdict.library is not None, verdict.reason
    if COVER:
        COVER.pop()._destroy()
    yield
    COVER.append(references())


@pytest.fixture(params=["host", "reference"])
def registered(request: pytest.FixtureRequest, host_kernels: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Public functions go to the registered ops, whose kernels are the CUDA sources' or the plain PyTorch ones."""
    monkeypatch.setattr(backend, "has_kernels", lambda x: True)
    if request.param == "host":
        yield "host"
        return
    library = references()
    yield "reference"
    library._destroy()


COVER: list[torch.library.Library] = []  # what makes the references the ops' CPU kernels between the modules that ask


def references() -> torch.library.Library:
    """The plain PyTorch references as CPU kernels, as long as the result lives."""
    library = torch.library.Library("ganvas", "IMPL")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Warning only once for all operators", UserWarning)
        for name, reference in REFERENCES.items():
            library.impl(name, reference, "CPU", allow_override=True)
    return library
