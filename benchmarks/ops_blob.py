"""The blob ops against their straightforward form and, with a checkout, the original's code: time and saved bytes.

    python -m benchmarks.ops_blob --device cpu --original ../blobgan

Cases are those of BlobGAN's generators: the release's at 256x256 with 10 blobs, and a small one at 64x64 of 8 images.
Times are forward and backward, all forms in turn in one process; of each call the fastest of the rounds counts.
"""

from __future__ import annotations

import argparse
import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.clock import timed
from benchmarks.original_blobs import OriginalBlobs
from benchmarks.saved import saved_bytes
from cuda_ops.blob_splat import blob_splat
from cuda_ops.spatial_modulation import spatial_modulation

Form = Callable[..., Sequence[Tensor]]


@dataclass(frozen=True)
class Case:
    """One call of an op and what it is held against; every form takes the inputs, which need gradients."""

    op: str
    name: str
    inputs: tuple[Tensor, ...]
    ours: Form
    straightforward: Form
    original: Form | None
    kept: tuple[Tensor, ...]  # inputs that whoever made them keeps in any case: their bytes are not counted
    count: int = 1            # calls of this shape in the network


class Network(NamedTuple):
    """What the ops do in a generator."""

    name: str
    images: int
    blobs: int
    resolution: int
    layers: tuple[tuple[int, int, int], ...]  # (channels, resolution, how many)


NETWORKS = (
    Network("release-256", 1, 10, 256, ((768, 16, 2), (768, 32, 2), (768, 64, 2), (384, 128, 2), (192, 256, 1))),
    Network("small-64", 8, 10, 64, ((128, 16, 2), (128, 32, 2), (64, 64, 1))),
)
SMALLEST = 16


def straight_splat(
    centre: Tensor, size: Tensor, log_aspect: Tensor, angle: Tensor, opacity: Tensor, resolution: int, smallest: int,
    order: Tensor | None = None, area: float = 0.02, offset: float = 0.0,
) -> list[Tensor]:  # fmt: skip
    """A linear solve a pixel and blob, a cumulative product, average pooling: each equation a line."""
    covs = covariances(log_aspect, angle, area)
    at = (torch.arange(resolution, dtype=size.dtype, device=size.device) + offset) / resolution
    pixels = torch.stack(torch.meshgrid(at, at, indexing="xy")).flatten(1)  # x, y
    delta = pixels - centre[..., None]
    distance = (delta * torch.linalg.solve(covs, delta)).sum(2)
    opacities = opacity[..., None] * torch.sigmoid(size[..., None] - distance)
    if order is not None:
        order = order.expand_as(size)[..., None]
        opacities = opacities.take_along_dim(order, 1)
    light = (1 - opacities).flip(1).cumprod(1).flip(1)  # [N, K, P], through each blob and those in front of it
    weights = opacities * torch.cat([light[:, 1:], torch.ones_like(light[:, :1])], 1)
    if order is not None:
        weights = weights.take_along_dim(order.argsort(1), 1)
    levels = [torch.cat([light[:, :1], weights], 1).unflatten(2, (resolution, resolution))]
    while levels[-1].shape[-1] > smallest:
        levels.append(torch.nn.functional.avg_pool2d(levels[-1], 2))
    return levels


def covariances(log_aspect: Tensor, angle: Tensor, area: float = 0.02) -> Tensor:
    """``[N, K, 2, 2]``."""
    basis = torch.stack([angle, torch.stack([-angle[..., 1], angle[..., 0]], -1)], -1)
    variances = area * torch.stack([log_aspect.exp(), (-log_aspect).exp()], -1)
    return basis @ variances.diag_embed() @ basis.mT + 1e-5 * torch.eye(2, dtype=angle.dtype, device=angle.device)


def straight_modulation(x: Tensor, weights: Tensor, styles: Tensor, eps: float = 1e-8) -> Tensor:
    """The map of styles, its root mean square, the product."""
    style = torch.einsum("nkhw,nkc->nchw", weights, styles)
    return x * (style * (style.pow(2).mean(1, keepdim=True) + eps).rsqrt())


def cases(
    device: str, dtype: torch.dtype = torch.float32, original: OriginalBlobs | None = None,
    networks: Sequence[Network] = NETWORKS,
) -> list[Case]:  # fmt: skip
    """All cases of all networks; random inputs of a fixed seed."""
    made: list[Case] = []
    for network in networks:
        made.append(_splat(network, device, dtype, original))
        made.extend(_modulations(network, device, dtype, original))
    return made


