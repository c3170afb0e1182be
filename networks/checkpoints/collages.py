"""Collages in and out of bundles: what was painted and pasted, with its masks and codes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from networks.checkpoints.bundle import owner_of, read_bundle, save_bundle
from networks.checkpoints.errors import GanvasError
from networks.collage.program import CollageProgram

KIND = "collage"


def save_collage(path: str | Path, program: CollageProgram, extra: Mapping[str, Any] | None = None) -> Path:
    """Write a bundle of kind ``collage``.

    Args:
        path: the ``.safetensors`` file to write.
        program: what to store.
        extra: further manifest entries.

    Raises:
        GanvasError: if the file cannot be written.
    """
    manifest = {
        **(extra or {}), "kind": KIND, "collage": program.config(), "generator": {"hash": program.generator_hash}
    }  # fmt: skip
    return save_bundle(path, program.tensors(), manifest)


def load_collage(path: str | Path) -> CollageProgram:
    """Read a collage.

    Raises:
        GanvasError: if the file is unusable or holds something else.
    """
    bundle = read_bundle(path)
    if bundle.kind != KIND:
        raise GanvasError(f"{path} is a bundle of kind '{bundle.kind}', not a collage; give a collage.safetensors")
    owner = owner_of(bundle.manifest)
    # A file's tensors lie where the file put them; at other addresses products are summed in another order, and the
    # last bits differ. Copies lie as new tensors do.
    tensors = {name: tensor.clone() for name, tensor in bundle.tensors.items()}
    try:
        return CollageProgram.of(bundle.manifest["collage"], tensors, owner)
    except (KeyError, TypeError, ValueError, StopIteration) as error:
        raise GanvasError(f"{path} holds no usable collage ({error}); write it again") from error
