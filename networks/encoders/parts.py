"""What the encoders of pSp, e4e and EditGAN share: the size of their input, and a head for each row of codes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

COARSE, MIDDLE = 3, 7  # rows below 3 are read from the coarsest level, below 7 from the next, the rest from the finest


def level_of(row: int) -> int:
    """The level of the pyramid that a row of codes is read from; 0 is the coarsest.

    Example:
        >>> [level_of(row) for row in (0, 2, 3, 6, 7, 17)]
        [0, 0, 1, 1, 2, 2]
    """
    return (row >= COARSE) + (row >= MIDDLE)


def resized(img: Tensor, size: int) -> Tensor:
    """Square images averaged down, or enlarged bilinearly, to ``size`` pixels a side; sizes are powers of two."""
    if img.shape[-1] > size:
        return F.avg_pool2d(img, img.shape[-1] // size)
    if img.shape[-1] < size:
        return F.interpolate(img, size=(size, size), mode="bilinear", align_corners=False)
    return img


def enlarged(coarse: Tensor, fine: Tensor, align_corners: bool) -> Tensor:
    """A level of a pyramid: the coarser level, enlarged to the size of ``fine``, and ``fine``."""
    return fine + F.interpolate(coarse, size=fine.shape[-2:], mode="bilinear", align_corners=align_corners)


def strided_convolutions(in_channels: int, out_channels: int, count: int) -> nn.Sequential:
    """``count`` 3x3 convolutions, each of which halves the resolution and is followed by a leaky ReLU of slope 0.01.

    At 1x1 a further one keeps the resolution.
    """
    layers: list[nn.Module] = []
    for i in range(count):
        layers += [nn.Conv2d(out_channels if i else in_channels, out_channels, 3, stride=2, padding=1), nn.LeakyReLU()]
    return nn.Sequential(*layers)


class StyleHead(nn.Module):
    """A level of a pyramid to one row of codes.

    Args:
        convs: convolutions that lead down to 1x1.
        linear: the layer after them.
    """

    def __init__(self, convs: nn.Sequential, linear: nn.Module) -> None:
        super().__init__()
        self.convs, self.linear = convs, linear

    def forward(self, x: Tensor) -> Tensor:  # [N, C, H, W] -> [N, w_dim]
        return self.linear(self.convs(x).flatten(1))


def read_rows(heads: list[nn.Module], levels: list[Tensor]) -> Tensor:
    """The rows of codes ``[N, rows, w_dim]``, each by its head from its level."""
    return torch.stack([head(levels[level_of(row)]) for row, head in enumerate(heads)], dim=1)
