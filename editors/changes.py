"""Images before and after an edit, and how much changed where it was meant to and elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class Changed:
    """Images before and after, and where they were to change."""

    image_before: Tensor = field(repr=False)   # [N, C, R, R] in [-1, 1]
    image: Tensor = field(repr=False)          # the same, edited
    region: Tensor = field(repr=False)         # [N, R, R] in [0, 1]

    def __len__(self) -> int:
        return len(self.image)

    @property
    def change(self) -> Tensor:
        """Mean absolute difference of each pixel, of values scaled to [0, 1]: ``[N, R, R]``."""
        return (self.image - self.image_before).abs().mean(dim=1) / 2

    @property
    def inside(self) -> Tensor:
        """The mean change where the edit is, ``[N]``; 0 where it is nowhere."""
        return _mean(self.change, self.region)

    @property
    def outside(self) -> Tensor:
        """The mean change elsewhere, ``[N]``: what an edit should not do."""
        return _mean(self.change, 1 - self.region)

    def figures(self) -> dict[str, float]:
        """``inside``, ``outside``, and the region's share of the image, each as a mean over the images."""
        shares = {"inside": self.inside, "outside": self.outside, "region": self.region.mean(dim=(1, 2))}
        return {name: float(each.mean()) for name, each in shares.items()}


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    """The weighted mean of each ``[H, W]``, ``[N]``; 0 where all weights are 0."""
    return (values * weights).sum(dim=(1, 2)) / weights.sum(dim=(1, 2)).clamp(min=1e-12)
