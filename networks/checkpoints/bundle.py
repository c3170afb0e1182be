"""Bundles: one ``.safetensors`` file that holds weights and, in its header, a JSON manifest that says what they are.

The manifest sits under the metadata key ``ganvas``. These keys have one meaning everywhere; a kind may add its own:

==================  ================================================================================================
``format``          version of this layout, 1
``kind``            what the file is: ``stylegan2``, ``segmentation``, ...
``hash``            :func:`tensors_hash` of the stored tensors; for a generator this is its identity
``config``          constructor arguments of the main module
``generator``       of anything that belongs to a generator: ``{hash, kind, config, size, embedded}``; an embedded
                    generator's tensors carry the prefix ``generator.``
``classes``         ``{names, palette}``
``feature_layers``  names of the generator's maps that are read
``inversion``       settings for real images
``metrics``         headline figures, with their protocol
``command``         the command that made the file
``licence``         of the weights
==================  ================================================================================================

Reading never runs code from the file and never guesses: what does not fit is one sentence.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from networks.checkpoints.atomic import atomic_path
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.foreign import is_foreign

FORMAT = 1
METADATA_KEY = "ganvas"
GENERATOR_PREFIX = "generator."

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Bundle:
    """A bundle that has been read and found whole."""

    path: Path
    kind: str
    manifest: Manifest
    tensors: dict[str, Tensor] = field(repr=False)

    def without_generator(self) -> dict[str, Tensor]:
        """The tensors that are not part of an embedded generator."""
        return {name: t for name, t in self.tensors.items() if not name.startswith(GENERATOR_PREFIX)}

    def embedded_generator(self) -> dict[str, Tensor]:
        """The embedded generator's tensors under their own names; empty if there is none inside."""
        start = len(GENERATOR_PREFIX)
        return {name[start:]: t for name, t in self.tensors.items() if name.startswith(GENERATOR_PREFIX)}


def tensors_hash(tensors: Mapping[str, Tensor]) -> str:
    """Sha256 over (name, dtype, shape, bytes) of the tensors, sorted by name.

    Example:
        >>> a = {"x": torch.zeros(2), "y": torch.ones(1)}
        >>> tensors_hash(a) == tensors_hash(dict(reversed(a.items())))
        True
        >>> tensors_hash(a) == tensors_hash({"x": torch.zeros(2, 1), "y": torch.ones(1)})
        False
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode() + b"\n")
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def save_bundle(path: str | Path, tensors: Mapping[str, Tensor], manifest: Mapping[str, Any]) -> Path:
    """Write one bundle atomically; ``format`` and ``hash`` are filled in.

    Args:
        path: the ``.safetensors`` file to write; missing folders are made.
        tensors: what to store, on any device.
        manifest: plain JSON values with a ``kind``. Numbers that are not finite (the IoU of a class that never
            occurs) are stored as ``null``, because JSON has no word for them.

    Returns:
        ``path``.

    Raises:
        GanvasError: if the file cannot be written, or a weight is not finite.
        ValueError: if ``manifest`` has no kind.
    """
    path = Path(path)
    if not manifest.get("kind"):
        raise ValueError("a manifest needs a kind")
    # A clone for each: safetensors refuses tensors that share memory, as EMA copies and tied weights may.
    stored = {name: t.detach().cpu().clone(memory_format=torch.contiguous_format) for name, t in tensors.items()}
    require_finite(stored, path)
    full = {"format": FORMAT, **manifest, "hash": tensors_hash(stored)}
    text = json.dumps(_plain(full), allow_nan=False)
    with atomic_path(path) as temporary:
        try:
            save_file(stored, temporary, metadata={METADATA_KEY: text})
        except SafetensorError as error:
            raise GanvasError(f"cannot write {path}: {error}; choose another folder or free some space") from error
    return path


def owner_of(manifest: Manifest) -> str | None:
    """The hash of the generator that a bundle belongs to."""
    return (manifest.get("generator") or {}).get("hash")


def read_manifest(path: str | Path) -> Manifest:
    """The manifest alone, without reading the weights.

    Raises:
        GanvasError: if the file is missing, damaged, not a bundle, or of a newer format.
    """
    path = _existing_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise _unreadable(path) from error
    return _parse(path, metadata)


def read_bundle(path: str | Path) -> Bundle:
    """Read and check a whole bundle; its tensors are on the CPU.

    Raises:
        GanvasError: as :func:`read_manifest`, and if the weights are not those the manifest describes or not finite.
    """
    manifest = read_manifest(path)
    path = Path(path)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise _unreadable(path) from error
    require_finite(tensors, path)
    if tensors_hash(tensors) != manifest["hash"]:
        raise GanvasError(f"{path} is damaged: its weights do not match its manifest; copy or export it again")
    return Bundle(path, manifest["kind"], manifest, tensors)


def _existing_file(path: str | Path) -> Path:
    path = Path(path)
    if path.is_dir():
        raise GanvasError(f"{path} is a folder, not a bundle; give the .safetensors file inside it")
    if not path.is_file():
        raise GanvasError(f"there is no file {path}; give the path of a bundle (.safetensors)")
    return path


def _unreadable(path: Path) -> GanvasError:
    if is_foreign(path):
        return GanvasError(f"{path} cannot be read as safetensors: it is another kind of file, a pickle or an archive; "
                           f"if it holds another code's networks, `ganvas convert source={path} out=FILE.safetensors` "
                           "makes a bundle of them")  # fmt: skip
    return GanvasError(
        f"{path} cannot be read as safetensors: it is cut short or another kind of file; copy or export it again"
    )


def _parse(path: Path, metadata: Mapping[str, str]) -> Manifest:
    """The manifest in ``metadata``, checked as far as every kind needs it."""
    if METADATA_KEY not in metadata:
        raise GanvasError(
            f"{path} is a safetensors file but not a Ganvas bundle (no '{METADATA_KEY}' in its header);"
            " export it with ganvas"
        )
    try:
        manifest = json.loads(metadata[METADATA_KEY])
    except json.JSONDecodeError as error:
        raise GanvasError(f"the manifest in {path} is not valid JSON; export the bundle again") from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("format"), int):
        raise GanvasError(f"the manifest in {path} does not say its format; export the bundle again")
    if manifest["format"] > FORMAT:
        raise GanvasError(
            f"{path} has bundle format {manifest['format']}, and this version of ganvas reads up to {FORMAT};"
            " install a newer ganvas"
        )
    for key in ("kind", "hash"):
        if not isinstance(manifest.get(key), str):
            raise GanvasError(f"the manifest in {path} has no '{key}'; export the bundle again")
    return manifest


def require_finite(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Refuse weights that are NaN or infinite.

    Raises:
        GanvasError: naming the first of them, and ``path``.
    """
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise GanvasError(
                f"weight '{name}' of {path} has values that are NaN or infinite; export an earlier checkpoint"
            )


def _plain(value: Any) -> Any:
    """``value`` with tuples as lists and numbers that are not finite as ``None``."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
