"""Generators in the files of other code bases: which format a file has, and its networks as ours."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from networks.checkpoints.errors import GanvasError

Network = Literal["G_ema", "G", "D"]  # the averaged generator, the trained one, the discriminator
LEGACY_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # how torch.save began files before version 1.6
ZIP = b"PK\x03\x04"
# What a file begins with -> the module of its adapter and the function in it, (path, network) -> Found.
ADAPTERS: Mapping[bytes, tuple[str, str]] = {
    LEGACY_TORCH: ("networks.checkpoints.torch_files", "read_torch_file"),
    ZIP: ("networks.checkpoints.torch_files", "read_torch_file"),
    b"\x80": ("networks.checkpoints.official", "read_official"),
}
ARRAYS = "networks.checkpoints.chainer", "read_chainer"   # of a zip that holds arrays alone


class NetworkMissingError(GanvasError):
    """A file that is whole, but holds no network of the name asked for."""


@dataclass(frozen=True)
class Found:
    """A network as a foreign file describes it."""

    kind: str                                   # of our class, as in a bundle
    config: dict[str, Any]                      # its constructor arguments
    tensors: dict[str, Tensor] = field(repr=False)   # its whole state, under our names
    source: str                                 # the format it came in
    note: str = ""                              # what a person should know of it, as a part of a sentence


def is_foreign(path: Path) -> bool:
    """Whether the file begins as one of these formats does; not so for bundles, and where there is no file."""
    return path.is_file() and _adapter(path) is not None


def is_torch(path: Path) -> bool:
    """Whether ``torch.save`` wrote the file, of whatever it is."""
    return path.is_file() and _adapter(path) == ADAPTERS[LEGACY_TORCH]


def read_foreign(path: Path, network: Network) -> Found:
    """One network of a foreign file.

    Raises:
        GanvasError: if the file is missing, unusable or of no known format.
        NetworkMissingError: if it holds no such network.
    """
    if not path.is_file():
        raise GanvasError(f"there is no file {path}; check the path.")
    adapter = _adapter(path)
    if adapter is None:
        raise GanvasError(f"{path} is no checkpoint that Ganvas converts; give a .pkl of stylegan2-ada-pytorch or "
                          "stylegan3, a .pt of rosinality's stylegan2-pytorch, a .ckpt of BlobGAN, or an .npz of "
                          "neural-collage.")  # fmt: skip
    module, function = adapter
    return getattr(import_module(module), function)(path, network)


def _adapter(path: Path) -> tuple[str, str] | None:
    try:
        with path.open("rb") as file:
            start = file.read(len(LEGACY_TORCH))
    except OSError as error:
        raise GanvasError(f"{path} cannot be read ({error.strerror}): check its rights.") from error
    # A safetensors file begins with the length of its header, which may look like any of these, and a brace.
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size:
        return None
    if start.startswith(ZIP) and _is_arrays(path):
        return ARRAYS
    return next((adapter for beginning, adapter in ADAPTERS.items() if start.startswith(beginning)), None)


def _is_arrays(path: Path) -> bool:
    """Whether a zip holds arrays and nothing else, as ``numpy.savez`` writes it."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return False
    return bool(names) and all(name.endswith(".npy") for name in names)
