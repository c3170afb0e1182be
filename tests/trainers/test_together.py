"""Training on several devices, here two processes on a CPU: the same weights everywhere, and those of one device."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainers.together_run import fit

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("together_run.py")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two processes ended with."""
    folder = tmp_path_factory.mktemp("together")
    clean = {name: value for name, value in os.environ.items() if name not in ("LOCAL_RANK", "WORLD_SIZE", "RANK")}
    done = subprocess.run(
        [sys.executable, SCRIPT, folder], cwd=ROOT, env={**clean, "PYTHONPATH": str(ROOT)}, timeout=300,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def assert_equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one["seen"] == other["seen"] == 32
    assert one["figures"] == other["figures"]
    for name, value in one["weights"].items():
        assert torch.equal(other["weights"][name], value), name


def test_two_devices_do_what_one_does(found: list[dict[str, Any]]) -> None:
    alone, together = fit("of_images", 1), found[0]["of_images"]
    for name, value in alone["weights"].items():
        torch.testing.assert_close(together["weights"][name], value, rtol=1e-3, atol=1e-4, msg=name)
    assert together["figures"] == pytest.approx(alone["figures"], rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("trainer", ["blobgan", "sngan", "stylegan2"])
def test_they_agree(trainer: str, found: list[dict[str, Any]]) -> None:
    assert_equal(*(process[trainer] for process in found))


@pytest.mark.parametrize("trainer", ["blobgan", "sngan", "stylegan2"])
def test_a_resumed_run_ends_as_an_uninterrupted_one(trainer: str, found: list[dict[str, Any]]) -> None:
    for process in found:
        assert_equal(process[trainer], process[f"{trainer} resumed"])
