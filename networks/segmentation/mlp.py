"""The pixel classifiers of DatasetGAN and EditGAN, and the linear head of LinearGAN, as batched ensembles.

``ReferenceHead``: Zhang et al. 2021 (arXiv 2104.06490), Ling et al. 2021 (arXiv 2111.03186). ``LinearHead``: Xu and
Zheng 2021 (arXiv 2104.00487), section 3. In the papers all features of a pixel are enlarged, concatenated and passed
through an MLP; its first layer is linear, so here it acts on each map at its own resolution, and the results are
enlarged and added.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from networks.protocol import Features
from networks.segmentation.base import Head, add_projection
from networks.segmentation.geometry import Window, interpolation_matrix

INIT_STD = 0.02     # standard deviation of the original's weights; biases start at zero


def enlarge_directly(x: Tensor, out: int, window: Window, nearest: bool = False) -> Tensor:
    """The window of ``x`` ``[N, C, h, w]`` resized to ``out`` pixels a side in one step.

    As two small matrix products: ``interpolate`` lays maps of many channels out anew, which takes ten times as long.
    """
    if x.shape[2:] == (out, out):
        return window.cut(x)
    rows, columns = (
        interpolation_matrix(torch.arange(*edges, device=x.device), size, out, nearest).to(x.dtype)
        for edges, size in zip((window[:2], window[2:]), x.shape[2:], strict=True)
    )
    return rows @ (x @ columns.T)


class _Pointwise(Head):
    """A head whose logits at a pixel depend on that pixel's enlarged features alone."""

    nearest: bool = False  # how maps are enlarged: by repetition, or else bilinear
    first: nn.Parameter    # [M, O, D]

    @property
    def upsampling(self) -> str:
        how = "nearest" if self.nearest else "bilinear, align_corners=False"
        return f"each level directly to the output size, {how}"

    def sums(self, features: Features, window: Window) -> Tensor:
        """First layer without its bias, over a window: ``[M, O, N, h, w]``."""
        small: dict[int, Tensor] = {}  # by resolution: maps of one size are added before they are enlarged
        for name, columns in self.columns().items():
            weight, size = self.first[:, :, columns].flatten(0, 1)[None], self.shapes[name][1]
            small[size] = add_projection(small.get(size, weight.new_zeros(1, 1, 1, 1)), features[name], weight)
        large = [enlarge_directly(x, self.out_resolution, window, self.nearest) for x in small.values()]
        return functools.reduce(torch.add, large).unflatten(1, self.first.shape[:2]).permute(1, 2, 0, 3, 4)

    def tail(self, x: Tensor) -> Tensor:
        """The rest of the network: ``[M, O, P] -> [M, K, P]``."""
        raise NotImplementedError

    def window(self, features: Features, window: Window) -> Tensor:
        x = self.sums(features, window)
        return self.tail(x.flatten(2)).unflatten(2, x.shape[2:]).permute(0, 2, 1, 3, 4)


class ReferenceHead(_Pointwise):
    """``D -> 128 -> 32 -> K`` (from 32 classes ``D -> 256 -> 128 -> K``), hidden layers with ReLU, then batch norm.

    In training mode the normalisation uses the statistics of the pixels at hand, for each member its own, as in the
    original; the columns of ``first`` follow the order of the maps, so released weights can be copied in. DatasetGAN's
    paper enlarged the maps by repetition, its released code and EditGAN bilinearly.

    Raises:
        ValueError: if ``upsampling`` is neither, or as :class:`Head`.
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
    ) -> None:  # fmt: skip
        super().__init__(feature_shapes, num_classes, out_resolution, members, left_out)
        if upsampling not in ("bilinear", "nearest"):
            raise ValueError(f"upsampling must be bilinear or nearest, got {upsampling!r}")
        self.nearest = upsampling == "nearest"
        self.arguments["upsampling"] = upsampling
        wide, narrow = (128, 32) if num_classes < 32 else (256, 128)
        self.first, self.first_bias = _layer(members, wide, self.width_in)
        self.first_norm = nn.BatchNorm1d(members * wide)
        self.second, self.second_bias = _layer(members, narrow, wide)
        self.second_norm = nn.BatchNorm1d(members * narrow)
        self.third, self.third_bias = _layer(members, num_classes, narrow)

    def tail(self, x: Tensor) -> Tensor:
        x = _normalise(self.first_norm, relu(x + self.first_bias[..., None]))
        x = torch.baddbmm(self.second_bias[..., None], self.second, x)
        x = _normalise(self.second_norm, relu(x))
        return torch.baddbmm(self.third_bias[..., None], self.third, x)

    def classify(self, values: Tensor) -> Tensor:
        """Logits of pixels given by their concatenated features, each member its own: ``[M, P, D] -> [M, P, K]``."""
        return self.tail(self.first @ values.transpose(1, 2)).transpose(1, 2)


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
        self.first, self.first_bias = _layer(members, num_classes, self.width_in)

    def tail(self, x: Tensor) -> Tensor:
        return x + self.first_bias[..., None]


def _layer(members: int, out: int, width: int) -> tuple[nn.Parameter, nn.Parameter]:
    return nn.Parameter(torch.randn(members, out, width) * INIT_STD), nn.Parameter(torch.zeros(members, out))


def _normalise(norm: nn.BatchNorm1d, x: Tensor) -> Tensor:
    """Batch normalisation of ``[M, C, P]``: a member's channel is a channel of its own."""
    return norm(x.flatten(0, 1)[None])[0].view_as(x)
