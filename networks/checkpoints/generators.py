"""Generators in and out of bundles: the closed registry of kinds, strict loading, and finding one by its hash."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from networks.checkpoints.bundle import (
    GENERATOR_PREFIX,
    Bundle,
    Manifest,
    read_bundle,
    require_finite,
    save_bundle,
    tensors_hash,
)
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.foreign import Network, is_foreign, read_foreign
from networks.checkpoints.zoo import find_belonging, find_bundle, resolve, zoo_folders


def _stylegan2() -> type[nn.Module]:
    from networks.stylegan2 import Generator

    return Generator


def _blobgan() -> type[nn.Module]:
    from networks.blobgan import BlobGenerator

    return BlobGenerator


def _sngan() -> type[nn.Module]:
    from networks.sngan import ConditionalGenerator

    return ConditionalGenerator


def _projection_discriminator() -> type[nn.Module]:
    from networks.sngan import ProjectionDiscriminator

    return ProjectionDiscriminator


def _stylegan2_discriminator() -> type[nn.Module]:
    from networks.stylegan2 import Discriminator

    return Discriminator


def _lean_discriminator() -> type[nn.Module]:
    from networks.stylegan2 import LeanDiscriminator

    return LeanDiscriminator


def _projected_discriminator() -> type[nn.Module]:
    from networks.projected import ProjectedDiscriminator

    return ProjectedDiscriminator


# Kind -> the class behind it. Closed, and imported when asked for: a bundle can name a kind but no code.
GENERATORS: Mapping[str, Callable[[], type[nn.Module]]] = {
    "stylegan2": _stylegan2, "blobgan": _blobgan, "sngan": _sngan
}  # fmt: skip
DISCRIMINATORS: Mapping[str, Callable[[], type[nn.Module]]] = {
    "stylegan2_discriminator": _stylegan2_discriminator,
    "lean_discriminator": _lean_discriminator,
    "projected_discriminator": _projected_discriminator,
    "projection_discriminator": _projection_discriminator,
}


def known_networks() -> dict[str, Callable[[], type[nn.Module]]]:
    """Kind -> the class behind it, of generators and discriminators."""
    return {**GENERATORS, **DISCRIMINATORS}


def stored_tensors(module: nn.Module) -> dict[str, Tensor]:
    """The module's parameters and buffers as a bundle stores them: floating point values in single precision.

    One precision for all, so that a generator has one hash whatever precision it happened to run in.
    """
    return {name: t.detach().float() if t.is_floating_point() else t for name, t in module.state_dict().items()}


def kind_of(network: nn.Module) -> str:
    """The registry's name for this generator or discriminator.

    Raises:
        ValueError: if its class is not registered.
    """
    known = known_networks()
    for kind, find_class in known.items():
        if type(network) is find_class():
            return kind
    raise ValueError(f"{type(network).__name__} is not a registered generator; registered: {sorted(known)}")


def save_generator(path: str | Path, generator: nn.Module, extra: Mapping[str, Any]) -> Path:
    """Write a generator, or a discriminator, as a bundle of its own.

    Args:
        path: the ``.safetensors`` file to write.
        generator: has ``config``, its constructor arguments.
        extra: further manifest entries (metrics, command, licence, data).

    Raises:
        GanvasError: if the file cannot be written, or a weight is not finite.
    """
    manifest = {**extra, "kind": kind_of(generator), "config": dict(generator.config)}
    return save_bundle(path, stored_tensors(generator), manifest)


def describe_generator(generator: nn.Module, embedded: bool = False) -> Manifest:
    """The manifest entry ``generator`` of a bundle that belongs to this generator."""
    size = sum(t.numel() * t.element_size() for t in stored_tensors(generator).values())
    return {
        "hash": generator.hash,
        "kind": kind_of(generator),
        "config": dict(generator.config),
        "size": size,
        "embedded": embedded,
    }


def embed_generator(tensors: Mapping[str, Tensor], generator: nn.Module) -> dict[str, Tensor]:
    """``tensors`` together with the generator's own, under their prefix.

    Raises:
        ValueError: if the generator's weights have changed since its hash was set.
    """
    own = stored_tensors(generator)
    if tensors_hash(own) != generator.hash:
        raise ValueError("the generator's weights changed after it was loaded; save it first and load it again")
    return {**tensors, **{GENERATOR_PREFIX + name: t for name, t in own.items()}}


def load_generator(path: str | Path) -> nn.Module:
    """Read a generator from its own bundle, from one that embeds it, or from a foreign checkpoint.

    Args:
        path: the file; ``zoo/NAME`` is also looked for in the packaged zoo and in ``GANVAS_ZOO``.

    Returns:
        The generator in eval mode, frozen, with ``hash`` and ``path`` (the file it came from) set.

    Raises:
        GanvasError: if the file is unusable, holds no generator, or its weights do not fit its constructor.
    """
    path = resolve(path)
    return load_foreign(path) if is_foreign(path) else generator_from_bundle(read_bundle(path))


def load_foreign(path: str | Path, network: Network = "G_ema") -> nn.Module:
    """Read one network of another code base's checkpoint: see :mod:`networks.checkpoints.foreign`.

    Returns:
        As :func:`load_generator`, with ``source``, the name of the format, and ``note``, what a person should know of
        it, mostly nothing; the hash is that of the bundle that :func:`save_generator` makes of it.

    Raises:
        GanvasError: if the file is unusable, of no known format, or holds no such network.
    """
    path = Path(path)
    found = read_foreign(path, network)
    tensors = {name: t.float() if t.is_floating_point() else t for name, t in found.tensors.items()}
    require_finite(tensors, path)
    module = _build(path, found.kind, found.config, tensors, tensors_hash(tensors))
    module.source, module.note = found.source, found.note
    return module


def load_discriminator(path: str | Path) -> nn.Module:
    """Read a discriminator from its own bundle or from a foreign checkpoint; as :func:`load_generator` otherwise.

    Raises:
        GanvasError: if the file is unusable, holds no discriminator, or its weights do not fit its constructor.
    """
    path = resolve(path)
    if is_foreign(path):
        return load_foreign(path, "D")
    bundle = read_bundle(path)
    if bundle.kind not in DISCRIMINATORS:
        raise GanvasError(f"{path} is a bundle of kind '{bundle.kind}', not a discriminator: `ganvas convert "
                          "source=CHECKPOINT network=D` makes one.")  # fmt: skip
    return _build(bundle.path, bundle.kind, bundle.manifest.get("config"), bundle.tensors, bundle.manifest["hash"])


def find_discriminator(generator: nn.Module) -> nn.Module | None:
    """The discriminator that a generator was trained against: beside its file, in the zoo or in ``GANVAS_ZOO``.

    Returns:
        As :func:`load_discriminator`; None if it is nowhere.

    Raises:
        GanvasError: if its bundle is damaged.
    """
    found = find_belonging(generator, DISCRIMINATORS)
    return None if found is None else load_discriminator(found)


def generator_from_bundle(bundle: Bundle) -> nn.Module:
    """As :func:`load_generator`, from a bundle that was read already."""
    if bundle.kind in GENERATORS:
        generator = _build(
            bundle.path, bundle.kind, bundle.manifest.get("config"), bundle.tensors, bundle.manifest["hash"]
        )
        if names := bundle.manifest.get("label_names"):
            generator.label_names = tuple(map(str, names))
        return generator
    entry = bundle.manifest.get("generator") or {}
    if not entry.get("embedded"):
        raise GanvasError(
            f"{bundle.path} is a bundle of kind '{bundle.kind}' with no generator inside;"
            f" give a generator's bundle ({', '.join(GENERATORS)}) or export it with export.embed_generator=true"
        )
    tensors = bundle.embedded_generator()
    if tensors_hash(tensors) != entry.get("hash"):
        raise GanvasError(f"the generator inside {bundle.path} is not the one its manifest names; export it again")
    return _build(bundle.path, entry.get("kind"), entry.get("config"), tensors, entry["hash"])


def find_generator(generator_hash: str, beside: Path) -> Path:
    """The bundle that holds the generator of this hash.

    Args:
        generator_hash: the sha256 in the manifest of the bundle that needs it.
        beside: the bundle that needs it; its folder is searched first, then the zoo, then ``GANVAS_ZOO``.

    Raises:
        GanvasError: if it is in none of them.
    """
    folders = [Path(beside).resolve().parent, *zoo_folders()]
    found = find_bundle(folders, lambda manifest: _holds(manifest, generator_hash))
    if found is not None:
        return found
    places = ", ".join(str(folder) for folder in folders)
    raise GanvasError(
        f"{beside} needs the generator {generator_hash[:12]}, which is in none of {places};"
        " put its file beside the bundle, name it with generator=, or add its folder to GANVAS_ZOO"
    )


def _holds(manifest: Manifest, generator_hash: str) -> bool:
    """Whether the bundle is that generator or embeds it."""
    entry = manifest.get("generator") or {}
    own = manifest["kind"] in GENERATORS and manifest["hash"] == generator_hash
    return own or bool(entry.get("embedded") and entry.get("hash") == generator_hash)


def _build(path: Path, kind: Any, config: Any, tensors: dict[str, Tensor], generator_hash: str) -> nn.Module:
    """Construct, load strictly, freeze."""
    known = known_networks()
    if kind not in known:
        raise GanvasError(f"{path} holds a generator of unknown kind {kind!r}; known here: {', '.join(GENERATORS)}")
    if not isinstance(config, dict):
        raise GanvasError(f"the manifest in {path} has no constructor arguments for its generator; export it again")
    try:
        # Random initial values would be drawn and thrown away, and would move the caller's random state.
        with torch.random.fork_rng(devices=[]):
            generator = known[kind]()(**config)
    except (TypeError, ValueError) as error:
        raise GanvasError(f"the generator in {path} cannot be built as the file describes it: {error}") from error
    load_strictly(generator, tensors, f"the generator in {path}")
    generator.hash, generator.path = generator_hash, path
    return generator.eval().requires_grad_(False)


def load_strictly(module: nn.Module, tensors: Mapping[str, Tensor], what: str) -> None:
    """Load ``tensors`` into ``module`` if names and shapes are exactly its own.

    Args:
        module: receives the values.
        tensors: a full state dict.
        what: names the source in the sentence, e.g. ``the head in a.safetensors``.

    Raises:
        GanvasError: naming the first weights that are missing, unknown or of another shape.
    """
    wanted = module.state_dict()
    missing = sorted(wanted.keys() - tensors.keys())
    unknown = sorted(tensors.keys() - wanted.keys())
    if missing or unknown:
        parts = [f"{len(names)} {word} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
                 for names, word in ((missing, "missing"), (unknown, "unknown")) if names]  # fmt: skip
        raise GanvasError(f"{what} does not fit its description: weights {' and '.join(parts)}; export it again")
    for name, value in tensors.items():
        if value.shape != wanted[name].shape:
            raise GanvasError(
                f"{what} does not fit its description: weight '{name}' is {list(value.shape)},"
                f" expected {list(wanted[name].shape)}; export it again"
            )
    module.load_state_dict(dict(tensors))
