"""What must be in order before a verb imports the heavy libraries."""

from __future__ import annotations

import ctypes
import logging
import sys
import warnings

from cuda_ops import backend
from networks.checkpoints.errors import GanvasError, GanvasWarning
from networks.torchvision_shim import declare_torchvision_ops

_PYTHONS_FORMAT = warnings.formatwarning


def prepare() -> None:
    """Make Lightning, torchmetrics and lpips importable and quiet, keep freed memory, check the choice of operations.

    Raises:
        GanvasError: if ``GANVAS_OPS`` asks for what is not there.
    """
    declare_torchvision_ops()
    _quieten()
    warnings.formatwarning = format_warning
    keep_freed_memory()
    try:
        backend.check()
    except ValueError as error:
        raise GanvasError(str(error)) from error


def format_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:  # fmt: skip
    """What the screen shows of a warning: of ours its sentence alone, of others Python's form, with the place."""
    if issubclass(category, GanvasWarning):
        return f"warning: {message}\n"
    return _PYTHONS_FORMAT(message, category, filename, lineno, line)


def keep_freed_memory() -> None:
    """Let glibc keep what torch frees on the CPU; elsewhere this does nothing.

    By default the top of the heap goes back to the system after each step, and every page of the next step's tensors
    is faulted in and zeroed again: a fifth to a third of the time of rendering and of training a head.
    """
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "gnu_get_libc_version"):
        libc.mallopt(mmap_threshold, 32 << 20)  # the most that glibc takes; larger blocks still go back at once
        libc.mallopt(trim_threshold, 2**31 - 1)


def _quieten() -> None:
    """Keep other packages' notes to their developers off the screen; ``python -W default`` brings them back."""
    # Lightning's notes on devices, checkpoints and other products. On import it sets the level of its root logger, so
    # the level is set below that.
    for part in ("trainer", "utilities", "callbacks", "loops"):
        logging.getLogger(f"pytorch_lightning.{part}").setLevel(logging.WARNING)
    logging.getLogger("lightning_fabric.utilities").setLevel(logging.WARNING)
    if not sys.warnoptions:
        for category in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
            warnings.simplefilter("ignore", category)
        warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")  # a run resumed
