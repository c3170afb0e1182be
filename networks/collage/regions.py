"""Where in an image something happens, how strongly in each layer, and shares that sum to one wherever it does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Region:
    """A part of an image, hard or soft, and how strongly each layer heeds it.

    Args:
        mask: ``[N, R, R]`` from 0 to 1, at the image's resolution.
        strength: a factor on the mask.
        layers: a layer's own factor; those that are not named have ``others``.
        others: of the layers that are not named; 0 for a region that only the named layers heed.

    Raises:
        ValueError: if the mask is no such map, or a factor is not from 0 to 1.
    """

    mask: Tensor = field(repr=False)
    strength: float = 1.0
    layers: Mapping[str, float] = field(default_factory=dict)
    others: float = 1.0

    def __post_init__(self) -> None:
        if self.mask.ndim != 3 or self.mask.shape[1] != self.mask.shape[2] or not self.mask.is_floating_point():
            raise ValueError(f"a mask must be floats [N, R, R], got {self.mask.dtype} {list(self.mask.shape)}")
        if not ((self.mask >= 0) & (self.mask <= 1)).all():  # false of NaN as well
            raise ValueError("a mask must hold numbers from 0 to 1")
        for name, factor in {"strength": self.strength, "others": self.others, **self.layers}.items():
            if not 0 <= factor <= 1:
                raise ValueError(f"the strength of a region must be from 0 to 1, got {name}={factor}")

    def heeds(self, layer: str) -> bool:
        """Whether anything of it is left at a layer."""
        return self.factor(layer) > 0

    def factor(self, layer: str) -> float:
        """On its mask, at a layer."""
        return self.strength * self.layers.get(layer, self.others)

    def at(self, layer: str, resolution: int) -> Tensor:
        """Its share at a layer's map, ``[N, 1, r, r]``: the mean of the mask over each cell, times the factors."""
        return pooled(self.mask[:, None], resolution) * self.factor(layer)


def pooled(maps: Tensor, resolution: int) -> Tensor:
    """``[N, K, R, R]`` brought to ``[N, K, r, r]`` by the mean of the area of each cell.

    Raises:
        ValueError: if ``r`` does not divide ``R``.
    """
    size = maps.shape[-1]
    if size % resolution:
        raise ValueError(f"maps of {size} pixels a side have no cells of {resolution}: give masks of the image's size")
    return F.avg_pool2d(maps, size // resolution) if size > resolution else maps


class Shares:
    """What the rest and each region get at a layer: not negative, and summing to one.

    Where regions overlap, as feathered edges do, what they ask for is divided in proportion; so their order means
    nothing. Layers that heed the regions alike have the same maps, which are made once.

    Args:
        regions: at least one, all of masks of one shape.

    Raises:
        ValueError: if there are none, or they do not fit one another.
    """

    def __init__(self, regions: Sequence[Region]) -> None:
        if not regions or any(region.mask.shape != regions[0].mask.shape for region in regions):
            raise ValueError("shares need at least one region, all of masks of one shape")
        self.regions = regions
        self._masks = torch.stack([region.mask for region in regions], dim=1)
        self._made: dict[tuple[int, tuple[float, ...]], Tensor] = {}

    def at(self, layer: str, resolution: int) -> Tensor:
        """``[N, 1 + K, r, r]``; the maps are shared, so they must not be written to."""
        factors = tuple(region.factor(layer) for region in self.regions)
        if (key := (resolution, factors)) not in self._made:
            asked = pooled(self._masks, resolution)
            # A plain number where it will do: a GPU need not wait for a list of them.
            one = len(set(factors)) == 1
            self._made[key] = divided(asked * (factors[0] if one else asked.new_tensor(factors)[:, None, None]))
        return self._made[key]


def divided(asked: Tensor) -> Tensor:
    """As :class:`Shares`, of what is asked for, ``[N, K, r, r]``."""
    asked = asked / asked.sum(dim=1, keepdim=True).clamp(min=1)
    return torch.cat([(1 - asked.sum(dim=1, keepdim=True)).clamp(min=0), asked], dim=1)


def feathered(mask: Tensor, width: float) -> Tensor:
    """A mask ``[N, R, R]`` with soft edges: a Gaussian of the standard deviation ``width``, in widths of the image.

    Beyond the border the mask goes on as it is there.

    Raises:
        ValueError: if the width is negative or not finite.
    """
    if not 0 <= width < 1:
        raise ValueError(f"the width of a soft edge must be from 0 to below 1 of the image, got {width}")
    sigma = width * mask.shape[-1]
    if sigma == 0:
        return mask
    reach = max(1, round(3 * sigma))
    steps = torch.arange(-reach, reach + 1, dtype=mask.dtype, device=mask.device)
    taps = torch.exp(-steps.square() / (2 * sigma**2))
    taps = taps / taps.sum()
    x = mask[:, None]
    for shape, pad in (([1, 1, 1, -1], (reach, reach, 0, 0)), ([1, 1, -1, 1], (0, 0, reach, reach))):
        x = F.conv2d(F.pad(x, pad, mode="replicate"), taps.view(shape))
    return x[:, 0].clamp(0, 1)
