"""Lets torchvision import where its compiled operators cannot load, e.g. a CUDA torchvision beside a CPU torch.

Its import then fails with "operator torchvision::nms does not exist", because its shape functions for ``nms`` and
``qnms`` are registered unconditionally; Lightning, torchmetrics and lpips fail with it. Declaring the two schemas first
is enough: the pure Python parts (networks, transforms) work, and a call to ``nms`` itself still fails and says so.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import torch

_NMS = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_declared: list[torch.library.Library] = []  # a library's declarations live as long as the object


def declare_torchvision_ops() -> None:
    """Declare what torchvision's import needs, unless it is absent, imported already, or in good order.

    Call it before anything that imports torchvision: ``pytorch_lightning``, ``torchmetrics``, ``lpips``. Calling it
    again does nothing.
    """
    if _declared or "torchvision" in sys.modules or _operators_load():
        return
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(name + _NMS)
    _declared.append(library)


def _operators_load() -> bool:
    """Whether torchvision's own library loads (or there is no torchvision that could miss it)."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        return True
    folders = map(Path, spec.submodule_search_locations)
    compiled = [file for folder in folders for file in folder.glob("_C*") if file.suffix in (".so", ".pyd")]
    try:
        for file in compiled:
            torch.ops.load_library(file)
    except OSError:
        return False
    return bool(compiled)
