"""The synthesis network of StyleGAN2: W+ to an image and its native-resolution features (Karras et al. 2020, figure 7).

Parameter names are those of the official PyTorch release, so that its weights load without renaming. A row of ``ws``
is shared between a block's ToRGB and the next block's first convolution.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from cuda_ops.modulated_conv2d import modulated_conv2d
from cuda_ops.regional_conv2d import regional_conv2d
from cuda_ops.upfirdn2d import setup_filter, upsample2d
from networks.latent import Latent
from networks.stylegan2.layers import Conv2d, FullyConnected
from networks.stylegan2.resolutions import block_channels, block_dtypes, compute_dtype

Architecture = Literal["orig", "skip", "resnet"]
NoiseMode = Literal["const", "random", "none"]
# A generator: maps drawn from it, on the CPU. A pair: maps [N, R, R] of some layers by path, and what the others have.
Noise = NoiseMode | torch.Generator | tuple[Mapping[str, Tensor], NoiseMode | torch.Generator]
LayerNoise = NoiseMode | torch.Generator | Tensor


class RegionalStyles(NamedTuple):
    """A layer's styles where regions of the image have their own."""

    styles: Tensor                 # [N, K, C]
    weights: Mapping[int, Tensor]  # resolution -> of each region at each pixel, [N, K, R, R], summing to one


Styles = Mapping[str, Tensor | RegionalStyles]


class SynthesisLayer(nn.Module):
    """Modulated 3x3 convolution, noise, bias, leaky ReLU."""

    noise_const: Tensor
    resample_filter: Tensor

    def __init__(
        self,
        in_channels: int,                 # channels of the input
        out_channels: int,                # channels of the output
        w_dim: int,                       # width of w
        resolution: int,                  # resolution of the output
        up: int = 1,                      # 2 doubles the resolution
        conv_clamp: float | None = None,  # bound on the output's magnitude, for half precision
    ) -> None:  # fmt: skip
        super().__init__()
        self.resolution, self.up, self.conv_clamp = resolution, up, conv_clamp
        self.register_buffer("resample_filter", setup_filter())
        self.affine = FullyConnected(w_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3))
        self.register_buffer("noise_const", torch.randn(resolution, resolution))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x: Tensor, styles: Tensor | RegionalStyles, noise: LayerNoise, gain: float = 1.0) -> Tensor:
        noise, clamp = layer_noise(noise, self.noise_const, x), self.conv_clamp and self.conv_clamp * gain
        rest = (noise, self.noise_strength, self.bias, self.up, self.resample_filter)
        if isinstance(styles, RegionalStyles):
            maps = styles.weights[x.shape[-1]], styles.weights[self.resolution]
            return regional_conv2d(
                x, self.weight, styles.styles, *maps, *rest, act="lrelu", gain=math.sqrt(2) * gain, clamp=clamp
            )
        return modulated_conv2d(x, self.weight, styles, *rest, act="lrelu", gain=math.sqrt(2) * gain, clamp=clamp)


