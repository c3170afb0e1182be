"""What must be in order before a verb imports the heavy libraries."""

from __future__ import annotations

import logging

from cuda_ops import backend
from networks.checkpoints.errors import GanvasError
from networks.torchvision_shim import declare_torchvision_ops


def prepare() -> None:
    """Make Lightning, torchmetrics and lpips importable and quiet, and check the choice of operations.

    Raises:
        GanvasError: if ``GANVAS_OPS`` asks for what is not there.
    """
    declare_torchvision_ops()
    # Its notes on devices and tips for other products would bury the figures; warnings still show.
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.WARNING)
    try:
        backend.selected()
    except ValueError as error:
        raise GanvasError(str(error)) from error
