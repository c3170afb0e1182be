"""The custom ops beside NVIDIA's and the originals', our plain PyTorch, and the compiled plain form; and their build.

    python benchmarks/ops.py --device cpu --ada ../stylegan2-ada-pytorch --blobgan ../blobgan

Forms take turns in one process; of each call the fastest of the rounds counts, and ratios are of sums over the shapes.
What needs a GPU is ``null`` without one.
"""

from __future__ import annotations

import argparse
import functools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that the script runs from any folder, uninstalled

import torch
from torch import Tensor

from benchmarks import ops_blob, ops_conv, report
from benchmarks.clock import timed
from benchmarks.ops_core import OpCase, cases
from benchmarks.original_blobs import OriginalBlobs
from benchmarks.settings import ROOT
from cuda_ops import build
from networks.stylegan2 import Generator

ORDERS = ("forward", "both", "second")   # a pass, a pass and its gradient, and the gradient of the gradient's norm
COPY = 1 << 28                           # bytes of the device copy that bandwidths are shares of
UNMEASURED = (  # without a GPU
    "bias_act_vs_nvidia", "upfirdn2d_vs_nvidia", "bias_act_bandwidth_share", "upfirdn2d_bandwidth_share",
    "generator_ratio",
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Measure every op, the build, and on a GPU the generator."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, shapes up to 128x128, no full build")
    parser.add_argument("--ada", type=Path, help="a checkout of stylegan2-ada-pytorch")
    parser.add_argument("--blobgan", type=Path, help="a checkout of dave-epstein/blobgan")
    parser.add_argument("--compiled", action="store_true", help="the compiled plain form too: minutes on a CPU")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args(argv)
    torch.set_num_threads(given.threads)
    rounds, largest = (3, 128) if given.quick else (9, 1024)
    rows, figures = core(given, rounds, largest)
    figures |= convolutions(given, 1 if given.quick else 7, largest)
    figures |= blobs(given, 3 if given.quick else 15)
    if given.device == "cuda":
        figures["generator_ratio"] = generator_ratio(rounds)
    figures["cold_build_s"] = None if given.quick else cold_build("9.0")
    figures = {name: figures.get(name) for name in (*UNMEASURED, *figures)}
    words = [f"--device {given.device}", *(["--quick"] if given.quick else [])]
    words += [f"--{name} DIR" for name in ("ada", "blobgan") if getattr(given, name)]
    report.keep_rows(
        given.out or ROOT / "benchmarks" / "results" / f"ops-{given.device}.json",
        f"Custom ops\n\nMilliseconds of one call, the fastest of {rounds} rounds, {given.threads} thread(s).",
        " ".join(["python benchmarks/ops.py", *words]), rows, figures, given.device,
    )  # fmt: skip
    return 0


def core(given: argparse.Namespace, rounds: int, largest: int) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """``bias_act`` and ``upfirdn2d``: a row a shape, type and order, and the ratios of sums over them."""
    dtypes = (torch.float32,) if given.device == "cpu" else (torch.float32, torch.float16, torch.bfloat16)
    rows, sums = [], dict[tuple[str, str], list[float]]()
    speed = copy_speed() if given.device == "cuda" else None
    shares = dict[str, list[float]]()
    for dtype in dtypes:
        for case in cases(given.device, dtype, given.ada, largest, given.compiled):
            for order in ORDERS:
                row = _row(case, order, given.device, rounds)
                rows.append(row)
                for other in case.others:
                    if row.get(other) and order != "second":
                        pair = sums.setdefault((case.op, other), [0.0, 0.0])
                        pair[0], pair[1] = pair[0] + row[other], pair[1] + row["ours"]
                if order == "forward" and speed:
                    shares.setdefault(case.op, []).append(case.moved / (row["ours"] * 1e-3) / speed)
    suffix = {"plain": "vs_plain", "compiled": "vs_compiled",
              "nvidia": "cpu_ratio" if given.device == "cpu" else "vs_nvidia"}  # fmt: skip
    figures = {f"{op}_{suffix[other]}": theirs / ours for (op, other), (theirs, ours) in sums.items()}
    return rows, figures | {f"{op}_bandwidth_share": min(values) for op, values in shares.items()}


def _row(case: OpCase, order: str, device: str, rounds: int) -> dict[str, Any]:
    forms = {"ours": case.ours, **case.others}
    works = {name: _work(form, case.x, order) for name, form in forms.items()}
    best = dict.fromkeys(works, float("inf"))
    for turn in range(rounds + 1):
        for name, work in works.items():
            elapsed = timed(device, work)
            best[name] = min(best[name], elapsed) if turn else best[name]  # the first warms up
    milliseconds = {name: 1e3 * seconds for name, seconds in best.items()}
    names = ("ours", "plain", "nvidia", "compiled")
    return {"op": case.op, "case": case.name, "order": order, **{name: milliseconds.get(name) for name in names}}


