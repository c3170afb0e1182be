"""The decoder of BlobGAN: blobs to an image, with a style at every pixel (Epstein et al. 2022, section 3.2).

It is StyleGAN2's synthesis from the resolution of the smallest map on, without a constant: the first layer sees the
blobs' structure, laid out by their weights. A layer's style is the blobs' styles, mixed by their weights at each pixel.
So the kernels are the same for every sample, and a map of styles is never made (``cuda_ops/spatial_modulation.py``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from cuda_ops.channel_affine import channel_affine
from cuda_ops.conv2d import conv2d
from cuda_ops.modulated_conv2d import EPSILON, SLOPES
from cuda_ops.spatial_modulation import spatial_modulation
from cuda_ops.spatial_projection import spatial_projection
from cuda_ops.upfirdn2d import setup_filter, upsample2d
from networks.blobgan.layout import Layout
from networks.stylegan2.layers import FullyConnected
from networks.stylegan2.resolutions import HALF_PRECISION, compute_dtype
from networks.stylegan2.synthesis import LayerNoise, Noise, layer_noise, of_layer

ACTIVATION = (SLOPES["lrelu"], math.sqrt(2), math.inf)
Weights = dict[int, Tensor]


class BlobLayer(nn.Module):
    """A 3x3 convolution modulated at each pixel, noise, bias, leaky ReLU.

    ``S = sum_i w_i A(psi_i)``, ``x <- x S / rms_c(S)``, kernels of unit norm, as the release has them: the norm of the
    style is taken at each pixel and that of the kernel by itself, where StyleGAN2 has one factor for both.
    """

    noise_const: Tensor
    resample_filter: Tensor

    def __init__(
        self,
        in_channels: int,   # channels of the input
        out_channels: int,  # channels of the output
        style_dim: int,     # width of a blob's style
        resolution: int,    # of the output
        up: int = 1,        # 2 doubles the resolution
    ) -> None:  # fmt: skip
        super().__init__()
        self.resolution, self.up = resolution, up
        self.register_buffer("resample_filter", setup_filter())
        self.affine = FullyConnected(style_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3))
        self.register_buffer("noise_const", torch.randn(resolution, resolution))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x: Tensor, weights: Weights, style: Tensor, noise: LayerNoise) -> Tensor:
        """``x`` ``[N, I, H, W]``, the blobs' weights, and ``style`` ``[N, K + 1, style_dim]`` to ``[N, O, R, R]``."""
        x = spatial_modulation(x, weights[x.shape[-1]], _by_blob(self.affine, style), EPSILON)
        # Unit norm: the fan-in gain of an equalised layer would divide out again, but for epsilon.
        gain = 1 / math.sqrt(self.weight[0].numel())
        kernel = self.weight * gain
        kernel = kernel * (kernel.square().sum(dim=[1, 2, 3], keepdim=True) + EPSILON).rsqrt()
        x = conv2d(x, kernel.to(x.dtype), self.resample_filter if self.up == 2 else None)
        maps = layer_noise(noise, self.noise_const, x)
        if maps is None:
            return channel_affine(x, bias=self.bias[None], activation=ACTIVATION)
        maps = maps[None, None] if maps.ndim == 2 else maps
        return channel_affine(x, None, maps, self.noise_strength.expand(1, x.shape[1]), self.bias[None], ACTIVATION)


