"""The pixel classifiers of DatasetGAN and EditGAN, and the linear head of LinearGAN, as batched ensembles.

``ReferenceHead``: Zhang et al. 2021 (arXiv 2104.06490), Ling et al. 2021 (arXiv 2111.03186). ``LinearHead``: Xu and
Zheng 2021 (arXiv 2104.00487), section 3. In the papers all features of a pixel are enlarged, concatenated and passed
through an MLP; its first layer is linear, so here it acts on each map at its own resolution, and the results are
enlarged and added.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from cuda_ops.project_upsample_sum import project_upsample_sum
from networks.protocol import Features
from networks.segmentation.base import Head
from networks.segmentation.geometry import Window, enlarge_window

INIT_STD = 0.02     # standard deviation of the original's weights; biases start at zero


class _Pointwise(Head):
    """A head whose logits at a pixel depend on that pixel's enlarged features alone."""

    nearest: bool = False  # how maps are enlarged: by repetition, or else bilinear
    grid: int              # pixels a side that are classified
    first: nn.Parameter    # [M, O, D]
    first_bias: nn.Parameter  # [M, O]

    @property
    def upsampling(self) -> str:
        how = "nearest" if self.nearest else "bilinear, align_corners=False"
        return f"each level directly to the output size, {how}"

    def sums(self, features: Features, window: Window) -> Tensor:
        """First layer over a window of the grid: ``[M, O, N, h, w]``."""
        columns = self.columns()
        weights = [self.first[:, :, part].flatten(0, 1) for part in columns.values()]
        maps, size = [features[name] for name in columns], (self.grid, self.grid)
        x = project_upsample_sum(maps, weights, size, self.first_bias.flatten(), window, self.nearest)
        return x.unflatten(1, self.first.shape[:2]).permute(1, 2, 0, 3, 4)

    def tail(self, x: Tensor, mean: bool = False) -> Tensor:
        """The rest of the network: ``[M, O, P] -> [M, K, P]``, or the members' mean ``[1, K, P]``."""
        raise NotImplementedError

    def window(self, features: Features, window: Window) -> Tensor:
        return self._window(features, window, mean=False)

    def mean_window(self, features: Features, window: Window) -> Tensor:
        return self._window(features, window, mean=True)[0]

    def _window(self, features: Features, window: Window, mean: bool) -> Tensor:
        factor = self.out_resolution // self.grid
        have = window if factor == 1 else window.shrink(factor).grow(1, self.grid)
        x = self.sums(features, have)
        logits = self.tail(x.flatten(2), mean).unflatten(2, x.shape[2:]).permute(0, 2, 1, 3, 4)
        if factor == 1:
            return logits
        return enlarge_window(logits.flatten(0, 1), have, factor, window).unflatten(0, logits.shape[:2])


class ReferenceHead(_Pointwise):
    """``D -> 128 -> 32 -> K`` (from 32 classes ``D -> 256 -> 128 -> K``), hidden layers with ReLU, then batch norm.

    In training mode the normalisation uses the statistics of the pixels at hand, for each member its own, as in the
    original; the columns of ``first`` follow the order of the maps, so released weights can be copied in. DatasetGAN's
    paper enlarged the maps by repetition, its released code and EditGAN bilinearly. Of a generator of 1024x1024 EditGAN
    classifies 512x512 pixels, to which it reduces the finest maps; with such a ``grid`` the logits are enlarged.

    Raises:
        ValueError: if ``upsampling`` is neither, the output is no multiple of ``grid``, or as :class:`Head`.
    """

    kind: ClassVar[str] = "reference"

    def __init__(
        self,
        feature_shapes: Mapping[str, tuple[int, int]],  # see Head
        num_classes: int,
        out_resolution: int,
        members: int = 10,
        left_out: Iterable[str] = (),
        upsampling: str = "bilinear",                   # or nearest
        grid: int | None = None,                        # pixels a side that are classified; None: all of the output
    ) -> None:  # fmt: skip
        super().__init__(feature_shapes, num_classes, out_resolution, members, left_out)
        if upsampling not in ("bilinear", "nearest"):
            raise ValueError(f"upsampling must be bilinear or nearest, got {upsampling!r}")
        self.nearest = upsampling == "nearest"
        self.arguments["upsampling"] = upsampling
        self.grid = out_resolution if grid is None else grid
        if not 1 <= self.grid <= out_resolution or out_resolution % self.grid:
            raise ValueError(f"the output's {out_resolution} pixels a side must be a multiple of grid, got {grid}")
        if self.grid != out_resolution:
            self.arguments["grid"] = grid
        wide, narrow = self.hidden_widths(num_classes)
        self.first, self.first_bias = _layer(members, wide, self.width_in)
        self.first_norm = nn.BatchNorm1d(members * wide)
        self.second, self.second_bias = _layer(members, narrow, wide)
        self.second_norm = nn.BatchNorm1d(members * narrow)
        self.third, self.third_bias = _layer(members, num_classes, narrow)

    @staticmethod
    def hidden_widths(num_classes: int) -> tuple[int, int]:
        """Widths of the two hidden layers."""
        return (128, 32) if num_classes < 32 else (256, 128)

    def tail(self, x: Tensor, mean: bool = False) -> Tensor:
        x = _normalise(self.first_norm, relu(x))
        x = torch.baddbmm(self.second_bias[..., None], self.second, x)
        x = _normalise(self.second_norm, relu(x))
        if mean:
            weight, bias = self.third.transpose(0, 1).flatten(1) / self.members, self.third_bias.mean(0)
            return torch.addmm(bias[:, None], weight, x.flatten(0, 1))[None]
        return torch.baddbmm(self.third_bias[..., None], self.third, x)

    def classify(self, values: Tensor) -> Tensor:
        """Logits of pixels given by their concatenated features, each member its own: ``[M, P, D] -> [M, P, K]``."""
        sums = torch.baddbmm(self.first_bias[..., None], self.first, values.transpose(1, 2))
        return self.tail(sums).transpose(1, 2)


class LinearHead(_Pointwise):
    """One linear layer a map, enlarged and summed: no hidden layer at all."""

    kind: ClassVar[str] = "linear"

    def __init__(
        self,
        feature_shapes: Mapping[str, tuple[int, int]],  # see Head
        num_classes: int,
        out_resolution: int,
        members: int = 1,
        left_out: Iterable[str] = (),
    ) -> None:  # fmt: skip
        super().__init__(feature_shapes, num_classes, out_resolution, members, left_out)
        self.grid = out_resolution
        self.first, self.first_bias = _layer(members, num_classes, self.width_in)

    def tail(self, x: Tensor, mean: bool = False) -> Tensor:
        return x.mean(0, keepdim=True) if mean else x


def _layer(members: int, out: int, width: int) -> tuple[nn.Parameter, nn.Parameter]:
    return nn.Parameter(torch.randn(members, out, width) * INIT_STD), nn.Parameter(torch.zeros(members, out))


def _normalise(norm: nn.BatchNorm1d, x: Tensor) -> Tensor:
    """Batch normalisation of ``[M, C, P]``: a member's channel is a channel of its own."""
    return norm(x.flatten(0, 1)[None])[0].view_as(x)