def _work(form: Callable[[Tensor], Tensor], x: Tensor, order: str) -> Callable[[], object]:
    if order == "forward":
        return torch.no_grad()(functools.partial(form, x))
    leaf = x.detach().requires_grad_()

    def both() -> object:
        y = form(leaf)
        return torch.autograd.grad(y, leaf, torch.ones_like(y))

    def second() -> object:
        y = form(leaf)
        towards = torch.ones_like(y).requires_grad_()
        (gradient,) = torch.autograd.grad(y, leaf, towards, create_graph=True)
        return torch.autograd.grad(gradient.square().sum(), towards)

    return both if order == "both" else second


def convolutions(given: argparse.Namespace, repeats: int, largest: int) -> dict[str, float]:
    """``modulated_conv2d`` and ``project_upsample_sum`` by the cases of ``ops_conv``."""
    layers = [layer for layer in ops_conv.LAYERS if layer.resolution <= largest]
    heads = [head for head in ops_conv.HEADS if head.resolution <= largest]
    rows = [ops_conv.measure(case, given.device, repeats)
            for case in ops_conv.cases(given.device, given.ada, layers, heads)]  # fmt: skip
    return ops_conv.figures(rows, given.device)


def blobs(given: argparse.Namespace, rounds: int) -> dict[str, float]:
    """``blob_splat`` and ``spatial_modulation`` by the cases of ``ops_blob``."""
    original = OriginalBlobs(given.blobgan) if given.blobgan else None
    networks = ops_blob.NETWORKS[1:] if given.quick else ops_blob.NETWORKS
    return ops_blob.figures(ops_blob.cases(given.device, original=original, networks=networks), given.device, rounds)


def copy_speed() -> float:
    """Bytes a second that a copy on the GPU reads and writes."""
    source = torch.randn(COPY // 4, device="cuda")
    target = torch.empty_like(source)
    return 2 * COPY / min(timed("cuda", lambda: target.copy_(source)) for _ in range(10))


def generator_ratio(rounds: int) -> float:
    """Forward and backward of the 256x256 generator in half precision: plain PyTorch over kernels, a process each."""
    seconds = []
    for choice in ("reference", "cuda"):
        command = [sys.executable, "-c", f"from benchmarks.ops import generator_pass; print(generator_pass({rounds}))"]
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, "GANVAS_OPS": choice}, capture_output=True, text=True, check=True
        )
        seconds.append(float(done.stdout.split()[-1]))
    return seconds[0] / seconds[1]


def generator_pass(rounds: int) -> float:
    """Seconds of one pass and its gradient, on the GPU."""
    torch.manual_seed(0)
    network = Generator(256, num_fp16_res=4, conv_clamp=256, channels_last=True).cuda()
    ws = network.mapping(torch.randn(16, 512, device="cuda")).detach()

    def work() -> None:
        network.zero_grad(set_to_none=True)
        network.synthesis(ws, noise="random").square().mean().backward()

    return min(list(_times("cuda", work, rounds + 2))[2:])


def _times(device: str, work: Callable[[], object], rounds: int) -> Iterator[float]:
    for _ in range(rounds):
        yield timed(device, work)


def cold_build(architectures: str) -> float | None:
    """Seconds from nothing to all kernels for one architecture; None without nvcc.

    A CPU build of torch has no CUDA libraries to link against: empty ones take their place.
    """
    if not Path(build.find_nvcc()).exists():
        return None
    with tempfile.TemporaryDirectory() as cache:
        place = {"GANVAS_CACHE": cache, "TORCH_CUDA_ARCH_LIST": architectures, "LIBRARY_PATH": cache}
        for name in () if torch.version.cuda else ("c10_cuda", "torch_cuda"):
            empty = ["c++", "-shared", "-x", "c++", "/dev/null", "-o", f"{cache}/lib{name}.so"]
            subprocess.run(empty, check=True)
        begun = time.monotonic()
        command = [sys.executable, "-c", "from cuda_ops import build; build.load(build.cuda_target())"]
        subprocess.run(command, cwd=ROOT, env={**os.environ, **place}, capture_output=True, check=True)
        seconds = time.monotonic() - begun
        return seconds if any(Path(cache).rglob(f"{build.NAME}.so")) else None


if __name__ == "__main__":
    sys.exit(main())