def _splat(network: Network, device: str, dtype: torch.dtype, original: OriginalBlobs | None) -> Case:
    g = torch.Generator().manual_seed(0)
    n, k, to = network.images, network.blobs, (network.resolution, SMALLEST)
    turn = 2 * torch.pi * torch.rand(n, k, generator=g)
    inputs = (torch.rand(n, k, 2, generator=g), 1.4 * torch.randn(n, k, generator=g),
              0.5 * torch.randn(n, k, generator=g), turn)  # fmt: skip
    inputs = tuple(t.to(device).requires_grad_() for t in inputs)

    def vector(turn: Tensor) -> Tensor:
        return torch.stack([turn.cos(), turn.sin()], 2)

    def ours(*blobs: Tensor) -> list[Tensor]:
        return list(blob_splat(*blobs[:3], vector(blobs[3]), *to, dtype=dtype).values())

    def straight(*blobs: Tensor) -> list[Tensor]:
        levels = straight_splat(*blobs[:3], vector(blobs[3]), torch.ones_like(blobs[1]), *to)
        return [level.to(dtype) for level in levels]

    def theirs(centre: Tensor, size: Tensor, log_aspect: Tensor, turn: Tensor) -> list[Tensor]:
        sizes = torch.cat([size[:, :1], size], 1)
        return original.weights(*centre.unbind(2), covariances(log_aspect, vector(turn)), sizes, *to)

    return Case("blob_splat", network.name, inputs, ours, straight, theirs if original else None, ())


def _modulations(network: Network, device: str, dtype: torch.dtype, original: OriginalBlobs | None) -> list[Case]:
    made = []
    for channels, r, count in network.layers:
        g = torch.Generator().manual_seed(0)
        n, k = network.images, network.blobs + 1
        inputs = (torch.randn(n, channels, r, r, generator=g), torch.randn(n, k, r, r, generator=g).softmax(1),
                  1 + 0.5 * torch.randn(n, k, channels, generator=g))  # fmt: skip
        inputs = tuple(t.to(device, dtype).requires_grad_() for t in inputs)
        made.append(Case(
            "spatial_modulation", network.name, inputs,
            lambda *maps: [spatial_modulation(*maps)], lambda *maps: [straight_modulation(*maps)],
            (lambda *maps: [original.modulated(*maps)]) if original else None, inputs[:1], count,
        ))  # fmt: skip
    return made


def forward_backward(form: Form, inputs: tuple[Tensor, ...]) -> None:
    """All gradients of one call, for a gradient of ones."""
    outputs = form(*inputs)
    torch.autograd.grad(outputs, inputs, [torch.ones_like(y) for y in outputs])


def largest_difference(case: Case, form: Form) -> float:
    """Between ours and another form, over outputs and gradients, each relative to its largest value."""

    def all_of(form: Form) -> list[Tensor]:
        outputs = form(*case.inputs)
        grads = [torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y) for y in outputs]
        return [*outputs, *torch.autograd.grad(outputs, case.inputs, grads)]

    pairs = zip(all_of(case.ours), all_of(form), strict=True)
    return max(((a - b).abs().max() / b.abs().max()).item() for a, b in pairs)


def figures(made: list[Case], device: str, rounds: int) -> dict[str, float]:
    """Ratios of sums over the layers of a network, by op and network; the least over the networks, by op."""
    found: dict[str, float] = {}
    for op, name in sorted({(case.op, case.name) for case in made}):
        chosen = [case for case in made if (case.op, case.name) == (op, name)]
        found |= {f"{op}_{what}_{name}": value for what, value in _ratios(chosen, device, rounds).items()}
    for op in {case.op for case in made}:
        for what in ("memory_ratio", "vs_straight", "cpu_ratio"):
            values = [value for key, value in found.items() if key.startswith(f"{op}_{what}_")]
            if values:
                found[f"{op}_{what}"] = min(values)
    return found


def _ratios(chosen: list[Case], device: str, rounds: int) -> dict[str, float]:
    forms = ["ours", "straightforward"] + (["original"] if chosen[0].original else [])
    seconds, saved = dict.fromkeys(forms, 0.0), dict.fromkeys(forms, 0)
    for case in chosen:
        times: dict[str, list[float]] = {form: [] for form in forms}
        for _ in range(rounds + 1):  # the first one warms up, and is never the fastest
            for form in forms:
                call = functools.partial(forward_backward, getattr(case, form), case.inputs)
                times[form].append(timed(device, call))
        for form in forms:
            seconds[form] += case.count * min(times[form])
            saved[form] += case.count * saved_bytes(functools.partial(getattr(case, form), *case.inputs), case.kept)
    ratios = {
        "memory_ratio": saved["straightforward"] / saved["ours"],
        "vs_straight": seconds["straightforward"] / seconds["ours"],
        "ms": 1e3 * seconds["ours"],
    }
    if "original" in forms:
        ratios["cpu_ratio" if device == "cpu" else "vs_original"] = seconds["original"] / seconds["ours"]
    return ratios


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--original", type=Path, help="a checkout of dave-epstein/blobgan")
    args = parser.parse_args()
    original = OriginalBlobs(args.original) if args.original else None
    networks = [n._replace(images=16 * n.images) for n in NETWORKS] if args.device == "cuda" else NETWORKS
    made = cases(args.device, original=original, networks=networks)
    found = figures(made, args.device, 3 if args.quick else 15)
    if original:
        for op in ("blob_splat", "spatial_modulation"):
            found[f"{op}_original_max_diff"] = max(largest_difference(c, c.original) for c in made if c.op == op)
    for name, value in found.items():
        print(f"{name:45s} {value:12.4g}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
