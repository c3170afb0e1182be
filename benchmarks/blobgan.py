"""BlobGAN's generator against the original's formulation: what is kept, how fast a step is, and cost against k.

    python benchmarks/blobgan.py --quick
    python benchmarks/blobgan.py --device cpu --original ../blobgan       # the full run, results are kept

Both arms have the same weights and the same scenes, and take turns in one process; of each the fastest turn counts, in
processor time on a CPU.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that the script runs from any folder, uninstalled

import torch
from torch import Tensor, nn

from benchmarks import report
from benchmarks.clock import spent
from benchmarks.ops_blob import straight_modulation
from benchmarks.original_blobs import OriginalBlobs
from benchmarks.saved import saved_bytes
from benchmarks.settings import ROOT
from benchmarks.straight_blobgan import released_splat, splat, straight_image, straight_rgb, styles_of
from cuda_ops.spatial_modulation import spatial_modulation
from launch.prepare import keep_freed_memory
from networks.blobgan import BlobGenerator, Layout
from networks.blobgan.synthesis import BlobSynthesis
from trainers.graphs import Graphed

RESULTS = {False: ROOT / "benchmarks" / "results", True: ROOT / "runs" / "benchmarks" / "quick"}
BLOBS = (5, 10, 20, 40)  # of the curve
TARGETS = {"activation_ratio": 5.0, "train_ratio": 1.5, "splat_ratio": 5.0}  # at least


class Size(NamedTuple):
    """A generator and a batch."""

    name: str
    images: int
    arguments: dict[str, Any]


QUICK = (Size("small-64", 2, {"img_resolution": 64, "channels": [128, 64, 32], "structure_dim": 128, "style_dim": 128,
                              "hidden_dim": 128, "z_dim": 64, "layers": 3}),)  # fmt: skip
FULL = (
    Size("rooms-64", 8, {"img_resolution": 64, "channels": [256, 256, 128, 64], "structure_dim": 128, "style_dim": 128,
                         "hidden_dim": 128, "z_dim": 128, "layers": 5, "smallest": 8, "k": 12,
                         "channels_last": True}),  # as experiment=blobgan/rooms64 has it
    Size("release-256", 2, {"img_resolution": 256}),
)  # fmt: skip


class Arms(NamedTuple):
    """What is compared, each from a layout."""

    ours: Callable[[Layout], Any]
    theirs: Callable[[Layout], Any]


def scenes(generator: BlobGenerator, images: int) -> Layout:
    """Scenes that need gradients, as layout networks in training give them."""
    drawn = Layout.of(generator.sample(images, 0))
    return Layout(**{name: tensor.detach().clone().requires_grad_() for name, tensor in drawn.tensors().items()})


def renderings(synthesis: BlobSynthesis, original: OriginalBlobs | None) -> Arms:
    """Images of both."""
    theirs = released_splat(original) if original else splat
    return Arms(lambda layout: synthesis(layout, "none"), lambda layout: straight_image(synthesis, layout, theirs))


class _FromTensors(nn.Module):
    """A synthesis that takes a layout's tensors one by one."""

    def __init__(self, synthesis: BlobSynthesis, names: Sequence[str]) -> None:
        super().__init__()
        self.synthesis, self.names = synthesis, tuple(names)

    def forward(self, *tensors: Tensor) -> Tensor:
        return self.synthesis(Layout(**dict(zip(self.names, tensors, strict=True))), "none")


def replayed(synthesis: BlobSynthesis, layout: Layout) -> Callable[[Layout], Tensor]:
    """Ours as ``task.training.graphs=true`` trains it: replayed as CUDA graphs; off a GPU as it is."""
    graphed = Graphed(_FromTensors(synthesis, list(layout.tensors())))
    return lambda layout: graphed(*layout.tensors().values())


def splattings(synthesis: BlobSynthesis, original: OriginalBlobs | None) -> Arms:
    """Pyramids of weights of both."""
    theirs = released_splat(original) if original else splat
    return Arms(lambda layout: list(synthesis.weights(layout).values()), partial(theirs, synthesis))


def step(work: Callable[[Layout], Tensor | list[Tensor]], layout: Layout, weights: Sequence[Tensor] = ()) -> None:
    """Forward and backward, for a gradient of ones."""
    found = work(layout)
    outputs = found if isinstance(found, list) else [found]
    inputs = [*layout.tensors().values(), *weights]
    torch.autograd.grad(outputs, inputs, [torch.ones_like(y) for y in outputs], allow_unused=True)


def seconds(
    arms: Arms, layout: Layout, device: str, rounds: int, weights: Sequence[Tensor] = ()
) -> tuple[float, float]:  # fmt: skip
    """The fastest of ``rounds`` turns of each, after one that warms up."""
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(rounds + 1):
        for work, taken in zip(arms, times, strict=True):
            elapsed = spent(device, partial(step, work, layout, weights))
            if turn:
                taken.append(elapsed)
    return min(times[0]), min(times[1])


