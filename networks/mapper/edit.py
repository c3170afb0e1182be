"""Mappers as edits: what a :class:`networks.latent_edit.LatentEdit` holds where a step depends on the codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from networks.latent import Latent, Space
from networks.levels import Strength, factors
from networks.mapper.mixture import MixtureMapper, build_mapper
from networks.mapper.network import Mapper, codes_of


@dataclass(frozen=True, eq=False)
class Part:
    """A mapper and how strongly it is taken.

    Args:
        mapper: frozen.
        strength: negative for the opposite.
        condition: ``[width]`` of a mapper that takes one: the text that it is asked for.

    Raises:
        ValueError: if the condition is missing, or not wanted.
    """

    mapper: Mapper | MixtureMapper
    strength: float = 1.0
    condition: Tensor | None = None

    def __post_init__(self) -> None:
        wanted = self.mapper.recipe.condition
        if (0 if self.condition is None else self.condition.numel()) != wanted:
            raise ValueError(f"this mapper takes a condition of width {wanted}, got {self.condition}")

    def steps(self, codes: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What it does to codes at strength 1."""
        mapper, like = self.mapper, next(iter(codes.values()))
        mapper.to(like.device)
        condition = None if self.condition is None else self.condition.to(like.device).expand(len(like), -1)
        return mapper(codes, condition)


@dataclass(frozen=True, eq=False)
class MapperEdit:
    """Stages one after another, each the sum of what its mappers make of the codes before it.

    Raises:
        ValueError: if there is no mapper, or they work in different spaces.
    """

    kind: ClassVar[str] = "mapper"

    stages: tuple[tuple[Part, ...], ...]

    def __post_init__(self) -> None:
        if not self.stages or not all(self.stages):
            raise ValueError("an edit by mappers needs at least one in each stage")
        if len(spaces := {part.mapper.space for part in self._parts()}) > 1:
            raise ValueError(f"mappers of different spaces do not go together, got {', '.join(sorted(spaces))}")

    @classmethod
    def by(cls, mapper: Mapper | MixtureMapper, condition: Tensor | None = None) -> MapperEdit:
        """The edit of one mapper, which is frozen by this; of a mixture it holds what answers this text."""
        mapper, condition = mapper.answering(condition)
        return cls(((Part(mapper.eval().requires_grad_(False), 1.0, condition),),))

    @property
    def space(self) -> Space:
        """That the mappers work in."""
        return self.stages[0][0].mapper.space

    def apply(self, latent: Latent, strength: Strength) -> Latent:
        """``w + strength * sum_i M_i(w)``, stage after stage.

        Raises:
            ValueError: if the codes or the strength do not fit.
        """
        for stage in self.stages:
            codes = codes_of(latent, self.space)
            factor = factors(strength, codes, self.space)
            moved = dict(codes)
            for part in stage:
                for name, step in part.steps(codes).items():
                    scale = factor[name].to(step) if isinstance(factor[name], Tensor) else factor[name]
                    moved[name] = moved[name] + (part.strength * scale * step).to(codes[name])
            latent = latent.replace(**moved)
        return latent

    def then(self, other: MapperEdit) -> MapperEdit:
        """In sequence: the other mapper sees the codes that this one has moved."""
        return MapperEdit((*self.stages, *other.stages))

    def beside(self, other: MapperEdit) -> MapperEdit:
        """By sum: both mappers see the codes as they are.

        Raises:
            ValueError: if one of them is a sequence already.
        """
        if max(len(self.stages), len(other.stages)) > 1:
            raise ValueError("mappers that are taken in sequence have no sum with others: add before, then go on")
        return MapperEdit(((*self.stages[0], *other.stages[0]),))

    def scaled(self, factor: float) -> MapperEdit:
        """Every mapper at another strength."""
        stages = (tuple(replace(part, strength=factor * part.strength) for part in stage) for stage in self.stages)
        return MapperEdit(tuple(stages))

    def config(self) -> dict[str, Any]:
        """The mappers and their strengths, stage by stage."""
        return {"stages": [
            [{"mapper": part.mapper.config, "strength": part.strength} for part in stage] for stage in self.stages
        ]}  # fmt: skip

    def tensors(self) -> dict[str, Tensor]:
        """The mappers' weights, ``<number of the mapper>.<name>``, and their conditions."""
        found = {}
        for i, part in enumerate(self._parts()):
            found |= {f"{i}.{name}": t for name, t in part.mapper.state_dict().items()}
            if part.condition is not None:
                found[f"{i}.condition"] = part.condition
        return found

    @classmethod
    def of(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> MapperEdit:
        """The edit again.

        Raises:
            ValueError: if the weights are not those of the mappers.
        """
        stages, number = [], 0
        for stage in _lists(config.get("stages")):
            parts = []
            for entry in stage:
                if not isinstance(entry, dict) or not isinstance(entry.get("strength"), int | float):
                    raise ValueError("its stages are no mappers with strengths")
                own = {name.partition(".")[2]: t for name, t in tensors.items() if name.startswith(f"{number}.")}
                condition = own.pop("condition", None)
                mapper = build_mapper(entry.get("mapper") or {})
                _load(mapper, own)
                parts.append(Part(mapper.eval().requires_grad_(False), float(entry["strength"]), condition))
                number += 1
            stages.append(tuple(parts))
        return cls(tuple(stages))

    def _parts(self) -> list[Part]:
        return [part for stage in self.stages for part in stage]


def _lists(stages: Any) -> Sequence[Sequence[Any]]:
    if not isinstance(stages, list) or not all(isinstance(stage, list) for stage in stages):
        raise ValueError("its stages are no lists of mappers")
    return stages


def _load(mapper: Mapper | MixtureMapper, tensors: Mapping[str, Tensor]) -> None:
    try:
        mapper.load_state_dict({name: torch.as_tensor(t) for name, t in tensors.items()})
    except RuntimeError as error:
        raise ValueError(f"its weights do not fit its mapper ({str(error).splitlines()[-1].strip()})") from error
