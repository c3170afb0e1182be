"""Edits one after another, in whatever spaces they work: codes are brought from one to the next.

Edits of one space add (``a + b``). A step in W+ and one in S do not: the styles follow from the codes, so that S comes
last.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from networks.checkpoints.errors import GanvasError
from networks.latent import Latent
from networks.latent_edit import LatentEdit
from networks.levels import Strength
from networks.mapper import in_space
from networks.protocol import Generator


@dataclass(frozen=True)
class EditSequence:
    """What is done to codes, in order.

    Args:
        edits: at least one.
        region: names of the classes that they are meant to change; (): what the edits say.

    Raises:
        ValueError: if there is no edit.
    """

    edits: tuple[LatentEdit, ...]
    region: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.edits:
            raise ValueError("a sequence of edits needs at least one")
        own = dict.fromkeys(name for edit in self.edits for name in edit.region)
        object.__setattr__(self, "region", self.region or tuple(own))

    @classmethod
    def of(cls, edits: LatentEdit | EditSequence | Iterable[LatentEdit]) -> EditSequence:
        """Edits as a sequence; neighbours that add are one edit of it."""
        if isinstance(edits, EditSequence):
            return edits
        joined: list[LatentEdit] = []
        for edit in [edits] if isinstance(edits, LatentEdit) else edits:
            if joined and _adds(joined[-1], edit):
                joined[-1] = joined[-1] + edit
            else:
                joined.append(edit)
        return cls(tuple(joined))

    @property
    def name(self) -> str:
        """For people."""
        return " + ".join(edit.name for edit in self.edits if edit.name)

    def apply(self, generator: Generator, latent: Latent, strength: Strength = 1.0) -> Latent:
        """The edited codes, in the space of the last edit.

        Args:
            generator: whose codes they are.
            latent: ``[N, ...]``.
            strength: of every edit, see :meth:`networks.latent_edit.LatentEdit.apply`.

        Raises:
            GanvasError: if the codes cannot be brought into the space of an edit.
            ValueError: if an edit does not fit the codes.
        """
        for edit in self.edits:
            latent = edit.apply(self._brought(generator, latent, edit), strength)
        return latent

    def _brought(self, generator: Generator, latent: Latent, edit: LatentEdit) -> Latent:
        if latent.space == edit.space:
            return latent
        if len(self.edits) > 1 and latent.space == "s":
            raise GanvasError(f"the edit {edit.name or 'in ' + edit.space} is in {edit.space}, where codes in s cannot "
                              "be brought back to: put edits in s last.")  # fmt: skip
        return in_space(generator, latent.to(generator.device), edit.space)  # type: ignore[arg-type]


def _adds(first: LatentEdit, second: LatentEdit) -> bool:
    """Whether two edits are one: of one space, both steps or both by one kind of module."""
    return first.space == second.space and type(first.module) is type(second.module)
