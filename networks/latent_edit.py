"""An edit of latent codes, whatever made it: a step in one space or a module, and the classes that it is to change.

EditGAN (Ling et al. 2021, arXiv 2111.03186, section 3.3) calls the step in W+ an editing vector.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from networks.edit_modules import EditModule
from networks.latent import NOISE, Latent, Space
from networks.levels import Strength, factors, number


@dataclass(frozen=True)
class LatentEdit:
    """A step ``delta`` in one latent space, the same for every code; or a ``module``, where the edit is no step.

    Edits of one space and generator add (``a + b``: ``a``, then ``b``) and scale (``-0.5 * a``); :meth:`rows` keeps
    some layers of a step only. Edits of different spaces, or a step and a module, are applied one after another.

    Args:
        space: where the step is taken.
        delta: as a latent's tensors without the batch; ``w+``: ``{"ws": [num_ws, w_dim]}``. Empty with a module.
        generator_hash: the generator whose codes it moves; None: unknown.
        region: names of the classes that it is meant to change. Where an image shows them, before or after, is where a
            photo is replaced when the edit is pasted back.
        name: for people.
        module: what is done instead of a step, see ``networks/edit_modules.py``.

    Raises:
        ValueError: if there is neither a step nor a module, or both, or a step is not finite.
    """

    space: Space
    delta: dict[str, Tensor] = field(default_factory=dict, repr=False)
    generator_hash: str | None = None
    region: tuple[str, ...] = ()
    name: str = ""
    module: EditModule | None = None

    def __post_init__(self) -> None:
        if not self.delta and self.module is None:
            raise ValueError("an edit needs a step or a module: delta is empty")
        if self.module is not None and (self.delta or self.module.space != self.space):
            raise ValueError(f"an edit by a module is in its space, {self.module.space}, and has no delta")
        for name, step in self.delta.items():
            if not torch.isfinite(step).all():
                raise ValueError(f"the step of {name} has values that are NaN or infinite")

    @staticmethod
    def between(before: Latent, after: Latent, region: tuple[str, ...] = (), name: str = "") -> LatentEdit:
        """The mean step from ``before`` to ``after``, codes of the same images in pairs; noise maps are left out.

        Raises:
            ValueError: if the two are not codes of as many images in one space of one generator.
        """
        if (before.space, before.generator_hash, len(before)) != (after.space, after.generator_hash, len(after)):
            raise ValueError(f"an edit leads from codes to as many codes of one space and generator, got {before} and "
                             f"{after}")  # fmt: skip
        codes = {name: t for name, t in before.tensors.items() if not name.startswith(NOISE)}
        delta = {name: (after.tensors[name] - t).mean(0) for name, t in codes.items()}
        return LatentEdit(before.space, delta, before.generator_hash, region, name)

    def apply(self, latent: Latent, strength: Strength = 1.0) -> Latent:
        """``latent + strength * delta``, or what the module makes of the codes.

        Args:
            latent: codes ``[N, ...]`` of the same space and generator.
            strength: one factor for all, negative for the opposite; in ``w+`` also one for each row, ``[num_ws]``;
                in ``w+`` and ``s`` also one for each level, ``{"coarse": 1, "medium": 1, "fine": 0}``.

        Raises:
            ValueError: if the codes are of another space, generator or shape, or a strength is not finite.
            GanvasError: if a module names what the codes do not have.
        """
        self.require_fit(latent)
        if self.module is not None:
            return self.module.apply(latent, strength)
        factor = factors(strength, self.delta, self.space)
        moved = {
            name: latent.tensors[name] + (factor[name] * step).to(latent.tensors[name])
            for name, step in self.delta.items()
        }
        return latent.replace(**moved)

    def require_fit(self, latent: Latent) -> None:
        """Refuse codes that the step does not belong to.

        Raises:
            ValueError: saying what differs.
        """
        if latent.space != self.space:
            raise ValueError(f"this edit moves codes in {self.space}, and these are in {latent.space}")
        if latent.generator_hash and self.generator_hash and latent.generator_hash != self.generator_hash:
            raise ValueError(f"this edit belongs to generator {self.generator_hash[:12]}, and these codes to "
                             f"{latent.generator_hash[:12]}")  # fmt: skip
        for name, step in self.delta.items():
            have = latent.tensors.get(name)
            if have is None or have.shape[1:] != step.shape:
                raise ValueError(f"this edit moves {name} {list(step.shape)}, and the codes have "
                                 f"{None if have is None else list(have.shape[1:])}")  # fmt: skip

    def __add__(self, other: LatentEdit) -> LatentEdit:
        return self._with(other, lambda mine, theirs: mine.then(theirs))

    def beside(self, other: LatentEdit) -> LatentEdit:
        """Both edits of the codes as they are: the sum of what each would do alone.

        Steps are the same for every code, so that this is ``a + b`` for them. What a mapper does depends on the codes
        that it sees, and after another edit these are others.

        Raises:
            ValueError: as ``a + b``, and if what a module does is no step that adds.
        """
        return self._with(other, lambda mine, theirs: mine.beside(theirs))

    def _with(self, other: LatentEdit, join: Callable[[EditModule, EditModule], EditModule]) -> LatentEdit:
        if (other.space, other.delta.keys()) != (self.space, self.delta.keys()):
            raise ValueError("edits of different spaces do not add; apply them one after another")
        if type(other.module) is not type(self.module):
            raise ValueError("edits by different kinds of modules do not add; apply them one after another")
        if self.generator_hash and other.generator_hash and self.generator_hash != other.generator_hash:
            raise ValueError("edits of different generators do not add")
        return LatentEdit(
            self.space,
            {name: step + other.delta[name].to(step) for name, step in self.delta.items()},
            self.generator_hash or other.generator_hash,
            tuple(dict.fromkeys((*self.region, *other.region))),
            " + ".join(name for name in (self.name, other.name) if name),
            None if self.module is None or other.module is None else join(self.module, other.module),
        )

    def __mul__(self, factor: float) -> LatentEdit:
        if self.module is not None:
            return replace(self, module=self.module.scaled(number(factor)))
        return replace(self, delta={name: step * factor for name, step in self.delta.items()})

    __rmul__ = __mul__

    def rows(self, first: int, last: int) -> LatentEdit:
        """The edit in the rows ``first`` up to but not ``last`` of W+ alone: coarse rows come first.

        Raises:
            ValueError: if the edit is not in ``w+``, or has no such rows.
        """
        if self.space != "w+" or self.module is not None:
            raise ValueError(f"an edit in {self.space} has no rows; only a step in w+ has")
        ws = self.delta["ws"]
        if not 0 <= first < last <= len(ws):
            raise ValueError(f"rows {first} to {last} are not among the {len(ws)} of this edit")
        kept = torch.zeros_like(ws)
        kept[first:last] = ws[first:last]
        return replace(self, delta={"ws": kept})