class ToRGB(nn.Module):
    """Modulated 1x1 convolution to image channels, without demodulation or activation."""

    def __init__(self, in_channels: int, out_channels: int, w_dim: int, conv_clamp: float | None = None) -> None:
        super().__init__()
        self.conv_clamp = conv_clamp
        self.affine = FullyConnected(w_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.weight_gain = 1 / math.sqrt(in_channels)

    def forward(self, x: Tensor, styles: Tensor | RegionalStyles) -> Tensor:
        # The fan-in gain sits on the style, so that S stays what the affine layer gives.
        if isinstance(styles, RegionalStyles):
            maps = styles.weights[x.shape[-1]]
            return regional_conv2d(x, self.weight, styles.styles * self.weight_gain, maps, bias=self.bias,
                                   demodulate=False, clamp=self.conv_clamp)  # fmt: skip
        styles = styles * self.weight_gain
        return modulated_conv2d(x, self.weight, styles, bias=self.bias, demodulate=False, clamp=self.conv_clamp)


class SynthesisBlock(nn.Module):
    """One resolution: two convolutions (one at 4x4), and its part of the image.

    Raises:
        ValueError: if the architecture is unknown.
    """

    resample_filter: Tensor

    def __init__(
        self,
        in_channels: int,                 # channels of the block below; 0 for the first block
        out_channels: int,                # channels of this block
        w_dim: int,                       # width of w
        resolution: int,                  # resolution of this block
        img_channels: int,                # channels of the image
        is_last: bool,                    # the last block always has a ToRGB
        architecture: Architecture,       # skip, resnet or orig
        conv_clamp: float | None,         # bound on magnitudes, for half precision
        dtype: torch.dtype,               # precision of the convolutions
    ) -> None:  # fmt: skip
        super().__init__()
        if architecture not in ("orig", "skip", "resnet"):
            raise ValueError(f"architecture must be orig, skip or resnet, got {architecture!r}")
        self.in_channels, self.resolution, self.architecture, self.dtype = in_channels, resolution, architecture, dtype
        self.register_buffer("resample_filter", setup_filter())
        if in_channels == 0:
            self.const = nn.Parameter(torch.randn(out_channels, resolution, resolution))
        else:
            self.conv0 = SynthesisLayer(in_channels, out_channels, w_dim, resolution, 2, conv_clamp)
        self.conv1 = SynthesisLayer(out_channels, out_channels, w_dim, resolution, 1, conv_clamp)
        if is_last or architecture == "skip":
            self.torgb = ToRGB(out_channels, img_channels, w_dim, conv_clamp)
        if in_channels and architecture == "resnet":
            self.skip = Conv2d(in_channels, out_channels, kernel_size=1, bias=False, up=2)

    @property
    def layers(self) -> list[str]:
        """The convolutions of this block in order; each takes one row of ws."""
        return ["conv1"] if self.in_channels == 0 else ["conv0", "conv1"]

    def forward(
        self,
        x: Tensor,                        # [N, in_channels, R/2, R/2]; in the first block the constant, at 4x4
        img: Tensor | None,               # the image so far, [N, img_channels, R/2, R/2]
        styles: Styles,                   # of the whole network
        noise: Noise,                     # see SynthesisNetwork
        features: dict[str, Tensor] | None,  # takes each convolution's output
    ) -> tuple[Tensor, Tensor | None]:  # fmt: skip
        name = f"b{self.resolution}"
        x = x.to(compute_dtype(self.dtype, x.device))
        residual = self.skip(x, gain=math.sqrt(0.5)) if hasattr(self, "skip") else None
        for layer in self.layers:
            gain = math.sqrt(0.5) if residual is not None and layer == "conv1" else 1.0
            path = f"{name}.{layer}"
            x = getattr(self, layer)(x, styles[path], of_layer(noise, path), gain)
            if layer == "conv1" and residual is not None:
                x = residual + x
            if features is not None:
                features[path] = x
        if img is not None:
            img = upsample2d(img, self.resample_filter)
        if hasattr(self, "torgb"):
            rgb = self.torgb(x, styles[f"{name}.torgb"]).to(torch.float32)
            img = rgb if img is None else img + rgb
        return x, img


class SynthesisNetwork(nn.Module):
    """``ws -> image``; every layer count follows from the resolution.

    Raises:
        ValueError: if the resolution, the precision or the architecture is unknown, or ``channels`` or ``ws`` have the
            wrong shape.
    """

    def __init__(
        self,
        w_dim: int,                           # width of w
        img_resolution: int,                  # a power of two, at least 16
        img_channels: int = 3,                # channels of the image
        channel_base: int = 32768,            # channels times resolution, before the bound below
        channel_max: int = 512,               # largest number of channels
        architecture: Architecture = "skip",  # skip, resnet or orig
        num_fp16_res: int = 0,                # how many of the finest resolutions compute in half precision
        half_dtype: str = "float16",          # float16 or bfloat16
        conv_clamp: float | None = None,      # bound on magnitudes; 256 with float16
        channels_last: bool = False,          # memory layout of the activations: faster on CPUs and tensor cores
        channels: Sequence[int] | None = None,  # at 4, 8, ..., img_resolution, instead of base and maximum
    ) -> None:  # fmt: skip
        super().__init__()
        self.w_dim, self.img_resolution, self.img_channels = w_dim, img_resolution, img_channels
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        width = block_channels(img_resolution, channel_base, channel_max, channels)
        dtypes = block_dtypes(img_resolution, num_fp16_res, half_dtype)
        self.block_resolutions = list(width)
        for r in self.block_resolutions:
            self.add_module(f"b{r}", SynthesisBlock(
                width.get(r // 2, 0), width[r], w_dim, r, img_channels, r == img_resolution,
                architecture, conv_clamp, dtypes[r],
            ))  # fmt: skip
        self.num_ws = 2 * len(self.block_resolutions)  # 2 log2(R) - 2

    def blocks(self) -> Iterator[SynthesisBlock]:
        """The blocks, coarse to fine."""
        for r in self.block_resolutions:
            yield getattr(self, f"b{r}")

    def style_rows(self) -> dict[str, int]:
        """Affine path -> its row of ``ws``, in the order of use."""
        rows, i = {}, 0
        for block in self.blocks():
            for layer in block.layers:
                rows[f"b{block.resolution}.{layer}"] = i
                i += 1
            if hasattr(block, "torgb"):
                rows[f"b{block.resolution}.torgb"] = i
        return rows

    def styles(self, ws: Tensor) -> Styles:
        """W+ to S: affine path -> ``[N, C]``, before the ToRGB gain (Wu et al. 2021, StyleSpace)."""
        if ws.ndim != 3 or ws.shape[1:] != (self.num_ws, self.w_dim):
            raise ValueError(f"ws must be [N, {self.num_ws}, {self.w_dim}], got {list(ws.shape)}")
        ws = ws.to(torch.float32)
        return {path: self.get_submodule(path).affine(ws[:, row]) for path, row in self.style_rows().items()}

    def from_styles(
        self, styles: Styles, noise: Noise = "const", features: bool = False, up_to: int | None = None
    ) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
        """S to an image; the second half of ``forward``."""
        last = self.last_resolution(up_to)
        missing = {path for path in self.style_rows() if resolution_of(path) <= last} - styles.keys()
        if missing:
            raise ValueError(f"styles lack {', '.join(sorted(missing))}")
        n = len(styles["b4.conv1"])
        x = self.first_map(n)
        img, maps = None, {"b4.const": x}
        for block in self.blocks():
            x, img = block(x, img, styles, noise, maps if features else None)
            if block.resolution == last:
                break
        return (img, maps) if features else img

    def first_map(self, n: int) -> Tensor:
        """The constant, once for each of ``n`` images: ``[n, C, 4, 4]``."""
        return self.b4.const.expand(n, *self.b4.const.shape).contiguous(memory_format=self.memory_format)

    def last_resolution(self, up_to: int | None) -> int:
        """The finest block that is computed for an image of at most ``up_to`` pixels a side; all for None.

        What a ``skip`` network adds up block by block is an image at each resolution. The other architectures have
        one at the end alone, and compute every block.
        """
        shown = [block.resolution for block in self.blocks() if hasattr(block, "torgb")]
        return shown[-1] if up_to is None else max([r for r in shown if r <= up_to], default=shown[0])

    def forward(
        self,
        ws: Tensor,                    # [N, num_ws, w_dim]
        noise: Noise = "const",        # the stored maps, fresh ones of each image, none, a generator's, or given ones
        features: bool = False,        # also return every convolution's output
        up_to: int | None = None,      # leave finer blocks out: an image of at most so many pixels a side
    ) -> Tensor | tuple[Tensor, dict[str, Tensor]]:  # [N, C, R, R]  # fmt: skip
        return self.from_styles(self.styles(ws), noise, features, up_to)

    def noise_maps(self) -> dict[str, Tensor]:
        """The stored maps ``[R, R]`` by layer, of layers whose noise shows: whose strength is not zero."""
        layers = {path: self.get_submodule(path) for path in self.feature_shapes if path != "b4.const"}
        return {path: layer.noise_const for path, layer in layers.items() if layer.noise_strength.item() != 0}

    @property
    def feature_shapes(self) -> dict[str, tuple[int, int]]:
        """Feature name -> (channels, resolution), coarse to fine."""
        shapes = {"b4.const": (self.b4.const.shape[0], 4)}
        for block in self.blocks():
            for layer in block.layers:
                path = f"b{block.resolution}.{layer}"
                shapes[path] = (self.get_submodule(path).weight.shape[0], block.resolution)
        return shapes


def resolution_of(path: str) -> int:
    """The resolution of the layer at this path.

    Example:
        >>> resolution_of("b64.torgb")
        64
    """
    return int(path.partition(".")[0].removeprefix("b"))


def noise_of(latent: Latent, layers: Set[str]) -> Noise:
    """The noise that a latent is rendered with.

    A layer's noise is the latent's own for it. Other layers have the stored maps or, where the latent has a
    ``noise_seed``, such as are drawn from that; all images share these, so that none depends on its batch.

    Raises:
        ValueError: if the latent has noise for a layer that is none of ``layers``.
    """
    others: Noise = "const" if latent.noise_seed is None else torch.Generator().manual_seed(latent.noise_seed)
    own = latent.noise
    if unknown := own.keys() - layers:
        raise ValueError(f"there is no layer {min(unknown)} in this generator for which the latent has noise")
    return (own, others) if own else others


def of_layer(noise: Noise, path: str) -> LayerNoise:
    """What the layer at ``path`` has of the network's noise."""
    if not isinstance(noise, tuple):
        return noise
    maps, others = noise
    return maps.get(path, others)


def layer_noise(noise: LayerNoise, stored: Tensor, x: Tensor) -> Tensor | None:
    """The map that a layer adds to ``x`` ``[N, ...]``: ``[R, R]`` for all samples, or ``[N, 1, R, R]``.

    Args:
        noise: what the layer has of the network's noise.
        stored: the layer's own map, ``[R, R]``.
        x: says how many samples there are, and where.

    Raises:
        ValueError: if the kind of noise is unknown, or given maps have another shape.
    """
    size = list(stored.shape)
    match noise:
        case Tensor():
            if list(noise.shape) != [len(x), *size]:
                raise ValueError(f"noise maps must be {[len(x), *size]}, got {list(noise.shape)}")
            return noise[:, None].to(x.device)
        case "random":
            return torch.randn([len(x), 1, *size], device=x.device)
        case "const":
            return stored
        case "none":
            return None
        case torch.Generator():
            # On the CPU whatever the device, so that a seed means the same maps everywhere.
            return torch.randn(size, generator=noise).to(x.device)
        case _:
            raise ValueError(f"noise must be const, random, none, a torch.Generator or maps, got {noise!r}")
