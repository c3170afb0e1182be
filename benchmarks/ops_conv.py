"""Cases of ``conv3x3``, ``modulated_conv2d`` and ``project_upsample_sum`` for ``ops.py``: ours beside the originals.

A layer of StyleGAN2's generator is held against the official one, imported from a checkout of stylegan2-ada-pytorch
with the same weights; without a checkout against the same steps one by one in plain PyTorch. The core of a segmentation
head is held against EditGAN's order: enlarge every map, concatenate, project. A bare 3x3 convolution is held against
PyTorch's.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.clock import timed
from benchmarks.official import official_module
from benchmarks.original_recipe import concatenated
from benchmarks.saved import saved_bytes
from cuda_ops.conv3x3 import conv3x3
from cuda_ops.project_upsample_sum import project_upsample_sum
from cuda_ops.upfirdn2d import filter2d
from networks.stylegan2.synthesis import SynthesisLayer

W_DIM = 512


@dataclass(frozen=True)
class Case:
    """One shape of one op: two ways to the same numbers from the same leaves."""

    op: str                           # the op's name, which its figures begin with
    name: str                         # of the shape
    ours: Callable[[], Tensor]
    original: Callable[[], Tensor]
    leaves: tuple[Tensor, ...]        # what the backward pass gives gradients for, through ours
    original_leaves: tuple[Tensor, ...]


@dataclass(frozen=True)
class LayerShape:
    """A convolution of the generator."""

    resolution: int    # of the output
    inputs: int        # channels
    outputs: int
    up: int
    batch: int


@dataclass(frozen=True)
class HeadShape:
    """A generator's feature maps and what a head makes of them."""

    resolution: int                 # of the finest map and of the output
    channels: Sequence[int]         # of each pair of maps, from 4x4 on
    outputs: int                    # members times classes, or times the width of their first layer


# Layers of the 64x64 networks in the official width, of those for small compute, and of a 256x256 generator.
LAYERS = (
    LayerShape(8, 512, 512, 1, 8), LayerShape(16, 512, 512, 2, 4), LayerShape(32, 512, 512, 1, 2),
    LayerShape(64, 256, 256, 1, 2), LayerShape(64, 64, 32, 2, 16), LayerShape(64, 32, 32, 1, 16),
    LayerShape(256, 64, 64, 1, 2),
)  # fmt: skip
# (images, channels, resolution) of bare convolutions, as wide in as out.
SQUARES = ((16, 64, 32), (8, 64, 64), (8, 128, 32), (8, 256, 16), (2, 192, 256))
HEADS = (
    HeadShape(64, (128, 128, 128, 64, 32), 110), HeadShape(64, (512, 512, 512, 512, 256), 110),
    HeadShape(64, (512, 512, 512, 512, 256), 1280), HeadShape(256, (512, 512, 512, 512, 512, 256, 128), 110),
)  # fmt: skip


def cases(
    device: str,
    checkout: Path | None = None,
    layers: Sequence[LayerShape] = LAYERS,
    heads: Sequence[HeadShape] = HEADS,
    dtype: torch.dtype = torch.float32,
) -> Iterator[Case]:
    """The cases one after another, so that one at a time is in memory."""
    for layer in layers:
        for layout in (torch.contiguous_format, torch.channels_last):
            yield layer_case(layer, device, dtype, layout, checkout)
    for images, channels, resolution in SQUARES if device == "cpu" else ():
        if resolution <= max(layer.resolution for layer in layers):
            yield convolution_case(images, channels, resolution)
    for head in heads:
        yield head_case(head, device)


def convolution_case(images: int, channels: int, resolution: int) -> Case:
    """A convolution by itself, with channels last."""
    torch.manual_seed(0)
    x = torch.randn(images, channels, resolution, resolution).to(memory_format=torch.channels_last).requires_grad_()
    weight = torch.randn(channels, channels, 3, 3).requires_grad_()
    return Case(
        "conv3x3", f"{resolution}^2 {channels} batch {images}", lambda: conv3x3(x, weight),
        lambda: F.conv2d(x, weight, padding=1), (x, weight), (x, weight),
    )  # fmt: skip


def layer_case(
    shape: LayerShape, device: str, dtype: torch.dtype, layout: torch.memory_format, checkout: Path | None
) -> Case:
    """A layer with its affine part, noise, bias and activation."""
    torch.manual_seed(0)
    ours = SynthesisLayer(shape.inputs, shape.outputs, W_DIM, shape.resolution, shape.up).to(device)
    nn.init.constant_(ours.noise_strength, 0.1)
    size = shape.resolution // shape.up
    x = torch.randn(shape.batch, shape.inputs, size, size, device=device)
    x = x.to(dtype, memory_format=layout).requires_grad_()
    w = torch.randn(shape.batch, W_DIM, device=device, requires_grad=True)
    original, leaves = _original_layer(ours, shape, checkout, layout)
    name = "channels_last" if layout == torch.channels_last else "contiguous"
    return Case(
        "modulated_conv2d",
        f"{shape.resolution}^2 {shape.inputs}-{shape.outputs} up={shape.up} batch {shape.batch} {dtype} {name}",
        lambda: ours(x, ours.affine(w), "const"),
        lambda: original(x, w),
        (x, w, *ours.parameters()),
        (x, w, *leaves),
    )


