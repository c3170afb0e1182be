"""One mapper for all texts: a general one, and for each text that it was fitted to an expert of its own.

A mixture of experts (Jacobs et al. 1991, Adaptive mixtures of local experts) whose gate is not learned, as it is known
which text each expert is for: only the nearest one answers, and the general mapper as far as no expert is near. What
texts teach then overwrites nothing of what the general one has learned, nor of what other texts teach.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from networks.mapper.network import Group, Mapper, MapperSpace
from networks.mapper.residual import Recipe

FAR, NEAR = 0.5, 0.9   # cosine of two texts' directions: other things are said; the same is said in other words


class MixtureMapper(nn.Module):
    """Codes and the direction of a text to steps, as a conditioned :class:`networks.mapper.Mapper`.

    ``g * expert_k(w) + (1 - g) * general(w, e)``, where the direction ``e`` has the largest cosine ``c`` with key k and
    ``g`` rises from 0 at ``c = FAR`` to 1 at ``c = NEAR``.

    Args:
        general: that is told the text.
        experts: of the same codes, which are told nothing.
        keys: ``[K, condition]``, the directions of the texts that the experts are for.

    Raises:
        ValueError: if the mappers or the keys do not go together.
    """

    keys: Tensor

    def __init__(self, general: Mapper, experts: Sequence[Mapper], keys: Tensor) -> None:
        super().__init__()
        if not general.recipe.condition or any(expert.recipe.condition for expert in experts):
            raise ValueError("a mixture has a general mapper that takes a condition, and experts that take none")
        if any((expert.space, expert.groups) != (general.space, general.groups) for expert in experts):
            raise ValueError("the mappers of a mixture move the same codes")
        if not experts or list(keys.shape) != [len(experts), general.recipe.condition]:
            raise ValueError(f"{len(experts)} experts need as many keys of width {general.recipe.condition}, got "
                             f"{list(keys.shape)}")  # fmt: skip
        self.general, self.experts = general, nn.ModuleList(experts)
        self.register_buffer("keys", F.normalize(keys.detach().float(), dim=1))

    @property
    def space(self) -> MapperSpace:
        """That all of them work in."""
        return self.general.space

    @property
    def groups(self) -> tuple[Group, ...]:
        """What they move."""
        return self.general.groups

    @property
    def recipe(self) -> Recipe:
        """That of the general mapper."""
        return self.general.recipe

    def gate(self, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Of directions ``[N, condition]``: the nearest expert ``[N]``, and how much of the step is its, ``[N]``.

        Raises:
            ValueError: if they are of another width.
        """
        if condition.shape[-1] != self.keys.shape[1]:
            raise ValueError(f"a condition of width {self.keys.shape[1]} is wanted, got {list(condition.shape)}")
        with torch.autocast(condition.device.type, enabled=False):   # half precision would round the cosines
            cosine, nearest = (F.normalize(condition.float(), dim=1) @ self.keys.T).max(dim=1)
        return nearest, ((cosine - FAR) / (NEAR - FAR)).clamp(0, 1)

    def forward(self, codes: Mapping[str, Tensor], condition: Tensor | None = None) -> dict[str, Tensor]:
        """The steps of the tensors that it moves, shaped like them; of ``codes`` and ``condition`` as of a mapper.

        Raises:
            ValueError: if there is no condition, or the codes are not those of its groups.
        """
        if condition is None:
            raise ValueError(f"a condition of width {self.recipe.condition} is wanted, got None")
        nearest, share = self.gate(condition)
        steps: dict[str, Tensor] = {}
        for k in (None, *nearest[share > 0].unique().tolist()):
            weight = 1 - share if k is None else share * (nearest == k)
            at = weight.nonzero()[:, 0]
            if not len(at):
                continue
            asked = {group.tensor: codes[group.tensor][at] for group in self.groups if group.tensor in codes}
            found = self.general(asked, condition[at]) if k is None else self.experts[k](asked)
            for name, step in found.items():
                whole = steps.get(name, torch.zeros_like(codes[name]))
                scale = weight[at].view(-1, *[1] * (step.ndim - 1))
                steps[name] = whole.index_add(0, at, (scale * step).to(whole))
        return steps

    def lengths(self, steps: Mapping[str, Tensor]) -> Tensor:
        """See :meth:`networks.mapper.Mapper.lengths`."""
        return self.general.lengths(steps)

    @torch.no_grad()
    def levelled(self, codes: Mapping[str, Tensor]) -> MixtureMapper:
        """The same mixture, whose general mapper goes no further than the experts do, in the mean over their texts.

        What it has learned from differences of two persons is longer than what a text asks for.

        Args:
            codes: a latent's tensors, ``[N, ...]``, that steps are measured on.
        """
        n = len(next(iter(codes.values())))
        own = torch.stack([expert.lengths(expert(codes)).mean() for expert in self.experts])
        general = torch.stack([
            self.general.lengths(self.general(codes, key.expand(n, -1))).mean() for key in self.keys
        ])  # fmt: skip
        factor = float((own.mean() / general.mean().clamp_min(1e-12)).sqrt())
        return MixtureMapper(self.general.scaled(factor), list(self.experts), self.keys) if 0 < factor < 1 else self

    def answering(self, condition: Tensor | None) -> tuple[Mapper | MixtureMapper, Tensor | None]:
        """What answers one text ``[condition]``, and what that is to be told: the same steps, in less weights."""
        if condition is None:
            return self, None
        nearest, share = (x.item() for x in self.gate(condition[None]))
        if share == 1:
            return self.experts[int(nearest)], None
        if share == 0:
            return self.general, condition
        k = int(nearest)
        return MixtureMapper(self.general, [self.experts[k]], self.keys[k : k + 1]), condition

    @property
    def config(self) -> dict[str, Any]:
        """Plain JSON values that, with the state dict, give it again."""
        return {"general": self.general.config, "experts": [expert.config for expert in self.experts]}


def build_mapper(config: Mapping[str, Any]) -> Mapper | MixtureMapper:
    """The mapper that a configuration describes, a mixture or a single one, its weights still to be loaded.

    Raises:
        ValueError: if the configuration is none of a mapper.
    """
    if not isinstance(config, Mapping):
        raise ValueError(f"it does not describe a mapper ({type(config).__name__})")
    if "general" not in config:
        return Mapper.of(config)
    experts = config.get("experts")
    if not isinstance(experts, list) or not all(isinstance(each, Mapping) for each in (config["general"], *experts)):
        raise ValueError("it does not describe a mixture of mappers")
    general = Mapper.of(config["general"])
    keys = torch.zeros(len(experts), general.recipe.condition)
    return MixtureMapper(general, [Mapper.of(each) for each in experts], keys)
