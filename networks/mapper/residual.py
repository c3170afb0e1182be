"""The network inside a mapper: codes of one group of layers to the step that they take.

StyleCLIP (Patashnik et al. 2021, arXiv 2103.17249, section 5): normalisation, then four layers with leaky ReLUs.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cuda_ops.bias_act import bias_act
from networks.stylegan2.layers import FullyConnected

Norm = Literal["features", "layers"]
Head = Literal["linear", "lrelu"]
EPS = 1e-8


@dataclass(frozen=True)
class Recipe:
    """How the networks of a mapper are built; the defaults are ours, :data:`STYLECLIP` is the original's.

    Args:
        norm: which axis of ``[N, rows, width]`` is scaled to unit second moment: ``features``, or ``layers``, as in the
            original. There a code whose rows are equal, as in W, comes down to its signs.
        depth: layers, the head included.
        hidden: width of the layers between; 0 for that of the codes.
        lr_mult: learning-rate multiplier of equalised layers; 0 for plain ones.
        head: ``linear``, zero at first, so that training starts from the images as they are; or ``lrelu``, a layer like
            the others, as in the original.
        step_scale: what the network's output is multiplied by.
        condition: width of a vector that the network is also given; 0 for none.

    Raises:
        ValueError: if a value makes no sense.
    """

    norm: Norm = "features"
    depth: int = 4
    hidden: int = 0
    lr_mult: float = 0.0
    head: Head = "linear"
    step_scale: float = 1.0
    condition: int = 0

    def __post_init__(self) -> None:
        if self.norm not in get_args(Norm) or self.head not in get_args(Head):
            raise ValueError(f"norm is {' or '.join(get_args(Norm))} and head {' or '.join(get_args(Head))}, got "
                             f"{self.norm} and {self.head}")  # fmt: skip
        if self.depth < 1 or min(self.hidden, self.lr_mult, self.condition) < 0 or not 0 < self.step_scale < math.inf:
            raise ValueError(f"a mapper's depth is at least 1, its step_scale above 0 and no size below 0, got {self}")

    def to_json(self) -> dict[str, Any]:
        """Plain values that give it again."""
        return asdict(self)


STYLECLIP = Recipe("layers", 4, 0, 0.01, "lrelu", 0.1)


class Plain(nn.Linear):
    """A linear layer with He's initial weights and a leaky ReLU: ``[N, in] -> [N, out]``."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        nn.init.normal_(self.weight, std=1 / math.sqrt(in_features))
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return bias_act(F.linear(x, self.weight.to(x.dtype)), self.bias.to(x.dtype), act="lrelu")


class ResidualNetwork(nn.Module):
    """``[N, rows, width]`` or ``[N, width]`` to a step of the same shape: ``step_scale * unit * M((x - mean) / unit)``.

    ``mean`` and ``unit`` are where a generator's codes lie and how far they spread, so that a step means the same for
    every generator; in the original they are 0 and 1.
    """

    mean: Tensor
    unit: Tensor

    def __init__(self, width: int, recipe: Recipe, mean: Tensor | None = None, unit: Tensor | None = None) -> None:
        super().__init__()
        self.width, self.recipe = width, recipe
        inner = recipe.hidden or width
        widths = [width, *[inner] * (recipe.depth - 1)]
        self.layers = nn.ModuleList(_layer(a, b, recipe) for a, b in pairwise(widths))
        self.head = nn.Linear(widths[-1], width) if recipe.head == "linear" else _layer(widths[-1], width, recipe)
        if recipe.head == "linear":
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias)
        if recipe.condition:
            self.modulations = nn.ModuleList(nn.Linear(recipe.condition, 2 * b) for b in widths[1:])
            self.direct = nn.Linear(recipe.condition, width, bias=False)   # what a text asks of every code
            nn.init.zeros_(self.direct.weight)
        self.register_buffer("mean", torch.zeros(width) if mean is None else mean.detach().clone())
        self.register_buffer("unit", torch.ones(width) if unit is None else unit.detach().clone())

    def forward(self, codes: Tensor, condition: Tensor | None = None) -> Tensor:
        """Steps of ``codes``; ``condition`` ``[N, condition]`` if the recipe has one."""
        if (condition is not None) != bool(self.recipe.condition):
            raise ValueError(f"a condition of width {self.recipe.condition} is wanted, got {condition}")
        x = (codes - self.mean) / self.unit
        axis = 1 if self.recipe.norm == "layers" else -1
        x = x * (x.square().mean(dim=axis, keepdim=True) + EPS).rsqrt()
        rows = x.flatten(0, -2)  # [N * rows, width]
        for i, layer in enumerate(self.layers):
            rows = layer(rows)
            if condition is not None:
                rows = self._modulated(rows, condition, i)
        step = self.head(rows)
        if condition is not None:
            step = step + self.direct(condition).repeat_interleave(len(rows) // len(condition), 0)
        return self.recipe.step_scale * self.unit * step.view(codes.shape)

    def _modulated(self, rows: Tensor, condition: Tensor, i: int) -> Tensor:
        """HairCLIP's modulation (Wei et al. 2022, eq. 4): ``(1 + gamma(e)) * norm(x) + beta(e)``."""
        gain, shift = self.modulations[i](condition).chunk(2, dim=-1)  # [N, hidden] each
        repeat = len(rows) // len(condition)
        normed = F.layer_norm(rows, rows.shape[-1:])
        return (1 + gain.repeat_interleave(repeat, 0)) * normed + shift.repeat_interleave(repeat, 0)


def _layer(n_in: int, n_out: int, recipe: Recipe) -> nn.Module:
    return FullyConnected(n_in, n_out, act="lrelu", lr_mult=recipe.lr_mult) if recipe.lr_mult else Plain(n_in, n_out)
