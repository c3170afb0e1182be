"""Codes out of the files that people have: bundles, plain ``.safetensors``, ``.npz`` and ``.pt`` of other code bases.

``ganvas sample`` and ``ganvas invert`` write bundles. StyleCLIP and e4e keep ``[N, 18, 512]`` in a ``.pt``, or for S a
list of ``[N, 1, C, 1, 1]``; the official projector keeps ``w`` in an ``.npz``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from networks.checkpoints.bundle import METADATA_KEY
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.latents import load_latent
from networks.checkpoints.pickles import read_torch_value
from networks.latent import Latent
from networks.protocol import Generator

SUFFIXES = (".safetensors", ".npz", ".pt")
NAMES = ("ws", "w", "latents", "codes")   # of an array among others


def read_codes(path: str | Path, generator: Generator) -> tuple[Latent, tuple[str, ...]]:
    """Codes of a generator and their names (empty if they have none).

    One code for all rows, ``[N, w_dim]``, is repeated for each.

    Args:
        path: the file.
        generator: that they must belong to, as far as the file says, and whose shape they must have.

    Returns:
        Codes in W+ (or in the space that the generator samples in), or in S.

    Raises:
        GanvasError: if the file is missing or unusable, holds no codes, they are not finite, or another generator's.
    """
    path = Path(path)
    if not path.is_file():
        raise GanvasError(f"there is no file {path}; give codes as {', '.join(SUFFIXES)}.")
    latent, names = load_latent(path) if _is_bundle(path) else (_foreign(path, generator), ())
    if latent.generator_hash and generator.hash and latent.generator_hash != generator.hash:
        raise GanvasError(f"the codes in {path} belong to generator {latent.generator_hash[:12]}, not to "
                          f"{generator.hash[:12]}: give that one, or sample or invert them again.")  # fmt: skip
    if not len(latent):
        raise GanvasError(f"{path} holds no codes: give at least one.")
    _require_shape(path, latent, generator)
    for name, codes in latent.tensors.items():
        if not torch.isfinite(codes).all():
            bad = int((~torch.isfinite(codes).flatten(1).all(1)).nonzero()[0])
            raise GanvasError(f"code {bad} in {path} is not finite ({name}): leave it out, or invert its image again.")
    return latent, names


def _is_bundle(path: Path) -> bool:
    if path.suffix != ".safetensors":
        return False
    try:
        with safe_open(path, framework="pt") as file:
            return METADATA_KEY in (file.metadata() or {})
    except (SafetensorError, OSError):
        return True  # whose reader has the sentence for it


def _foreign(path: Path, generator: Generator) -> Latent:
    match path.suffix:
        case ".safetensors":
            with safe_open(path, framework="pt") as file:
                found: Any = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        case ".npz":
            found = _arrays(path)
        case ".pt":
            found = read_torch_value(path, "codes")
        case _:
            raise GanvasError(f"{path} must end in {', '.join(SUFFIXES)} to be read as codes.")
    if isinstance(found, list | tuple):
        return _styles(path, found, generator)
    codes = found if isinstance(found, Tensor) else _only(path, found)
    codes = codes.detach().float()
    if codes.ndim == 2:  # in W
        codes = codes[:, None].expand(-1, _num_ws(generator), -1).contiguous()
    if codes.ndim != 3:
        raise GanvasError(f"{path} holds {list(codes.shape)}: codes are [N, rows, width], or [N, width] in W.")
    return Latent("w+", {"ws": codes}, None, generator.hash or None)


def _arrays(path: Path) -> dict[str, Tensor]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: torch.from_numpy(file[name]) for name in file.files if file[name].dtype.kind == "f"}
    except (OSError, ValueError, EOFError, TypeError) as error:
        raise GanvasError(f"{path} cannot be read as arrays of numbers: copy it again.") from error


def _only(path: Path, found: Any) -> Tensor:
    """The one tensor among the entries that can be codes."""
    entries = found if isinstance(found, Mapping) else {}
    tensors = {str(name): t for name, t in entries.items() if isinstance(t, Tensor) and t.ndim in (2, 3)}
    named = [tensors[name] for name in NAMES if name in tensors]
    if named or len(tensors) == 1:
        return named[0] if named else next(iter(tensors.values()))
    raise GanvasError(f"{path} holds no codes called {', '.join(NAMES)}, nor a single array of them: name them so.")


def _styles(path: Path, found: Sequence[Any], generator: Generator) -> Latent:
    """StyleCLIP's list, in the order of use."""
    if not hasattr(generator, "in_styles"):
        raise GanvasError(f"{path} holds a list, as codes in S are, and this generator has none.")
    names = list(generator.in_styles(generator.sample(1, seed=0)).tensors)
    if len(found) != len(names) or not all(isinstance(t, Tensor) for t in found):
        raise GanvasError(f"{path} holds {len(found)} styles, and this generator has {len(names)}: they are another's.")
    if flat := [t for t in found if t.ndim < 2]:
        raise GanvasError(f"{path} holds a style of shape {list(flat[0].shape)}: each is [N, 1, channels, 1, 1].")
    codes = {name: t.detach().float().flatten(1) for name, t in zip(names, found, strict=True)}
    if len({len(t) for t in codes.values()}) != 1:
        raise GanvasError(f"the styles in {path} are not of as many images each: write them again.")
    return Latent("s", codes, None, generator.hash or None)


def _num_ws(generator: Generator) -> int:
    return generator.sample(1, seed=0).tensors["ws"].shape[1]


def _require_shape(path: Path, latent: Latent, generator: Generator) -> None:
    like = generator.sample(1, seed=0)
    if latent.space == "s" and hasattr(generator, "in_styles"):
        like = generator.in_styles(like)
    if latent.space != like.space:
        raise GanvasError(f"the codes in {path} are in {latent.space}, and this generator's in {like.space}.")
    for name, own in like.tensors.items():
        found = latent.tensors.get(name)
        if found is None or found.shape[1:] != own.shape[1:]:
            raise GanvasError(f"the codes in {path} have {name} {None if found is None else list(found.shape[1:])}, "
                              f"and this generator's are {list(own.shape[1:])}: they are another's.")  # fmt: skip