def activations(synthesis: BlobSynthesis, layout: Layout, original: OriginalBlobs | None) -> float:
    """How many times the bytes theirs keeps for splatting and for styles at each pixel; convolutions are left out."""
    images = len(layout)
    layers = [block.get_submodule(name) for block in synthesis.blocks() for name in block.layers]
    inputs = [torch.randn(images, layer.weight.shape[1], *[layer.resolution // layer.up] * 2) for layer in layers]
    ends = [block.torgb for block in synthesis.blocks()]
    shown = [torch.randn(images, layer.weight.shape[1], *[block.resolution] * 2)
             for layer, block in zip(ends, synthesis.blocks(), strict=True)]  # fmt: skip
    inputs, shown = ([x.to(layout.centre.device).requires_grad_() for x in maps] for maps in (inputs, shown))

    def ours() -> list[Any]:
        weights = synthesis.weights(layout)
        read = zip(layers, inputs, strict=True)
        modulated = [spatial_modulation(x, weights[x.shape[-1]], styles_of(layer, layout)) for layer, x in read]
        return [weights, modulated, [end(x, weights, layout.style) for end, x in zip(ends, shown, strict=True)]]

    def theirs() -> list[Any]:
        weights = {w.shape[-1]: w for w in splattings(synthesis, original).theirs(layout)}
        read = zip(layers, inputs, strict=True)
        modulated = [straight_modulation(x, weights[x.shape[-1]], styles_of(layer, layout)) for layer, x in read]
        return [weights, modulated, [straight_rgb(end, x, weights, layout) for end, x in zip(ends, shown, strict=True)]]

    besides = [*synthesis.parameters(), *layout.tensors().values(), *inputs, *shown]
    return saved_bytes(theirs, besides) / saved_bytes(ours, besides)


def measure(size: Size, device: str, rounds: int, original: OriginalBlobs | None) -> dict[str, Any]:
    """One row: the ratios of one generator, and how far both arms' images differ."""
    torch.manual_seed(0)
    generator = BlobGenerator(**size.arguments).to(device)
    synthesis, layout = generator.synthesis, scenes(generator, size.images)
    with torch.no_grad():
        ours, theirs = (work(layout) for work in renderings(synthesis, original))
    of_step = seconds(renderings(synthesis, original), layout, device, rounds, list(synthesis.parameters()))
    of_splat = seconds(splattings(synthesis, original), layout, device, rounds)
    graphs = {}
    if device == "cuda":
        arms = renderings(synthesis, original)._replace(ours=replayed(synthesis, layout))
        of_graphs = seconds(arms, layout, device, rounds, list(synthesis.parameters()))
        graphs = {"graphs_ratio": of_graphs[1] / of_graphs[0]}
    return {
        "generator": size.name, "images": size.images, "k": generator.k,
        "images/s": size.images / of_step[0], "train_ratio": of_step[1] / of_step[0], **graphs,
        "splat_ratio": of_splat[1] / of_splat[0], "activation_ratio": activations(synthesis, layout, original),
        "largest difference": float((ours - theirs).abs().max() / theirs.abs().max()),
    }  # fmt: skip


def curve(size: Size, device: str, rounds: int) -> list[dict[str, float]]:
    """Seconds of splatting and of a whole step against the number of blobs, ours and theirs."""
    rows = []
    for k in BLOBS:
        torch.manual_seed(0)
        generator = BlobGenerator(**{**size.arguments, "k": k}).to(device)
        synthesis, layout = generator.synthesis, scenes(generator, size.images)
        found = seconds(splattings(synthesis, None), layout, device, rounds)
        whole = seconds(renderings(synthesis, None), layout, device, rounds, list(synthesis.parameters()))
        rows.append({"k": k, "splat_ms": 1e3 * found[0], "splat_theirs_ms": 1e3 * found[1],
                     "step_ms": 1e3 * whole[0], "step_theirs_ms": 1e3 * whole[1]})  # fmt: skip
    return rows


def growth(rows: Sequence[dict[str, float]], name: str) -> float:
    """How many times the cost grows from the fewest to the most blobs, over how many times they are: 1 is linear.

    Example:
        >>> growth([{"k": 5, "splat_ms": 1.0}, {"k": 10, "splat_ms": 2.0}], "splat_ms")
        1.0
    """
    return rows[-1][name] / rows[0][name] / (rows[-1]["k"] / rows[0]["k"])


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small generator and few rounds")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--original", type=Path, help="a checkout of dave-epstein/blobgan, whose splatting is run")
    parser.add_argument("--threads", type=int, help="threads of torch")
    parser.add_argument("--out", type=Path, help="JSON file of the results")
    arguments = parser.parse_args(argv)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    original = OriginalBlobs(arguments.original) if arguments.original else None
    sizes, rounds = (QUICK, 3) if arguments.quick else (FULL, 10)
    rows = [measure(size, arguments.device, rounds, original) for size in sizes]
    against = curve(sizes[0], arguments.device, rounds)
    figures = {name: min(row[name] for row in rows) for name in (*TARGETS, "graphs_ratio") if name in rows[0]}
    figures |= {name: growth(against, of) for name, of in (("splat_growth", "splat_ms"), ("step_growth", "step_ms"))}
    words = "".join(
        f" --{name} {value}" for name in ("threads", "original") if (value := getattr(arguments, name)) is not None
    ) + (" --quick" if arguments.quick else "")  # fmt: skip
    report.keep_rows(
        arguments.out or RESULTS[arguments.quick] / f"blobgan-{arguments.device}.json",
        "BlobGAN\n\nThe generator beside the original's formulation, forward and backward, on the same weights and "
        f"scenes; splatting by {'the release' if original else 'its equations'}. Goals: at least "
        + ", ".join(f"{name} {bound:g}" for name, bound in TARGETS.items()) + ".",
        f"python benchmarks/blobgan.py --device {arguments.device}{words}", rows, {**figures, "curve": against},
        arguments.device,
    )  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