class BlobToRGB(nn.Module):
    """A 1x1 convolution to image channels, modulated at each pixel, without any norm.

    No map of styles is kept (``cuda_ops/spatial_projection.py``).
    """

    def __init__(self, in_channels: int, out_channels: int, style_dim: int) -> None:
        super().__init__()
        self.affine = FullyConnected(style_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.weight_gain = 1 / math.sqrt(in_channels)

    def forward(self, x: Tensor, weights: Weights, style: Tensor) -> Tensor:
        """``x`` ``[N, I, H, W]`` to ``[N, O, H, W]`` in single precision."""
        styles = _by_blob(self.affine, style) * self.weight_gain
        return spatial_projection(x, weights[x.shape[-1]], styles, self.weight) + self.bias[:, None, None]


class BlobBlock(nn.Module):
    """One resolution: two layers (one at the first), and its part of the image."""

    resample_filter: Tensor

    def __init__(
        self,
        in_channels: int,    # channels of the block below; in the first block the width of the structure
        out_channels: int,   # channels of this block
        style_dim: int,      # width of a blob's style
        resolution: int,     # resolution of this block
        img_channels: int,   # channels of the image
        is_first: bool,      # no doubling, one layer
        dtype: torch.dtype,  # precision of the convolutions
    ) -> None:  # fmt: skip
        super().__init__()
        self.resolution, self.is_first, self.dtype = resolution, is_first, dtype
        self.register_buffer("resample_filter", setup_filter())
        if not is_first:
            self.conv0 = BlobLayer(in_channels, out_channels, style_dim, resolution, 2)
        self.conv1 = BlobLayer(in_channels if is_first else out_channels, out_channels, style_dim, resolution)
        self.torgb = BlobToRGB(out_channels, img_channels, style_dim)

    @property
    def layers(self) -> list[str]:
        """The convolutions in order."""
        return ["conv1"] if self.is_first else ["conv0", "conv1"]

    def forward(
        self,
        x: Tensor,                 # [N, in_channels, R/2, R/2], in the first block at R
        img: Tensor | None,        # the image so far
        weights: Weights,          # of blobs and background, by resolution
        style: Tensor,             # [N, K + 1, style_dim]
        noise: Noise,              # see networks.stylegan2.synthesis
        features: dict[str, Tensor] | None,  # takes each layer's output
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        x = x.to(compute_dtype(self.dtype, x.device))
        for layer in self.layers:
            path = f"b{self.resolution}.{layer}"
            x = getattr(self, layer)(x, weights, style, of_layer(noise, path))
            if features is not None:
                features[path] = x
        rgb = self.torgb(x, weights, style)
        return x, rgb if img is None else upsample2d(img, self.resample_filter) + rgb


class BlobSynthesis(nn.Module):
    """``layout -> image``; every layer count follows from the two resolutions.

    Raises:
        ValueError: if the resolutions are not powers of two in this order, ``channels`` are not one for each
            resolution, or the precision is unknown.
    """

    def __init__(
        self,
        img_resolution: int,             # a power of two
        channels: list[int],             # at smallest, ..., img_resolution
        structure_dim: int,              # width of what is in a blob
        style_dim: int,                  # width of how it looks
        img_channels: int = 3,           # channels of the image
        smallest: int = 16,              # resolution at which blobs enter
        area: float = 0.02,              # geometric mean of a blob's variances, in squares of the image's width
        offset: float = 0.0,             # where in a pixel a blob is sampled; 0 in the release, 0.5 in the middle
        num_fp16_res: int = 0,           # how many of the finest resolutions compute in half precision
        half_dtype: str = "bfloat16",    # float16 or bfloat16
        channels_last: bool = False,     # memory layout of the activations
    ) -> None:  # fmt: skip
        super().__init__()
        resolutions = _resolutions(smallest, img_resolution)
        if len(channels) != len(resolutions) or min(channels) < 1:
            raise ValueError(f"channels must be {len(resolutions)} positive counts, of {smallest}, ..., "
                             f"{img_resolution}, got {list(channels)}")  # fmt: skip
        if half_dtype not in HALF_PRECISION:
            raise ValueError(f"half_dtype must be {' or '.join(HALF_PRECISION)}, got {half_dtype!r}")
        if not area > 0 or not 0 <= offset <= 1:
            raise ValueError(f"area must be above 0 and offset in [0, 1], got {area} and {offset}")
        self.img_resolution, self.img_channels, self.smallest = img_resolution, img_channels, smallest
        self.structure_dim, self.style_dim, self.area, self.offset = structure_dim, style_dim, area, offset
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.block_resolutions = resolutions
        for i, (r, width) in enumerate(zip(resolutions, channels, strict=True)):
            below = channels[i - 1] if i else structure_dim
            half = HALF_PRECISION[half_dtype] if len(resolutions) - i <= num_fp16_res else torch.float32
            self.add_module(f"b{r}", BlobBlock(below, width, style_dim, r, img_channels, i == 0, half))

    def blocks(self) -> Iterator[BlobBlock]:
        """The blocks, coarse to fine."""
        for r in self.block_resolutions:
            yield getattr(self, f"b{r}")

    def weights(self, layout: Layout) -> Weights:
        """The share of background and blobs in each pixel, by resolution: what ``forward`` renders from."""
        return layout.weights(self.img_resolution, self.smallest, self.area, self.offset)

    def forward(
        self,
        layout: Layout,            # any number of blobs
        noise: Noise = "const",    # the stored maps, fresh ones of each image, none, a generator's, or given ones
        features: bool = False,    # also return every layer's output
        up_to: int | None = None,  # leave finer blocks out: an image of at most so many pixels a side
    ) -> Tensor | tuple[Tensor, dict[str, Tensor]]:  # [N, C, R, R]  # fmt: skip
        widths = layout.structure.shape[2], layout.style.shape[2]
        if widths != (self.structure_dim, self.style_dim):
            raise ValueError(f"structure and style must be {self.structure_dim} and {self.style_dim} wide, got "
                             f"{widths[0]} and {widths[1]}")  # fmt: skip
        weights = self.weights(layout)
        x = torch.einsum("nkhw,nkc->nchw", weights[self.smallest], layout.structure)
        x, img = x.contiguous(memory_format=self.memory_format), None
        maps: dict[str, Tensor] | None = {} if features else None
        for block in self.blocks():
            x, img = block(x, img, weights, layout.style, noise, maps)
            if up_to is not None and 2 * block.resolution > up_to:
                break
        return (img, maps) if features else img

    def noise_maps(self) -> dict[str, Tensor]:
        """The stored maps ``[R, R]`` by layer, of layers whose noise shows: whose strength is not zero."""
        layers = {path: self.get_submodule(path) for path in self.feature_shapes}
        return {path: layer.noise_const for path, layer in layers.items() if layer.noise_strength.item() != 0}

    @property
    def feature_shapes(self) -> dict[str, tuple[int, int]]:
        """Feature name -> (channels, resolution), coarse to fine."""
        return {
            f"b{block.resolution}.{layer}": (block.get_submodule(layer).weight.shape[0], block.resolution)
            for block in self.blocks() for layer in block.layers
        }  # fmt: skip


def _by_blob(affine: FullyConnected, style: Tensor) -> Tensor:
    """An affine layer on ``[N, K + 1, S]``."""
    return affine(style.flatten(0, 1)).unflatten(0, style.shape[:2])


def _resolutions(smallest: int, largest: int) -> list[int]:
    powers = all(r > 0 and r & (r - 1) == 0 for r in (smallest, largest))
    if not powers or not 4 <= smallest < largest:
        raise ValueError(f"smallest and img_resolution must be powers of two, from 4 and in this order, got {smallest} "
                         f"and {largest}")  # fmt: skip
    return [2**i for i in range(smallest.bit_length() - 1, largest.bit_length())]
