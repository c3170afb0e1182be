"""Encoders in and out of bundles and out of foreign files, and finding the one that belongs to a generator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from networks.checkpoints.bundle import (
    Bundle,
    Manifest,
    owner_of,
    read_bundle,
    require_finite,
    save_bundle,
    tensors_hash,
)
from networks.checkpoints.chainer import read_chainer_encoder
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.foreign import is_foreign
from networks.checkpoints.foreign_encoders import read_foreign_encoder
from networks.checkpoints.generators import load_strictly, stored_tensors
from networks.checkpoints.zoo import find_belonging, resolve
from networks.latent_statistics import w_statistics
from networks.protocol import Generator

KIND = "encoder"


def _lean() -> type[nn.Module]:
    from networks.stylegan2 import LeanEncoder

    return LeanEncoder


def _w_plus() -> type[nn.Module]:
    from networks.encoder import WPlusEncoder

    return WPlusEncoder


def _irse() -> type[nn.Module]:
    from networks.encoders import IRSEEncoder

    return IRSEEncoder


def _fpn() -> type[nn.Module]:
    from networks.encoders import FPNEncoder

    return FPNEncoder


def _conditional() -> type[nn.Module]:
    from networks.sngan import ConditionalEncoder

    return ConditionalEncoder


# Name -> the class behind it. Closed, and imported when asked for: a bundle can name an encoder but no code.
ENCODERS: Mapping[str, Callable[[], type[nn.Module]]] = {
    "lean": _lean, "w_plus": _w_plus, "irse": _irse, "fpn": _fpn, "conditional": _conditional
}  # fmt: skip


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
        encoder = _empty(bundle.manifest["config"]["encoder"], bundle.manifest["config"]["arguments"])
    except (KeyError, TypeError, ValueError) as error:
        raise GanvasError(f"the manifest in {bundle.path} does not describe an encoder that this version knows "
                          f"({error}); export it again") from error  # fmt: skip
    load_strictly(encoder, bundle.tensors, f"the encoder in {bundle.path}")
    encoder.hash = bundle.manifest["hash"]
    return encoder.eval().requires_grad_(False)


def _empty(name: str, arguments: Mapping[str, Any]) -> nn.Module:
    """An encoder of the registry, whose weights are to be loaded."""
    # Random initial values would be drawn and thrown away, and would move the caller's random state.
    with torch.random.fork_rng(devices=[]):
        return ENCODERS[name]()(**arguments)


def load_encoder(path: str | Path, generator: Generator) -> nn.Module:
    """An encoder for ``generator``, from its bundle or from a checkpoint of pSp, e4e, EditGAN or neural-collage.

    Returns:
        As :func:`encoder_from_bundle`; from a foreign file also with ``source``, the name of the format.

    Raises:
        GanvasError: if the file is unusable, holds no encoder, or one for another generator.
    """
    path = resolve(path)
    if is_foreign(path):
        return load_foreign_encoder(path, generator)
    bundle = read_bundle(path)
    if bundle.kind != KIND or owner_of(bundle.manifest) != generator.hash:
        raise GanvasError(f"{path} is no encoder of this generator ({generator.hash[:12] or 'not from a file'}), but "
                          f"{_described(bundle.manifest)}: give the one that was trained for it.")  # fmt: skip
    return encoder_from_bundle(bundle)


def load_foreign_encoder(path: Path, generator: Generator) -> nn.Module:
    """As :func:`load_encoder`, from a foreign file alone."""
    if generator.sample(1, seed=0).space == "z":
        found = read_chainer_encoder(path)
        wanted = {"c_dim": generator.c_dim, "z_dim": generator.z_dim, "img_channels": generator.img_channels}
    else:
        found = read_foreign_encoder(path, generator)
        rows, w_dim = w_statistics(generator, samples=2).mean.shape[1:]
        wanted = {"num_ws": rows, "w_dim": w_dim, "img_channels": generator.img_channels}
    for name, value in wanted.items():
        if found.config[name] != value:
            raise GanvasError(f"the encoder in {path} has {name}={found.config[name]}, and the generator {value}: give "
                              "the generator that it was trained for.")  # fmt: skip
    tensors = {name: t.float() if t.is_floating_point() else t for name, t in found.tensors.items()}
    require_finite(tensors, path)
    try:
        encoder = _empty(found.kind, found.config)
    except (TypeError, ValueError) as error:
        raise GanvasError(f"the encoder in {path} cannot be built as its weights describe it: {error}.") from error
    load_strictly(encoder, tensors, f"the encoder in {path}")
    encoder.hash, encoder.source = tensors_hash(stored_tensors(encoder)), found.source
    return encoder.eval().requires_grad_(False)


def _described(manifest: Manifest) -> str:
    owner = owner_of(manifest)
    return f"a bundle of kind '{manifest['kind']}'" + (f" of generator {str(owner)[:12]}" if owner else "")


def find_encoder(generator: nn.Module) -> nn.Module | None:
    """The encoder of this generator: beside the generator's file, in the zoo or in ``GANVAS_ZOO``; None if nowhere.

    Raises:
        GanvasError: if its bundle is damaged.
    """
    found = find_belonging(generator, (KIND,))
    return None if found is None else encoder_from_bundle(read_bundle(found))
