"""Latent codes in and out of files: a bundle of kind ``latents`` with the names of its items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from networks.checkpoints.bundle import owner_of, read_bundle, save_bundle
from networks.checkpoints.errors import GanvasError
from networks.latent import Latent

KIND = "latents"
LABEL = "label"


def save_latent(
    path: str | Path, latent: Latent, names: Sequence[str] = (), extra: Mapping[str, Any] | None = None
) -> Path:
    """Write codes and, where they have names (of image files), the names.

    Args:
        path: the ``.safetensors`` file to write.
        latent: the codes, in any space.
        names: one for each item, or none.
        extra: further manifest entries.

    Raises:
        GanvasError: if the file cannot be written.
        ValueError: if there are names, but not one for each item.
    """
    if names and len(names) != len(latent):
        raise ValueError(f"{len(latent)} latents need as many names, got {len(names)}")
    tensors = dict(latent.tensors) if latent.label is None else {**latent.tensors, LABEL: latent.label}
    manifest = {
        **(extra or {}),
        "kind": KIND,
        "space": latent.space,
        "names": list(names),
        "noise_seed": latent.noise_seed,
        "generator": {"hash": latent.generator_hash},
    }
    return save_bundle(path, tensors, manifest)


def load_latent(path: str | Path) -> tuple[Latent, tuple[str, ...]]:
    """Read codes and their names (empty if they have none).

    Raises:
        GanvasError: if the file is unusable or holds something else.
    """
    bundle = read_bundle(path)
    manifest = bundle.manifest
    if bundle.kind != KIND:
        raise GanvasError(f"{path} is a bundle of kind '{bundle.kind}', not of latents; give a latents.safetensors")
    tensors = dict(bundle.tensors)
    label = tensors.pop(LABEL, None)
    generator_hash = owner_of(manifest)
    try:
        latent = Latent(manifest["space"], tensors, label, generator_hash, manifest.get("noise_seed"))
    except (KeyError, ValueError, StopIteration) as error:
        raise GanvasError(f"the latents in {path} do not fit their manifest ({error}); write them again") from error
    names = tuple(manifest.get("names") or ())
    if names and len(names) != len(latent):
        raise GanvasError(f"{path} holds {len(latent)} latents and {len(names)} names; write them again")
    return latent, names
