"""The Chainer snapshots (``.npz``) of neural-collage and sngan_projection: generators, discriminators and encoders.

An archive of arrays under the paths of Chainer's links, ``block2/c1/W``. Every weight has PyTorch's layout already.
What differs: Chainer keeps one vector of a spectral norm and takes a step of power iteration before each use, and its
count of batches (``N``) is used by nothing.
"""

from __future__ import annotations

import math
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from networks.checkpoints.errors import GanvasError
from networks.checkpoints.foreign import Found, Network, NetworkMissingError

FORMAT = "Chainer snapshot of neural-collage"
TRAINER = "updater/"       # before every name in the snapshot of a whole training
SPECTRAL = "parametrizations.weight"
BOTTOM = {1: 4, 2: 8}      # blocks of the discriminator that do not halve -> pixels a side that they work on
Arrays = Mapping[str, Tensor]


def read_chainer(path: Path, network: Network) -> Found:
    """The network of a file that ``snapshot_object`` wrote, which holds one. It has no averaged weights.

    Raises:
        GanvasError: if the file is damaged, a training's snapshot, or holds neither network as those programs write it.
        NetworkMissingError: if it holds the other of the two.
    """
    arrays = _arrays(path)
    if any(name.startswith(TRAINER) for name in arrays):
        raise GanvasError(f"{path} is the snapshot of a whole training: give that of a network, such as "
                          "ResNetGenerator_450000.npz beside it.")  # fmt: skip
    held = "D" if "l_y/W" in arrays else "G" if "l1/W" in arrays and "block2/b1/gammas/W" in arrays else ""
    if "prelu_out/W" in arrays:
        raise NetworkMissingError(f"{path} holds an encoder: add network=E and generator=FILE, the one it belongs to.")
    if not held:
        raise GanvasError(f"{path} holds no class-conditional generator or discriminator of neural-collage; give its "
                          "ResNetGenerator_*.npz or SNResNetProjectionDiscriminator_*.npz.")  # fmt: skip
    if (network == "D") != (held == "D"):
        what = "a discriminator: add network=D" if held == "D" else "a generator: leave network= out"
        raise NetworkMissingError(f"{path} holds {what}.")
    try:
        return _discriminator(arrays) if held == "D" else _generator(arrays)
    except (KeyError, IndexError, ValueError) as error:
        raise GanvasError(f"the network in {path} is not as neural-collage writes it ({error}); copy it "
                          "again.") from error  # fmt: skip


def read_chainer_encoder(path: Path) -> Found:
    """The encoder of a file that ``snapshot_object`` wrote.

    Raises:
        GanvasError: if the file is damaged, or holds no encoder as neural-collage writes it.
    """
    arrays = _arrays(path)
    if "prelu_out/W" not in arrays:
        raise GanvasError(f"{path} holds no encoder of neural-collage; give its ResNetEncoder_*.npz.")
    try:
        return _encoder(arrays)
    except (KeyError, IndexError, ValueError) as error:
        raise GanvasError(f"the encoder in {path} is not as neural-collage writes it ({error}); copy it "
                          "again.") from error  # fmt: skip


def _arrays(path: Path) -> dict[str, Tensor]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: torch.from_numpy(np.array(file[name])) for name in file.files}
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise GanvasError(f"{path} cannot be read as arrays of numbers: copy it again.") from error


def _blocks(arrays: Arrays) -> list[str]:
    found = {int(match[1]) for name in arrays if (match := re.fullmatch(r"block(\d+)/c1/W", name))}
    return [f"block{i}" for i in sorted(found)]


def _last(arrays: Arrays, *kinds: str) -> str:
    """The layer that follows all blocks, such as ``l7``: its number goes on from theirs."""
    number = int(_blocks(arrays)[-1].removeprefix("block")) + 1
    found = [f"{kind}{number}" for kind in kinds if {f"{kind}{number}/W", f"{kind}{number}/gamma"} & arrays.keys()]
    if not found:
        raise KeyError(f"{kinds[0]}{number}")
    return found[0]


