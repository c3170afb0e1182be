"""What must be in order before a verb imports the heavy libraries."""

from __future__ import annotations

import logging
import sys
import warnings

from cuda_ops import backend
from networks.checkpoints.errors import GanvasError
from networks.torchvision_shim import declare_torchvision_ops


def prepare() -> None:
    """Make Lightning, torchmetrics and lpips importable and quiet, and check the choice of operations.

    Raises:
        GanvasError: if ``GANVAS_OPS`` asks for what is not there.
    """
    declare_torchvision_ops()
    _quieten()
    try:
        backend.selected()
    except ValueError as error:
        raise GanvasError(str(error)) from error


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
