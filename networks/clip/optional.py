"""What the providers of optional packages share: the sentence for a missing one, and no silent downloads."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from networks.checkpoints.errors import GanvasError
from networks.torchvision_shim import declare_torchvision_ops


def optional_module(name: str, distribution: str) -> ModuleType:
    """Import an optional package.

    Raises:
        GanvasError: if it is missing.
    """
    declare_torchvision_ops()   # both packages import torchvision
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and error.name.partition(".")[0] != name:
            raise
        needed = f"a CLIP of {name} needs the package {distribution}: run `pip install {distribution}`."
        raise GanvasError(needed) from error


@contextmanager
def offline(really: bool = True) -> Iterator[None]:
    """Within it nothing is fetched from a hub, whatever a library would look up on its own."""
    constants = importlib.import_module("huggingface_hub.constants")
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or really
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
