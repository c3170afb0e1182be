"""Edits in and out of bundles, and EditGAN's vectors (``.npy``)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from networks.blobgan.program import BlobProgram
from networks.checkpoints.atomic import atomic_path
from networks.checkpoints.bundle import Bundle, owner_of, read_bundle, save_bundle
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.zoo import resolve
from networks.collage.towards import Towards
from networks.edit_modules import EditModule
from networks.latent_edit import LatentEdit
from networks.mapper import MapperEdit

KIND = "edit"
# Every module that an edit may have.
MODULES: dict[str, type[EditModule]] = {module.kind: module for module in (BlobProgram, MapperEdit, Towards)}


def save_edit(path: str | Path, edit: LatentEdit, extra: Mapping[str, Any] | None = None) -> Path:
    """Write a bundle of kind ``edit``; a ``.npy`` path gets EditGAN's layout, float32 ``[1, num_ws, w_dim]``.

    Args:
        path: the file to write.
        edit: what to store.
        extra: further manifest entries: metrics, command, recommended strengths, licence; a ``.npy`` has none.

    Raises:
        GanvasError: if the file cannot be written, or a ``.npy`` is asked for an edit that is not in W+.
    """
    path = Path(path)
    if path.suffix == ".npy":
        return _save_vector(path, edit)
    manifest = {
        **(extra or {}),
        "kind": KIND,
        "space": edit.space,
        "region": list(edit.region),
        "name": edit.name,
        "generator": {"hash": edit.generator_hash},
    }
    if edit.module is None:
        return save_bundle(path, edit.delta, manifest)
    manifest["module"] = {"kind": edit.module.kind, "config": edit.module.config()}
    return save_bundle(path, edit.module.tensors(), manifest)


def load_edit(path: str | Path) -> LatentEdit:
    """Read an edit: its bundle, or a vector of EditGAN, which names neither its generator nor its region.

    ``zoo/NAME`` is also looked for in the zoo.

    Raises:
        GanvasError: if the file is unusable or holds something else.
    """
    path = resolve(path)
    return _load_vector(path) if path.suffix == ".npy" else edit_from_bundle(read_bundle(path))


def edit_from_bundle(bundle: Bundle) -> LatentEdit:
    """The edit that a bundle holds.

    Raises:
        GanvasError: if it holds none.
    """
    manifest, path = bundle.manifest, bundle.path
    if bundle.kind != KIND:
        raise GanvasError(f"{path} is a bundle of kind '{bundle.kind}', not an edit; give the file of a vector")
    region = manifest.get("region")
    if manifest.get("space") not in ("z", "w", "w+", "s", "layout") or not isinstance(region, list):
        raise GanvasError(f"the manifest in {path} does not describe an edit; write it again")
    owner = owner_of(manifest)
    entry, about = manifest.get("module"), (owner, tuple(map(str, region)), str(manifest.get("name", "")))
    try:
        if entry is None:
            return LatentEdit(manifest["space"], dict(bundle.tensors), *about)
        return LatentEdit(manifest["space"], {}, *about, _module(entry, bundle))
    except (ValueError, GanvasError) as error:
        raise GanvasError(f"{path} holds no usable edit: {error}") from error


def _module(entry: Any, bundle: Bundle) -> EditModule:
    kind, config = (entry.get("kind"), entry.get("config")) if isinstance(entry, dict) else (None, None)
    if kind not in MODULES or not isinstance(config, dict):
        raise GanvasError(f"it is of kind {kind}, and this version knows {', '.join(MODULES)}")
    return MODULES[kind].of(config, bundle.tensors)


def _save_vector(path: Path, edit: LatentEdit) -> Path:
    if edit.space != "w+":
        raise GanvasError(f"{path} cannot be written: EditGAN's vectors are in w+, and this edit is in {edit.space}; "
                          "give a .safetensors name")  # fmt: skip
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, edit.delta["ws"].detach().float().cpu().numpy()[None])
    return path


def _load_vector(path: Path) -> LatentEdit:
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise GanvasError(f"{path} cannot be read as an array of numbers; give EditGAN's vector or a bundle") from error
    shape = array.shape[1:] if array.ndim == 3 and len(array) == 1 else array.shape
    if array.dtype.kind != "f" or len(shape) != 2:
        raise GanvasError(f"{path} must hold floats [num_ws, w_dim] or [1, num_ws, w_dim] to be a vector in W+")
    step = torch.from_numpy(array.astype(np.float32).reshape(shape))
    try:
        return LatentEdit("w+", {"ws": step}, name=path.stem)
    except ValueError as error:
        raise GanvasError(f"{path} holds no usable vector: {error}") from error
