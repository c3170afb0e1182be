"""BlobGAN's generator as the release computes it, written out on the weights of ours, which is held against it.

Every map is made: a linear solve a pixel and blob, the style of each pixel, its norm, its product with the input; the
image's part by a map of styles too; convolutions by PyTorch. With a checkout of the release, splatting is its own code.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.ops_blob import covariances, straight_modulation, straight_splat
from benchmarks.original_blobs import OriginalBlobs
from cuda_ops.modulated_conv2d import EPSILON
from cuda_ops.upfirdn2d import filter2d, upsample2d
from networks.blobgan.layout import Layout
from networks.blobgan.synthesis import BlobLayer, BlobSynthesis, BlobToRGB

Splat = Callable[[BlobSynthesis, Layout], list[Tensor]]
Modulate = Callable[[Tensor, Tensor, Tensor], Tensor]


def splat(synthesis: BlobSynthesis, layout: Layout) -> list[Tensor]:
    """The pyramid of weights, the largest first."""
    return straight_splat(
        layout.centre, layout.size, layout.log_aspect, layout.angle, torch.ones_like(layout.size),
        synthesis.img_resolution, synthesis.smallest, area=synthesis.area, offset=synthesis.offset,
    )  # fmt: skip


def released_splat(original: OriginalBlobs) -> Splat:
    """The same by the release's code, which samples pixels at their corner (``offset=0``)."""

    def weights(synthesis: BlobSynthesis, layout: Layout) -> list[Tensor]:
        sizes = torch.cat([layout.size[:, :1], layout.size], 1)
        covs = covariances(layout.log_aspect, layout.angle, synthesis.area)
        return original.weights(
            *layout.centre.unbind(2), covs, sizes, synthesis.img_resolution, synthesis.smallest
        )  # fmt: skip

    return weights


def straight_image(
    synthesis: BlobSynthesis, layout: Layout, splat: Splat = splat, modulate: Modulate = straight_modulation
) -> Tensor:  # fmt: skip
    """``BlobSynthesis.forward`` without noise, ``[N, C, R, R]``."""
    weights = {level.shape[-1]: level for level in splat(synthesis, layout)}
    x, image = torch.einsum("nkhw,nkc->nchw", weights[synthesis.smallest], layout.structure), None
    for block in synthesis.blocks():
        for name in block.layers:
            x = _layer(block.get_submodule(name), x, weights, layout, modulate)
        rgb = straight_rgb(block.torgb, x, weights, layout)
        image = rgb if image is None else upsample2d(image, block.resample_filter) + rgb
    return image


def styles_of(layer: BlobLayer | BlobToRGB, layout: Layout) -> Tensor:
    """What a layer's affine makes of each blob's style, ``[N, K + 1, I]``."""
    return layer.affine(layout.style.flatten(0, 1)).unflatten(0, layout.style.shape[:2])


def _layer(layer: BlobLayer, x: Tensor, weights: dict[int, Tensor], layout: Layout, modulate: Modulate) -> Tensor:
    x = modulate(x, weights[x.shape[-1]], styles_of(layer, layout))
    kernel = layer.weight / math.sqrt(layer.weight[0].numel())
    kernel = kernel * torch.rsqrt(kernel.pow(2).sum([1, 2, 3], keepdim=True) + EPSILON)
    if layer.up == 2:
        x = filter2d(F.conv_transpose2d(x, kernel.transpose(0, 1), stride=2), layer.resample_filter, 1, gain=4.0)
    else:
        x = F.conv2d(x, kernel, padding=1)
    return F.leaky_relu(x + layer.bias[:, None, None], 0.2) * math.sqrt(2)


def straight_rgb(layer: BlobToRGB, x: Tensor, weights: dict[int, Tensor], layout: Layout) -> Tensor:
    """``BlobToRGB.forward`` by the map of styles."""
    styles = styles_of(layer, layout) * layer.weight_gain
    seen = x * torch.einsum("nkhw,nkc->nchw", weights[x.shape[-1]], styles)
    return F.conv2d(seen, layer.weight[:, :, None, None]) + layer.bias[:, None, None]
