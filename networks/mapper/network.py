"""A latent mapper: codes in W+, S or W to the step that a text asks of them (Patashnik et al. 2021, section 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from networks.latent import NOISE, Latent, Space
from networks.mapper.residual import Recipe, ResidualNetwork

MapperSpace = Literal["w+", "s", "w"]


@dataclass(frozen=True)
class Group:
    """Codes that one network moves: a tensor of the latent, or some rows of it.

    Args:
        name: e.g. ``coarse``, or the path of a style.
        tensor: among a latent's tensors.
        width: of the codes.
        rows: first row and the one after the last, of W+; None for a tensor without rows.
        num_ws: all rows of the tensor; 0 without.
    """

    name: str
    tensor: str
    width: int
    rows: tuple[int, int] | None = None
    num_ws: int = 0

    @property
    def shape(self) -> list[int]:
        """Of one item's tensor."""
        return [self.width] if self.rows is None else [self.num_ws, self.width]


class Spread(NamedTuple):
    """Where the codes of a group lie."""

    mean: Tensor   # [width]
    unit: Tensor   # [width], not zero


class Mapper(nn.Module):
    """Codes to steps, by a network for each group; codes in no group stay.

    Raises:
        ValueError: if there is no group, or two of one name.
    """

    def __init__(
        self,
        space: MapperSpace,                               # that it works in
        groups: Sequence[Group],                          # what it moves
        recipe: Recipe,                                   # how its networks are built
        spreads: Mapping[str, Spread] | None = None,      # by group; None: 0 and 1, as in the original
    ) -> None:  # fmt: skip
        super().__init__()
        if not groups or len({group.name for group in groups}) != len(groups):
            raise ValueError(f"a mapper needs groups of different names, got {[group.name for group in groups]}")
        self.space, self.groups, self.recipe = space, tuple(groups), recipe
        self.networks = nn.ModuleDict({
            module_name(group.name): ResidualNetwork(group.width, recipe, *(spreads or {}).get(group.name, ()))
            for group in groups
        })  # fmt: skip

    def forward(self, codes: Mapping[str, Tensor], condition: Tensor | None = None) -> dict[str, Tensor]:
        """The steps of the tensors that it moves, shaped like them.

        Args:
            codes: a latent's tensors, ``[N, ...]``.
            condition: ``[N, condition]`` if the recipe has one.

        Raises:
            ValueError: if the codes are not those of its groups.
        """
        steps: dict[str, Tensor] = {}
        for group in self.groups:
            x = codes.get(group.tensor)
            if x is None or list(x.shape[1:]) != group.shape:
                raise ValueError(f"this mapper moves {group.tensor} {group.shape}, and the codes have "
                                 f"{None if x is None else list(x.shape[1:])}")  # fmt: skip
            network = self.networks[module_name(group.name)]
            if group.rows is None:
                steps[group.tensor] = network(x, condition)
                continue
            first, end = group.rows
            whole = steps.setdefault(group.tensor, torch.zeros_like(x))
            whole[:, first:end] = network(x[:, first:end], condition)
        return steps

    def lengths(self, steps: Mapping[str, Tensor]) -> Tensor:
        """Mean squared step of each item in units of the codes' spread, ``[N]``; codes that stay count as well."""
        squares, numbers = torch.zeros(()), 0
        for name, step in steps.items():
            unit = self.networks[module_name(self._first(name).name)].unit
            squares = squares + (step / unit).square().flatten(1).sum(1)
            numbers += step[0].numel()
        return squares / numbers

    def answering(self, condition: Tensor | None) -> tuple[Mapper, Tensor | None]:
        """What answers one text, and what that is to be told, see ``MixtureMapper.answering``: itself."""
        return self, condition

    def scaled(self, factor: float) -> Mapper:
        """The same mapper, whose steps are so many times as long."""
        recipe = replace(self.recipe, step_scale=factor * self.recipe.step_scale)
        found = Mapper(self.space, self.groups, recipe).to(next(self.parameters()).device)
        found.load_state_dict(self.state_dict())
        return found

    def _first(self, tensor: str) -> Group:
        return next(group for group in self.groups if group.tensor == tensor)

    @property
    def config(self) -> dict[str, Any]:
        """Plain JSON values that, with the state dict, give the mapper again."""
        return {"space": self.space, "groups": [asdict(group) for group in self.groups],
                "recipe": self.recipe.to_json()}  # fmt: skip

    @staticmethod
    def of(config: Mapping[str, Any]) -> Mapper:
        """The mapper that a configuration describes (:attr:`config`), its weights still to be loaded.

        Raises:
            ValueError: if the configuration is none of a mapper.
        """
        try:
            groups = [
                Group(**{**group, "rows": None if group["rows"] is None else tuple(group["rows"])})
                for group in config["groups"]
            ]  # fmt: skip
            return Mapper(config["space"], groups, Recipe(**config["recipe"]))
        except (KeyError, TypeError, RuntimeError) as error:   # the last of a width that no tensor can have
            raise ValueError(f"it does not describe a mapper ({error})") from error


def module_name(group: str) -> str:
    """A group's name as PyTorch takes it for a module."""
    return group.replace(".", "_")


def codes_of(latent: Latent, space: Space) -> dict[str, Tensor]:
    """The tensors of a latent in this space, without noise maps.

    Raises:
        ValueError: if the latent is in another space.
    """
    if latent.space != space:
        raise ValueError(f"this mapper moves codes in {space}, and these are in {latent.space}")
    return {name: t for name, t in latent.tensors.items() if not name.startswith(NOISE)}