def _generator(arrays: Arrays) -> Found:
    blocks, first = _blocks(arrays), arrays["l1/W"]
    last, norm = _last(arrays, "l", "c"), _last(arrays, "b")
    channels = [len(first) // 16, *(len(arrays[f"{block}/c2/W"]) for block in blocks)]
    config: dict[str, Any] = {
        "img_resolution": 4 << len(blocks), "c_dim": len(arrays["block2/b1/gammas/W"]), "channels": channels,
        "z_dim": first.shape[1], "img_channels": len(arrays[f"{last}/W"]),
    }  # fmt: skip
    tensors = {**_layer(arrays, "l1", "synthesis.l1"), **_layer(arrays, last, "synthesis.last")}
    for block in blocks:
        tensors |= _block(arrays, block, f"synthesis.{block}")
    tensors["synthesis.last_norm.weight"] = arrays[f"{norm}/gamma"]
    tensors["synthesis.last_norm.bias"] = arrays[f"{norm}/beta"]
    tensors |= _statistics(arrays, norm, "synthesis.last_norm")
    tensors["synthesis.last_norm.num_batches_tracked"] = torch.tensor(0)
    return Found("sngan", config, tensors, FORMAT)


def _discriminator(arrays: Arrays) -> Found:
    blocks, last = _blocks(arrays), _last(arrays, "l")
    halving = [block for block in blocks if f"{block}/c_sc/W" in arrays]
    flat = len(blocks) - len(halving)
    channels = [len(arrays[f"{block}/c2/W"]) for block in halving]
    config: dict[str, Any] = {
        "img_resolution": BOTTOM[flat] << len(halving), "c_dim": len(arrays["l_y/W"]), "channels": channels,
        "flat": flat, "img_channels": arrays["block1/c1/W"].shape[1],
        "hidden_first": any(len(arrays[f"{block}/c1/W"]) < len(arrays[f"{block}/c2/W"]) for block in halving),
    }  # fmt: skip
    tensors = {**_spectral(arrays, last, "last"), **_spectral(arrays, "l_y", "classes")}
    # The 32x32 network scores without a bias.
    tensors["last.bias"] = arrays.get(f"{last}/b", torch.zeros(1))
    for block in blocks:
        for layer in ("c1", "c2", "c_sc") if block in halving else ("c1", "c2"):
            tensors |= _spectral(arrays, f"{block}/{layer}", f"{block}.{layer}")
            tensors[f"{block}.{layer}.bias"] = arrays[f"{block}/{layer}/b"]
    return Found("projection_discriminator", config, tensors, FORMAT)


def _encoder(arrays: Arrays) -> Found:
    blocks = _blocks(arrays)
    # The two releases call the same layers differently.
    first = "l1" if "l1/W" in arrays else "block1"
    last = "l8_enc" if "l8_enc/W" in arrays else _last(arrays, "l")
    channels = [len(arrays[f"{first}/W"]), *(len(arrays[f"{block}/c2/W"]) for block in blocks)]
    bottom = math.isqrt(arrays[f"{last}/W"].shape[1] // channels[-1])
    config: dict[str, Any] = {
        "img_resolution": bottom << len(blocks), "c_dim": len(arrays["block2/b1/gammas/W"]), "channels": channels,
        "z_dim": len(arrays[f"{last}/W"]), "img_channels": arrays[f"{first}/W"].shape[1],
    }  # fmt: skip
    tensors = {**_layer(arrays, first, "first"), **_layer(arrays, last, "last"), "act.weight": arrays["prelu_out/W"]}
    for i, block in enumerate(blocks):
        tensors |= _block(arrays, block, f"blocks.{i}")
    return Found("conditional", config, tensors, FORMAT)


def _block(arrays: Arrays, theirs: str, ours: str) -> dict[str, Tensor]:
    """A residual block with conditional normalisation, of generators and encoders."""
    tensors = {}
    for layer in ("c1", "c2", "c_sc"):
        tensors |= _layer(arrays, f"{theirs}/{layer}", f"{ours}.{layer}")
    for norm in ("b1", "b2"):
        tensors |= {f"{ours}.{norm}.{table}": arrays[f"{theirs}/{norm}/{table}/W"] for table in ("gammas", "betas")}
        tensors |= _statistics(arrays, f"{theirs}/{norm}", f"{ours}.{norm}")
    return tensors


def _layer(arrays: Arrays, theirs: str, ours: str) -> dict[str, Tensor]:
    return {f"{ours}.weight": arrays[f"{theirs}/W"], f"{ours}.bias": arrays[f"{theirs}/b"]}


def _statistics(arrays: Arrays, theirs: str, ours: str) -> dict[str, Tensor]:
    return {f"{ours}.running_mean": arrays[f"{theirs}/avg_mean"], f"{ours}.running_var": arrays[f"{theirs}/avg_var"]}


def _spectral(arrays: Arrays, theirs: str, ours: str) -> dict[str, Tensor]:
    """A weight, and both vectors of its spectral norm after the step that Chainer takes before it uses them."""
    weight = arrays[f"{theirs}/W"]
    matrix = weight.flatten(1)
    v = F.normalize(matrix.T @ arrays[f"{theirs}/u"].flatten(), dim=0, eps=1e-12)
    u = F.normalize(matrix @ v, dim=0, eps=1e-12)
    return {f"{ours}.{SPECTRAL}.original": weight, f"{ours}.{SPECTRAL}.0._u": u, f"{ours}.{SPECTRAL}.0._v": v}
