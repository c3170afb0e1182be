"""Shift-tolerant LPIPS, a distance that hardly sees a one-pixel shift (Ghildyal & Liu 2022, arXiv 2207.13686).

An LPIPS whose trunk never drops a sample before it has blurred: each strided convolution or pooling runs at stride 1
and a [1, 2, 1] blur takes the stride of 2. Weights of trunk and linear heads ship in the package ``stlpips_pytorch``;
the network is written from the paper and held against figures of the package's own in the tests.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from networks.critics.lpips_distance import PerceptualCritic
from networks.critics.weights import packaged_weights

Trunk = Literal["alex", "vgg"]

# A trunk is a list of slices; the distance compares what each slice puts out. In a slice, a pair is a convolution
# (channels out, kernel), "pool" a maximum at stride 1 followed by the blur that takes the stride.
TRUNKS: dict[str, tuple[tuple[tuple[int, int] | Literal["pool"], ...], ...]] = {
    "alex": (((64, 11),), ("pool", (192, 5)), ("pool", (384, 3)), ((256, 3),), ((256, 3),)),
    "vgg": (
        ((64, 3), (64, 3)),
        ("pool", (128, 3), (128, 3)),
        ("pool", (256, 3), (256, 3), (256, 3)),
        ("pool", (512, 3), (512, 3), (512, 3)),
        ("pool", (512, 3), (512, 3), (512, 3)),
    ),
}
POOL_KERNEL = {"alex": 3, "vgg": 2}
MIN_SIZE = 32  # below this the deepest blur has too few pixels to reflect
_BLUR = (0.25, 0.5, 0.25)
_EDGE = (0.5, 0.5)


class BlurPool(nn.Module):
    """Low-pass filter, then every second sample (Zhang 2019, arXiv 1904.11486), padded by two reflected pixels."""

    kernel: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        taps = torch.tensor(_BLUR)
        kernel = torch.outer(taps, taps).expand(channels, 1, 3, 3).clone()
        self.register_buffer("kernel", kernel, persistent=False)

    def forward(self, x: Tensor) -> Tensor:  # [N, C, H, W] -> [N, C, H/2 + 1, W/2 + 1]
        return F.conv2d(F.pad(x, (2, 2, 2, 2), mode="reflect"), self.kernel, stride=2, groups=x.shape[1])


def _compose(weight: Tensor, taps_y: tuple[float, ...], taps_x: tuple[float, ...]) -> Tensor:
    """One kernel for a convolution and the filter after it: ``[O, I, k, k] -> [O, I, k + a - 1, k + b - 1]``."""
    taps = torch.outer(torch.tensor(taps_y), torch.tensor(taps_x))[None, None]
    full = F.conv2d(weight.flatten(0, 1)[:, None], taps, padding=(len(taps_y) - 1, len(taps_x) - 1))
    return full.unflatten(0, weight.shape[:2])[:, :, 0]


class BlurredConv(nn.Module):
    """AlexNet's first layer: an 11x11 convolution at stride 1, then the blur at stride 2, as one convolution.

    Both are linear, so they make one 13x13 kernel at stride 2 (a quarter of the outputs are never computed only to be
    averaged away), and a stride of 2 over 3 channels is a stride of 1 over the 12 channels of the unshuffled image.
    Only the borders differ. Output i is the blur centred at row 2i - 1 of the convolution's n rows:

    * i = 0 is centred at -1, which reflects onto 1: the same values as i = 1, so the first row is repeated;
    * the last is centred at n - 1 (n is even), where the tap at n reflects onto n - 2: taps [1, 1]/2 on the last two.
    """

    def __init__(self, weight: Tensor, bias: Tensor, padding: int) -> None:
        super().__init__()
        self.padding = padding
        pairs = {"inner": (_BLUR, _BLUR), "right": (_BLUR, _EDGE), "bottom": (_EDGE, _BLUR), "corner": (_EDGE, _EDGE)}
        for name, (y, x) in pairs.items():
            kernel = _compose(weight, y, x)
            odd_y, odd_x = kernel.shape[2] % 2, kernel.shape[3] % 2
            self.register_buffer(name, F.pixel_unshuffle(F.pad(kernel, (0, odd_x, 0, odd_y)), 2), persistent=False)
        self.register_buffer("bias", bias.clone(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:  # [N, 3, H, W] -> [N, 64, H/2 - 2, W/2 - 2]
        if x.shape[2] % 2 or x.shape[3] % 2:
            raise ValueError(f"height and width must be even, got {x.shape[2]}x{x.shape[3]}")
        half = F.pixel_unshuffle(F.pad(x, [self.padding] * 4), 2).contiguous(memory_format=torch.channels_last)
        rows, columns = self.corner.shape[2:]
        bottom, right = half[:, :, -rows:], half[..., -columns:]
        inner = F.conv2d(half, self.inner, self.bias)
        inner = torch.cat([inner, F.conv2d(right, self.right, self.bias)], dim=3)
        last = F.conv2d(bottom, self.bottom, self.bias)
        last = torch.cat([last, F.conv2d(bottom[..., -columns:], self.corner, self.bias)], dim=3)
        return F.pad(torch.cat([inner, last], dim=2), (1, 0, 1, 0), mode="replicate")


class StLpips(PerceptualCritic):
    """Shift-tolerant LPIPS with the published weights, frozen.

    Args:
        trunk: ``alex`` (fast) or ``vgg``.
        state: the published state dict: ``net.slice<i>.<j>.{weight,bias}`` and ``lin<i>.model.1.weight``.
    """

    def __init__(self, trunk: Trunk, state: dict[str, Tensor]) -> None:
        slices = TRUNKS[trunk]
        super().__init__([state[f"lin{i}.model.1.weight"] for i in range(len(slices))], MIN_SIZE)
        convolutions = _convolutions(state)
        self.slices = nn.ModuleList()
        channels = 3
        for spec in slices:
            layers: list[nn.Module] = []
            for item in spec:
                if item == "pool":
                    layers += [nn.MaxPool2d(POOL_KERNEL[trunk], stride=1), BlurPool(channels)]
                else:
                    layers += [_layer(*next(convolutions), channels, *item), nn.ReLU()]
                    channels = item[0]
            self.slices.append(nn.Sequential(*layers))
        # channels_last makes the pooling several times faster on a CPU, the convolutions no slower.
        self.to(memory_format=torch.channels_last).requires_grad_(False).eval()

    @classmethod
    def load(cls, trunk: Trunk) -> StLpips:
        """The network with the weights of the installed package.

        Raises:
            GanvasError: if the package is missing.
        """
        file = f"weights/vST0.0/{trunk}_shift_tolerant.pth"
        return cls(trunk, packaged_weights("stlpips_pytorch", file, "stlpips-pytorch"))

    def trunk(self, x: Tensor) -> list[Tensor]:
        maps = []
        x = x.contiguous(memory_format=torch.channels_last)
        for layers in self.slices:
            x = layers(x)
            maps.append(x)
        return maps


def _convolutions(state: dict[str, Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    """Weight and bias of each convolution, in the order of the trunk (the stored keys are in that order)."""
    for key, value in state.items():
        if key.startswith("net.") and key.endswith(".weight"):
            yield value, state[key.removesuffix("weight") + "bias"]


def _layer(weight: Tensor, bias: Tensor, channels_in: int, channels: int, kernel: int) -> nn.Module:
    """A convolution with the given values; AlexNet's large first one with its blur built in."""
    if weight.shape != (channels, channels_in, kernel, kernel):
        raise ValueError(f"expected a kernel {[channels, channels_in, kernel, kernel]}, got {list(weight.shape)}")
    if kernel == 11:
        return BlurredConv(weight, bias, padding=2)
    layer = nn.Conv2d(channels_in, channels, kernel, padding=kernel // 2)
    layer.weight.data.copy_(weight)
    layer.bias.data.copy_(bias)  # type: ignore[union-attr]
    return layer
