"""The official releases, imported from a checkout: their licence keeps them out of here."""

from __future__ import annotations

import sys
import types
from importlib import import_module
from pathlib import Path
from types import ModuleType


def official_module(checkout: Path, name: str) -> ModuleType:
    """A module of stylegan2-ada-pytorch or stylegan3. Their modules share names: one checkout a process."""
    from packaging import version

    sys.modules["pkg_resources"] = types.SimpleNamespace(parse_version=version.parse)  # gone from setuptools since
    if str(checkout) not in sys.path:
        sys.path.insert(0, str(checkout))
    return import_module(name)
