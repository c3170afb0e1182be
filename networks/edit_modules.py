"""Edits that are no single step in a latent space: what such a module must have.

The closed table of their kinds is ``networks.checkpoints.edits.MODULES``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, Self

from torch import Tensor

from networks.latent import Latent, Space
from networks.levels import Strength


class EditModule(Protocol):
    """What :class:`networks.latent_edit.LatentEdit` holds where there is no ``delta``.

    Two laws hold, as for a step: ``a.then(b)`` at a strength is ``a`` and then ``b`` at that strength, and
    ``a.scaled(f)`` at strength ``s`` is ``a`` at ``f * s``.
    """

    kind: ClassVar[str]     # its name in the table and in bundles

    @property
    def space(self) -> Space:
        """Of the codes that it edits."""
        ...

    def apply(self, latent: Latent, strength: Strength) -> Latent:
        """The edited codes; strength 1 is the whole edit, 0 none of it; ValueError for what it cannot be."""
        ...

    def then(self, other: Self) -> Self:
        """This edit and then another of its kind; ValueError if the two do not go together."""
        ...

    def beside(self, other: Self) -> Self:
        """This edit and another, both of the codes as they are before; ValueError if they do not add."""
        ...

    def scaled(self, factor: float) -> Self:
        """The edit at another strength."""
        ...

    def config(self) -> dict[str, Any]:
        """Plain JSON values; with :meth:`tensors` they give the module again."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """What is stored beside :meth:`config`; may be empty."""
        ...

    @classmethod
    def of(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Self:
        """The module again; ValueError or GanvasError if they are not its own."""
        ...
