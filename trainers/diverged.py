"""Training that diverged: a loss or a weight that is no longer a number, in every kind of training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from networks.checkpoints.errors import GanvasError


class DivergedError(GanvasError):
    """A loss or a weight is no longer a number; a checkpoint that was written before is good.

    Args:
        event: what was found, and when.
        images: names of the images in the batch, where they are few enough to look at.
    """

    def __init__(self, event: str, images: Sequence[str] = ()) -> None:
        super().__init__(f"{event} (images {', '.join(images)})" if images else event)
        self.images = tuple(images)


def stop_if_not_a_number(values: Mapping[str, float | Tensor], when: str, images: Sequence[str] = ()) -> None:
    """Refuse to go on from a value that is NaN or infinite.

    Args:
        values: name -> a figure, or a tensor of any shape.
        when: the step, as the end of a sentence.
        images: see :class:`DivergedError`.

    Raises:
        DivergedError: naming the first such value.

    Example:
        >>> stop_if_not_a_number({"the loss": float("nan")}, "at step 3", ["a", "b"])
        Traceback (most recent call last):
        trainers.diverged.DivergedError: the loss is not a number at step 3 (images a, b)
    """
    for name, value in values.items():
        if not (value.isfinite().all() if isinstance(value, Tensor) else math.isfinite(value)):
            raise DivergedError(f"{name} is not a number {when}", images)


def stop_if_broken(module: nn.Module, when: str) -> None:
    """Refuse weights or statistics that are NaN or infinite: the loss of a step does not see what its update did.

    Raises:
        DivergedError: naming the first of them.
    """
    stop_if_not_a_number({f"the weight {name}": value for name, value in module.state_dict().items()}, when)
