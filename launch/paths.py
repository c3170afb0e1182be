"""Where the configuration tree lies, in a checkout and in a wheel alike: beside the `launch` package."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONF = ROOT / "conf"