def _original_layer(
    ours: SynthesisLayer, shape: LayerShape, checkout: Path | None, layout: torch.memory_format
) -> tuple[Callable[[Tensor, Tensor], Tensor], tuple[Tensor, ...]]:
    if checkout is None:
        return lambda x, w: stepwise(ours, x, ours.affine(w)), tuple(ours.parameters())
    theirs = official_module(checkout, "training.networks").SynthesisLayer(
        shape.inputs, shape.outputs, W_DIM, shape.resolution, up=shape.up, channels_last=layout == torch.channels_last
    ).to(ours.weight.device)  # fmt: skip
    theirs.load_state_dict(ours.state_dict())
    return lambda x, w: theirs(x, w, noise_mode="const", fused_modconv=False), tuple(theirs.parameters())


def stepwise(layer: SynthesisLayer, x: Tensor, styles: Tensor) -> Tensor:
    """The layer one operation at a time."""
    x = x * styles.to(x.dtype)[:, :, None, None]
    weight = layer.weight.to(x.dtype)
    if layer.up == 2:
        x = filter2d(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2), layer.resample_filter, 1, 4.0)
    else:
        x = F.conv2d(x, weight, padding=1)
    factor = (styles.square() @ layer.weight.square().sum([2, 3]).T + 1e-8).rsqrt()
    x = x * factor.to(x.dtype)[:, :, None, None] + (layer.noise_const * layer.noise_strength).to(x.dtype)
    return F.leaky_relu(x + layer.bias.to(x.dtype)[:, None, None], 0.2) * math.sqrt(2)


def head_case(shape: HeadShape, device: str) -> Case:
    """One image's maps, and gradients for the projections alone: the generator is frozen."""
    torch.manual_seed(0)
    sides = [4 * 2**i for i, _ in enumerate(shape.channels) for _ in range(2)][1:]  # one map at 4x4, then pairs
    widths = [c for c in shape.channels for _ in range(2)][1:]
    maps = [torch.randn(1, c, side, side, device=device) for c, side in zip(widths, sides, strict=True)]
    weight = (torch.randn(shape.outputs, sum(widths), device=device) / 100).requires_grad_()
    bias = torch.randn(shape.outputs, device=device, requires_grad=True)
    size = shape.resolution, shape.resolution
    features = {str(i): x for i, x in enumerate(maps)}
    return Case(
        "project_upsample_sum",
        f"{shape.resolution}^2 {sum(widths)}-{shape.outputs}",
        lambda: project_upsample_sum(maps, weight.split(widths, dim=1), size, bias),
        lambda: F.linear(concatenated(features, shape.resolution), weight, bias).T.reshape(1, -1, *size),
        (weight, bias),
        (weight, bias),
    )


def measure(case: Case, device: str, repeats: int = 7) -> dict[str, Any]:
    """Medians of turns: seconds forward, and forward and backward; and what is kept for the backward pass, in bytes."""
    arms = {"ours": (case.ours, case.leaves), "original": (case.original, case.original_leaves)}
    row: dict[str, Any] = {"op": case.op, "case": case.name}
    towards = torch.randn_like(case.ours())
    jobs = {}
    for arm, (forward, leaves) in arms.items():
        row[f"{arm} saved MB"] = saved_bytes(forward, leaves) / 1e6
        jobs[f"{arm} forward"] = torch.no_grad()(forward)
        jobs[f"{arm} both"] = lambda forward=forward, leaves=leaves: torch.autograd.grad(forward(), leaves, towards)
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for turn in range(repeats + 1):
        for name, job in jobs.items():
            elapsed = timed(device, job)
            if turn:  # the first warms
                seconds[name].append(elapsed)
    for name, times in seconds.items():
        row[f"{name}, s"] = statistics.median(times)
    for part in ("forward", "both"):
        pairs = zip(seconds[f"original {part}"], seconds[f"ours {part}"], strict=True)
        row[f"{part} ratio"] = statistics.median(theirs / ours for theirs, ours in pairs)
    row["saved ratio"] = row["original saved MB"] / row["ours saved MB"] if row["ours saved MB"] else math.inf
    return row


def figures(rows: Sequence[dict[str, Any]], device: str) -> dict[str, float]:
    """``<op>_<device>_ratio``, the least of an op, forward and backward; medians of that and of what is saved."""
    found = {}
    for op in dict.fromkeys(row["op"] for row in rows):
        own = [row for row in rows if row["op"] == op]
        found[f"{op}_{device}_ratio"] = min(row["both ratio"] for row in own)
        found[f"{op}_{device}_ratio_median"] = statistics.median(row["both ratio"] for row in own)
        found[f"{op}_saved_ratio"] = statistics.median(row["saved ratio"] for row in own)
    return found
