"""torchvision imports whatever its build, each case in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DECLARE = "from networks.torchvision_shim import declare_torchvision_ops as declare; declare(); declare()\n"


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.skipif(find_spec("torchvision") is None, reason="torchvision is not installed")
def test_torchvision_and_lightning_import_after_it() -> None:
    assert python(DECLARE + "import torchvision, pytorch_lightning; print(torchvision.ops.nms.__name__)") == "nms"


def test_without_torchvision_nothing_is_declared() -> None:
    hide = "import importlib.util, sys; found = importlib.util.find_spec\n"
    hide += "importlib.util.find_spec = lambda name: None if name == 'torchvision' else found(name)\n"
    assert python(hide + DECLARE + "import torch; print(hasattr(torch.ops.torchvision, 'nms'))") == "False"


def test_a_healthy_torchvision_is_left_alone() -> None:
    healthy = "import torch; torch.ops.load_library = lambda path: None\n"
    assert python(healthy + DECLARE + "print(hasattr(torch.ops.torchvision, 'nms'))") == "False"
