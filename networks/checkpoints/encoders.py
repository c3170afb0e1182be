"""Encoders in and out of bundles, and finding the one that belongs to a generator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from networks.checkpoints.bundle import Bundle, Manifest, read_bundle, save_bundle
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.generators import load_strictly, stored_tensors
from networks.checkpoints.zoo import find_bundle, zoo_folders

KIND = "encoder"


def _lean() -> type[nn.Module]:
    from networks.stylegan2 import LeanEncoder

    return LeanEncoder


def _w_plus() -> type[nn.Module]:
    from networks.encoder import WPlusEncoder

    return WPlusEncoder


# Name -> the class behind it. Closed, and imported when asked for: a bundle can name an encoder but no code.
ENCODERS: Mapping[str, Callable[[], type[nn.Module]]] = {"lean": _lean, "w_plus": _w_plus}


def save_encoder(path: str | Path, encoder: nn.Module, generator_hash: str, extra: Mapping[str, Any]) -> Path:
    """Write an encoder as a bundle of its own.

    Args:
        path: the ``.safetensors`` file to write.
        encoder: image to code; has ``config``, its constructor arguments.
        generator_hash: of the generator whose codes it finds.
        extra: further manifest entries (metrics, command, licence, data).

    Raises:
        GanvasError: if the file cannot be written, or a weight is not finite.
        ValueError: if its class is not registered.
    """
    name = next((name for name, find_class in ENCODERS.items() if type(encoder) is find_class()), None)
    if name is None:
        raise ValueError(f"{type(encoder).__name__} is not a registered encoder; registered: {sorted(ENCODERS)}")
    config = {"encoder": name, "arguments": dict(encoder.config)}
    manifest = {**extra, "kind": KIND, "config": config, "generator": {"hash": generator_hash}}
    return save_bundle(path, stored_tensors(encoder), manifest)


def encoder_from_bundle(bundle: Bundle) -> nn.Module:
    """The encoder in eval mode, frozen, with ``hash`` set.

    Raises:
        GanvasError: if the manifest does not describe an encoder, or the weights are not its own.
    """
    try:
        find_class = ENCODERS[bundle.manifest["config"]["encoder"]]
        arguments = bundle.manifest["config"]["arguments"]
        # Random initial values would be drawn and thrown away, and would move the caller's random state.
        with torch.random.fork_rng(devices=[]):
            encoder = find_class()(**arguments)
    except (KeyError, TypeError, ValueError) as error:
        raise GanvasError(f"the manifest in {bundle.path} does not describe an encoder that this version knows "
                          f"({error}); export it again") from error  # fmt: skip
    load_strictly(encoder, bundle.tensors, f"the encoder in {bundle.path}")
    encoder.hash = bundle.manifest["hash"]
    return encoder.eval().requires_grad_(False)


def find_encoder(generator: nn.Module) -> nn.Module | None:
    """The encoder of this generator: beside the generator's file, in the zoo or in ``GANVAS_ZOO``; None if nowhere.

    Raises:
        GanvasError: if its bundle is damaged.
    """
    if not generator.hash:
        return None
    source = getattr(generator, "path", None)
    folders = [*([source.resolve().parent] if source else []), *zoo_folders()]
    found = find_bundle(folders, lambda manifest: _belongs_to(manifest, generator.hash))
    return None if found is None else encoder_from_bundle(read_bundle(found))


def _belongs_to(manifest: Manifest, generator_hash: str) -> bool:
    """Whether the bundle is an encoder of that generator."""
    return manifest["kind"] == KIND and (manifest.get("generator") or {}).get("hash") == generator_hash
