"""The kernels' arithmetic on the CPU, and the two implementations that every op is held to."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import pytest
import torch

from cuda_ops import backend, build
from cuda_ops.registration import REFERENCES

_elsewhere: list[torch.library.Library] = []  # once the kernels are loaded: keeps them from what other modules test


@pytest.fixture(scope="module")
def host_kernels() -> Iterator[None]:
    """CPU kernels of the CUDA sources, under the registered ops, while a module asks for them."""
    verdict = build.load(build.host_target())
    assert verdict.library is not None, verdict.reason
    while _elsewhere:
        _elsewhere.pop()._destroy()
    yield
    _elsewhere.append(_references())


def _references() -> torch.library.Library:
    """Puts the references over the kernels, until it is destroyed."""
    library = torch.library.Library("ganvas", "IMPL")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Warning only once for all operators", UserWarning)
        for name, reference in REFERENCES.items():
            library.impl(name, reference, "CPU", allow_override=True)
    return library


@pytest.fixture(params=["host", "reference"])
def registered(request: pytest.FixtureRequest, host_kernels: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Public functions go to the registered ops, whose kernels are the CUDA sources' or the plain PyTorch ones."""
    monkeypatch.setattr(backend, "has_kernels", lambda x: True)
    if request.param == "host":
        yield "host"
        return
    library = _references()
    yield "reference"
    library._destroy()
