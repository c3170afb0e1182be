"""Which Ganvas this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def ganvas_version() -> str:
    """The version that is installed; ``unknown`` for sources that are not."""
    try:
        return version("ganvas")
    except PackageNotFoundError:
        return "unknown"
