"""The classes of a generator by their names."""

from __future__ import annotations

import torch
from torch import Tensor

from networks.checkpoints.errors import GanvasError
from networks.protocol import Generator


def class_names(generator: Generator) -> tuple[str, ...]:
    """What its classes are called: as its file says, or else 0, 1, ...; () where it has none."""
    names, count = getattr(generator, "label_names", ()), getattr(generator, "c_dim", 0)
    return names if len(names) == count else tuple(map(str, range(count)))


def class_label(generator: Generator, name: str) -> Tensor:
    """The label of one class, ``[1, classes]``, on the generator's device.

    Raises:
        GanvasError: if there is none of this name.
    """
    names = class_names(generator)
    if name not in names:
        has = f"there are {', '.join(names)}" if names else "this generator has no classes"
        raise GanvasError(f"there is no class {name!r}; {has}")
    return torch.eye(len(names), device=generator.device)[names.index(name)][None]
