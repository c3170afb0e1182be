"""The default head: a narrow coarse-to-fine decoder on frozen features, shared by an ensemble of small classifiers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from cuda_ops.project_upsample_sum import add_projection
from networks.protocol import Features
from networks.segmentation.base import Head
from networks.segmentation.geometry import Window, enlarge_window
from networks.segmentation.maps import CONTRAST, IMAGE

# How large the standardised maps are made, by how many times smaller than the output they are. Few images hold few
# positions of a coarse map, so its channels tell the images apart rather than the classes; fine maps place the edges.
EMPHASIS = {1: 2.0, 2: 1.0}
COARSE = 0.3
BY_NAME = {IMAGE: 1.0, CONTRAST: 2.0}


class PyramidHead(Head):
    """Standardise, project, enlarge by two, add, refine; then M classifiers read the finest sum.

    Every map is projected to ``width`` channels at its own resolution, added to what the coarser levels gave (enlarged
    bilinearly, one level at a time), and refined by a depthwise 3x3 convolution. The members share this trunk and
    differ in their two layers and in what dropout shows them.

    Dropout removes whole channels of each member's view of the trunk, so that the members learn different things.

    Raises:
        ValueError: as every head, and if a size is below one or dropout leaves nothing.
    """

    kind: ClassVar[str] = "default"
    reads_image: ClassVar[bool] = True
    upsampling = "coarse to fine: projected sums enlarged level by level, bilinear, align_corners=False"

    def __init__(
        self,
        feature_shapes: Mapping[str, tuple[int, int]],  # see Head; each resolution divides the next
        num_classes: int,
        out_resolution: int,
        members: int = 10,
        left_out: Iterable[str] = (),
        width: int = 64,              # channels of the shared trunk
        hidden: int = 8,              # channels of each member's hidden layer
        dropout: float = 0.1,         # share of trunk channels hidden from each member, for each image anew
    ) -> None:  # fmt: skip
        super().__init__(feature_shapes, num_classes, out_resolution, members, left_out)
        if min(width, hidden) < 1:
            raise ValueError(f"width and hidden must be at least 1, got {width}, {hidden}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be at least 0 and less than 1, got {dropout}")
        self.arguments |= {"width": width, "hidden": hidden, "dropout": dropout}
        self.dropout = dropout
        self.levels = _levels(self.shapes, out_resolution)
        # Names hold dots, which module names may not; columns of one matrix serve instead, as in the other heads.
        self.register_buffer("mean", torch.zeros(self.width_in))
        self.register_buffer("scale", torch.ones(self.width_in))
        self.first = nn.Parameter(torch.randn(width, self.width_in) / self.width_in**0.5)
        self.first_bias = nn.Parameter(torch.zeros(width))
        self.refine = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1, groups=width) for _ in self.levels)
        self.second = nn.Parameter(torch.randn(members, hidden, width) * (2 / width) ** 0.5)
        self.second_bias = nn.Parameter(torch.zeros(members, hidden))
        self.third = nn.Parameter(torch.randn(members, num_classes, hidden) / hidden**0.5)
        self.third_bias = nn.Parameter(torch.zeros(members, num_classes))
        for conv in self.refine:
            nn.init.zeros_(conv.weight)  # the refinement is a residual: it starts as nothing
            nn.init.zeros_(conv.bias)

    @torch.no_grad()
    def standardise(self, features: Features) -> None:
        """Set each input channel's mean and scale from examples (no labels needed)."""
        for name, columns in self.columns().items():
            maps = features[name]
            # Image by image: a copy of all maps in single precision would be twice the store.
            mean = torch.stack([x.float().mean(dim=(1, 2)) for x in maps]).mean(dim=0)
            squares = [(x.float() - mean[:, None, None]).square_().mean(dim=(1, 2)) for x in maps]
            self.mean[columns] = mean
            by_size = EMPHASIS.get(self.out_resolution // self.shapes[name][1], COARSE)
            emphasis = BY_NAME.get(name, by_size)
            self.scale[columns] = torch.stack(squares).mean(dim=0).sqrt().clamp(min=1e-4) / emphasis

    def window(self, features: Features, window: Window) -> Tensor:
        return self._members(self._hidden(features, window))

    def mean_window(self, features: Features, window: Window) -> Tensor:
        weight, bias = self.third.transpose(0, 1).flatten(1) / self.members, self.third_bias.mean(dim=0)
        return add_projection(bias.view(1, -1, 1, 1), self._hidden(features, window), weight[None])

    def _first_layer(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Each map's weight ``[1, width, C]`` and offset ``[1, width, 1, 1]``.

        Standardisation is folded in, so that no map is ever copied for it.
        """
        weight = (self.first / self.scale)[None]
        channels = [c for c, _ in self.shapes.values()]
        parts = zip(self.shapes, weight.split(channels, dim=2), self.mean.split(channels), strict=True)
        return {name: (part, -(part @ mean)[:, :, None, None]) for name, part, mean in parts}

    def _trunk(self, features: Features, level: int, window: Window, first: dict[str, tuple[Tensor, Tensor]]) -> Tensor:
        """The refined sum of the levels up to ``level``, over a window of that level's map: ``[N, width, h, w]``."""
        size, names = self.levels[level]
        wide = window.grow(1, size)  # the 3x3 convolution looks one pixel further
        offset = sum(first[name][1] for name in names)
        if level == 0:
            x = self.first_bias.view(1, -1, 1, 1) + offset
        else:
            coarse = self.levels[level - 1][0]
            have = wide.shrink(size // coarse).grow(1, coarse)
            x = enlarge_window(self._trunk(features, level - 1, have, first) + offset, have, size // coarse, wide)
        for name in names:
            x = add_projection(x, wide.cut(features[name]), first[name][0])
        return window.within(wide).cut(x + self.refine[level](relu(x)))

    def _hidden(self, features: Features, window: Window) -> Tensor:
        """The members' hidden layers side by side, ``[N, M * hidden, h, w]``."""
        trunk = self._trunk(features, len(self.levels) - 1, window, self._first_layer())
        n, width = trunk.shape[:2]
        second = self.second
        if self.training and self.dropout > 0:
            mask = _channel_mask(n * self.members, width, self.dropout, trunk)
            second = second * mask.view(n, self.members, 1, width)
        second = second.expand(n, -1, -1, -1).flatten(1, 2)  # [N, M * hidden, width]
        return relu(add_projection(self.second_bias.view(1, -1, 1, 1), relu(trunk), second))

    def _members(self, x: Tensor) -> Tensor:  # [N, M * hidden, h, w] -> [M, N, K, h, w]
        n = len(x)
        x = x.unflatten(1, (self.members, -1)).flatten(0, 1)  # [N * M, hidden, h, w]
        bias, third = self.third_bias[..., None, None].repeat(n, 1, 1, 1), self.third.repeat(n, 1, 1)
        return add_projection(bias, x, third).unflatten(0, (n, self.members)).transpose(0, 1)


def _levels(shapes: Mapping[str, tuple[int, int]], out: int) -> list[tuple[int, list[str]]]:
    """Maps by resolution, coarse to fine; the last level is the output's, with or without maps of its own."""
    sizes = sorted({resolution for _, resolution in shapes.values()} | {out})
    if any(fine % coarse for coarse, fine in pairwise(sizes)) or sizes[-1] != out:
        raise ValueError(f"resolutions must divide each other up to the output's {out}, got {sizes}")
    return [(size, [name for name, (_, resolution) in shapes.items() if resolution == size]) for size in sizes]


def _channel_mask(n: int, channels: int, rate: float, like: Tensor) -> Tensor:
    """Zeros at ``rate``, elsewhere ``1 / (1 - rate)``: ``[n, channels]``."""
    keep = torch.rand(n, channels, device=like.device) >= rate
    return keep.to(like.dtype) / (1 - rate)
