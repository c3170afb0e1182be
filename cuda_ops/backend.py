"""Which implementation of the custom operations runs; ``GANVAS_OPS=auto|reference|cuda`` chooses.

This version holds the ``reference`` backend, plain PyTorch, which runs on every device.
"""

from __future__ import annotations

import os

CHOICES = ("auto", "reference", "cuda")


def selected() -> str:
    """The backend that runs.

    Raises:
        ValueError: if ``GANVAS_OPS`` asks for one that is not there.
    """
    wish = os.environ.get("GANVAS_OPS", "auto")
    if wish not in CHOICES:
        raise ValueError(f"GANVAS_OPS={wish} is unknown: it may be {', '.join(CHOICES)}.")
    if wish == "cuda":
        raise ValueError("GANVAS_OPS=cuda: the CUDA kernels are not part of this version, use GANVAS_OPS=auto.")
    return "reference"


def describe() -> str:
    """One line about the backend, for people."""
    return f"{selected()} (plain PyTorch; GANVAS_OPS={os.environ.get('GANVAS_OPS', 'auto')})"
