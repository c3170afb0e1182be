"""Cases of ``bias_act`` and ``upfirdn2d`` for ``ops.py``, over the layers of StyleGAN2 from 64x64 to 1024x1024.

Ours, as networks call it, is held against our own plain PyTorch form, NVIDIA's op of the same name, imported from a
checkout of stylegan2-ada-pytorch (on a CPU its reference path, on a GPU its kernel), and the compiled plain form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.official import official_module
from cuda_ops import bias_act as bias_act_module
from cuda_ops.bias_act import bias_act
from cuda_ops.upfirdn2d import downsample2d, filter2d, setup_filter, upsample2d

Form = Callable[[Tensor], Tensor]

# (channels, resolution) of the layers that the ops follow, at official widths.
LAYERS = ((512, 64), (256, 128), (128, 256), (64, 512), (32, 1024))


@dataclass(frozen=True)
class OpCase:
    """One call: every form takes ``x`` and gives the same."""

    op: str
    name: str
    x: Tensor
    ours: Form
    others: dict[str, Form] = field(default_factory=dict)   # plain, nvidia, compiled
    moved: int = 0                                          # least bytes that a forward pass reads and writes


def cases(
    device: str, dtype: torch.dtype, checkout: Path | None = None, largest: int = 1024, compiled: bool = False
) -> Iterator[OpCase]:
    """The cases one after another, so that one at a time is in memory."""
    for channels, resolution in LAYERS:
        if resolution <= largest:
            batch = max(1, 256 // resolution) if device == "cpu" else max(1, 4096 // resolution)
            x = torch.randn(batch, channels, resolution, resolution, device=device).to(dtype)
            yield from _bias_acts(x, checkout, compiled)
            yield from _resamplings(x, checkout, compiled)


def _bias_acts(x: Tensor, checkout: Path | None, compiled: bool) -> Iterator[OpCase]:
    bias = torch.randn(x.shape[1], device=x.device).to(x.dtype)
    for clamp in (None, 256.0):
        others: dict[str, Form] = {"plain": _plain_bias_act(bias, clamp)}
        if checkout:
            theirs = official_module(checkout, "torch_utils.ops.bias_act").bias_act
            others["nvidia"] = lambda x, theirs=theirs, clamp=clamp: theirs(x, bias, act="lrelu", clamp=clamp)
        if compiled:
            others["compiled"] = torch.compile(others["plain"])
        name = f"lrelu {_shape(x)}" + (" clamped" if clamp else "")
        yield OpCase(
            "bias_act", name, x, lambda x, clamp=clamp: bias_act(x, bias, "lrelu", clamp=clamp), others,
            2 * x.numel() * x.element_size(),
        )  # fmt: skip


def _plain_bias_act(bias: Tensor, clamp: float | None) -> Form:
    spec = bias_act_module.ACTIVATIONS["lrelu"]

    def plain(x: Tensor) -> Tensor:
        y = spec.function(x + bias[:, None, None], spec.alpha) * spec.gain
        return y if clamp is None else y.clamp(-clamp, clamp)

    return plain


def _resamplings(x: Tensor, checkout: Path | None, compiled: bool) -> Iterator[OpCase]:
    taps = setup_filter().to(x.device)
    # name -> (ours, the general op's arguments, output over input in pixels)
    calls: dict[str, tuple[Form, dict[str, object], float]] = {
        "up 2": (lambda x: upsample2d(x, taps), {"up": 2, "padding": (2, 1, 2, 1), "gain": 4}, 4.0),
        "down 2": (lambda x: downsample2d(x, taps), {"down": 2, "padding": (1, 1, 1, 1)}, 0.25),
        "blur": (lambda x: filter2d(x, taps, 1), {"padding": (1, 1, 1, 1)}, 1.0),
    }
    for name, (ours, arguments, share) in calls.items():
        others: dict[str, Form] = {"plain": _inserting(taps, arguments)}
        if checkout:
            theirs = official_module(checkout, "torch_utils.ops.upfirdn2d").upfirdn2d
            listed = {**arguments, "padding": list(arguments["padding"])}
            others["nvidia"] = lambda x, theirs=theirs, listed=listed: theirs(x, taps, **listed)
        if compiled:
            others["compiled"] = torch.compile(ours)
        moved = round((1 + share) * x.numel()) * x.element_size()
        yield OpCase("upfirdn2d", f"{name} {_shape(x)}", x, ours, others, moved)


def _inserting(taps: Tensor, arguments: dict[str, object]) -> Form:
    """The op by its definition: zeros inserted, padded, filtered, decimated."""
    up, down, gain = arguments.get("up", 1), arguments.get("down", 1), arguments.get("gain", 1)
    left, right, top, bottom = arguments["padding"]
    kernel = (taps * gain).flip(0, 1)

    def plain(x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        if up > 1:
            x = torch.nn.functional.pad(x.reshape(n, c, h, 1, w, 1), (0, up - 1, 0, 0, 0, up - 1))
            x = x.reshape(n, c, h * up, w * up)
        x = torch.nn.functional.pad(x, (left, right, top, bottom))
        weight = kernel.to(x.dtype).expand(c, 1, *kernel.shape)
        return torch.nn.functional.conv2d(x, weight, groups=c)[:, :, ::down, ::down]

    return plain


def _shape(x: Tensor) -> str:
    return f"{'x'.join(map(str, x.shape))} {str(x.dtype).removeprefix('torch.')}"
