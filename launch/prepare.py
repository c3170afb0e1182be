"""What must be in order before a verb imports the heavy libraries."""

from __future__ import annotations

from cuda_ops import backend
from networks.checkpoints.errors import GanvasError
from networks.torchvision_shim import declare_torchvision_ops


def prepare() -> None:
    """Make Lightning, torchmetrics and lpips importable, and check the choice of operations.

    Raises:
        GanvasError: if ``GANVAS_OPS`` asks for what is not there.
    """
    declare_torchvision_ops()
    try:
        backend.selected()
    except ValueError as error:
        raise GanvasError(str(error)) from error
