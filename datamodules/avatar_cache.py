"""Rendered avatars on disk: one file for each combination of settings and package versions."""

from __future__ import annotations

import hashlib
import json
import os
from importlib.metadata import version
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from datamodules.avatar_parts import distribution_of

_FORMAT = 1   # raise when what is drawn changes for the same settings


def cache_dir() -> Path:
    """Where caches live: ``GANVAS_CACHE``, else ``~/.cache/ganvas``."""
    return Path(os.environ.get("GANVAS_CACHE") or Path.home() / ".cache" / "ganvas")


def cache_key(style: str, **settings: object) -> str:
    """A file name that changes with anything that could change a pixel."""
    packages = {name: version(name) for name in ("dicebear-core", "dicebear-styles", "resvg-py")}
    everything = [_FORMAT, style, settings, repr(distribution_of(style)), packages]
    digest = hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()
    return f"{style}-{settings['split']}-{settings['resolution']}-{digest[:16]}"


class AvatarCache:
    """The first ``n`` avatars of one key, extended when more are asked for."""

    def __init__(self, key: str) -> None:
        self.path = cache_dir() / "avatars" / f"{key}.safetensors"

    def read(self, count: int) -> dict[str, np.ndarray] | None:
        """At most ``count`` of the stored avatars; None if there are none or the file is damaged."""
        try:
            with safe_open(self.path, framework="numpy") as file:
                return {name: file.get_slice(name)[:count] for name in file.keys()}  # noqa: SIM118 (not a dict)
        except (FileNotFoundError, SafetensorError):
            return None

    def write(self, arrays: dict[str, np.ndarray]) -> None:
        """Replace the file in one step, so that a reader sees the old one or the new one, never half."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(f"{self.path.name}.{os.getpid()}.partial")
        try:
            save_file({name: np.ascontiguousarray(a) for name, a in arrays.items()}, partial)
            partial.replace(self.path)
        finally:
            partial.unlink(missing_ok=True)
