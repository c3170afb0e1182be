"""Where things are kept that can be made again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """Where caches live: ``GANVAS_CACHE``, else ``~/.cache/ganvas``."""
    return Path(os.environ.get("GANVAS_CACHE") or Path.home() / ".cache" / "ganvas")
