"""EditGAN's encoder (Ling et al. 2021, arXiv 2111.03186): a pyramid over a ResNet-50, and a head for each row of codes.

The pyramid is that of Lin et al. 2017 (arXiv 1612.03144), the ResNet that of He et al. 2016 (arXiv 1512.03385). Batch
normalisation uses its running statistics, so that a code depends on its image alone; EditGAN's own program never leaves
training mode.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from networks.encoders.parts import StyleHead, enlarged, level_of, read_rows, resized, strided_convolutions
from networks.stylegan2.discriminator import require_image

LARGEST_INPUT = 512   # pixels a side; a head of a larger image would not end at 1x1
EXPANSION = 4         # output channels of a block, over its inner ones
HALVINGS = (5, 6, 7)  # of a head at 32x32, 64x64 and 128x128, the levels of 512 pixels


class Bottleneck(nn.Module):
    """1x1, 3x3 with the stride, and 1x1 convolution beside a shortcut."""

    def __init__(self, in_channels: int, inner: int, stride: int) -> None:
        super().__init__()
        out = EXPANSION * inner
        self.conv1, self.bn1 = nn.Conv2d(in_channels, inner, 1, bias=False), nn.BatchNorm2d(inner)
        self.conv2, self.bn2 = nn.Conv2d(inner, inner, 3, stride, 1, bias=False), nn.BatchNorm2d(inner)
        self.conv3, self.bn3 = nn.Conv2d(inner, out, 1, bias=False), nn.BatchNorm2d(out)
        self.shortcut = nn.Sequential()
        if stride > 1 or in_channels != out:
            self.shortcut = nn.Sequential(nn.Conv2d(in_channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:  # [N, I, H, W] -> [N, 4 inner, H/stride, W/stride]
        y = self.bn1(self.conv1(x)).relu()
        y = self.bn2(self.conv2(y)).relu()
        return (self.bn3(self.conv3(y)) + self.shortcut(x)).relu()


class FeaturePyramid(nn.Module):
    """Maps of ``width`` channels at a sixteenth, an eighth and a quarter of the image's size."""

    def __init__(self, img_channels: int, base: int, units: Sequence[int], width: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(img_channels, base, 7, 2, 3, bias=False), nn.BatchNorm2d(base)
        channels = base
        for stage, count in enumerate(units):
            blocks = []
            for i in range(count):
                blocks.append(Bottleneck(channels, base << stage, 2 if stage and not i else 1))
                channels = EXPANSION * (base << stage)
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.toplayer = nn.Conv2d(channels, width, 1)
        for i in (1, 2, 3):
            self.add_module(f"latlayer{i}", nn.Conv2d(channels >> i, width, 1))
            self.add_module(f"smooth{i}", nn.Conv2d(width, width, 3, padding=1))

    def forward(self, x: Tensor) -> list[Tensor]:  # [N, C, R, R] -> coarse to fine
        x = F.max_pool2d(self.bn1(self.conv1(x)).relu(), 3, 2, 1)
        stages = [x := getattr(self, f"layer{i}")(x) for i in (1, 2, 3, 4)]
        total, levels = self.toplayer(stages[-1]), []
        for i, stage in enumerate(reversed(stages[:-1]), start=1):
            total = enlarged(total, getattr(self, f"latlayer{i}")(stage), align_corners=False)
            levels.append(getattr(self, f"smooth{i}")(total))
        return levels


class FPNEncoder(nn.Module):
    """Image to codes in W+, ``[N, num_ws, w_dim]``. Its constructor arguments are kept in ``config`` and rebuild it.

    Raises:
        ValueError: if there are not four stages, fewer rows than coarse and middle ones, or an image does not fit.
    """

    def __init__(
        self,
        img_resolution: int,                     # of the images; at most 512 are seen
        num_ws: int,                             # rows of W+, at least 7
        w_dim: int = 512,                        # width of w
        img_channels: int = 3,                   # channels of the image
        base: int = 64,                          # inner channels of the first stage; doubled by each further one
        units: Sequence[int] = (3, 4, 6, 3),     # blocks of each stage
        width: int = 512,                        # channels of the pyramid
    ) -> None:  # fmt: skip
        super().__init__()
        units = list(units)
        if len(units) != 4 or num_ws < 7:
            raise ValueError(f"units must be of four stages and num_ws at least 7, got {units} and {num_ws}")
        self.config: dict[str, Any] = {
            "img_resolution": img_resolution, "num_ws": num_ws, "w_dim": w_dim, "img_channels": img_channels,
            "base": base, "units": units, "width": width,
        }  # fmt: skip
        self.img_resolution, self.img_channels, self.num_ws, self.w_dim = img_resolution, img_channels, num_ws, w_dim
        self.size = min(img_resolution, LARGEST_INPUT)
        self.FPN_module = FeaturePyramid(img_channels, base, units, width)
        heads = [
            StyleHead(strided_convolutions(width, w_dim, HALVINGS[level_of(row)]), nn.Linear(w_dim, w_dim))
            for row in range(num_ws)
        ]
        by_level = [[head for row, head in enumerate(heads) if level_of(row) == level] for level in range(3)]
        self.course_styles, self.medium_styles, self.fine_styles = map(nn.ModuleList, by_level)

    def forward(self, img: Tensor) -> Tensor:  # [N, C, R, R] -> [N, num_ws, w_dim]
        require_image(img, self.img_channels, self.img_resolution)
        heads = [*self.course_styles, *self.medium_styles, *self.fine_styles]
        return read_rows(heads, self.FPN_module(resized(img, self.size)))
