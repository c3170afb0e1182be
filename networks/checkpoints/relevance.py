"""What channels do, in and out of a bundle, which belongs to one generator and one CLIP."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from networks.checkpoints.bundle import Bundle, Manifest, read_bundle, save_bundle
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.zoo import find_bundle, resolve, zoo_folders
from networks.clip import ClipIdentity
from networks.relevance import Relevance

KIND = "relevance"
_DIRECTION, _STD = "direction.", "std."   # before an affine path: names of the tensors


def save_relevance(path: str | Path, relevance: Relevance, extra: Mapping[str, Any] | None = None) -> Path:
    """Write a bundle of kind ``relevance``.

    Args:
        path: the ``.safetensors`` file to write.
        relevance: what to write.
        extra: further manifest entries: metrics, command, licence.

    Raises:
        GanvasError: if the file cannot be written.
    """
    tensors = {_DIRECTION + name: t for name, t in relevance.direction.items()}
    tensors |= {_STD + name: t for name, t in relevance.std.items()}
    manifest = {
        **(extra or {}), "kind": KIND, "generator": {"hash": relevance.generator_hash},
        "clip": relevance.clip.to_json(), "settings": dict(relevance.settings),
    }  # fmt: skip
    return save_bundle(path, tensors, manifest)


def load_relevance(path: str | Path) -> Relevance:
    """Read such a bundle; ``zoo/NAME`` is also looked for in the zoo.

    Raises:
        GanvasError: if the file is unusable or holds something else.
    """
    bundle = read_bundle(resolve(path))
    if bundle.kind != KIND:
        raise GanvasError(f"{bundle.path} is a bundle of kind '{bundle.kind}': give one of kind '{KIND}', as `ganvas "
                          "train task=directions` writes it.")  # fmt: skip
    try:
        manifest = bundle.manifest
        return Relevance(
            _named(bundle, _DIRECTION), _named(bundle, _STD), manifest["generator"]["hash"],
            ClipIdentity.from_json(manifest["clip"]), manifest["settings"],
        )  # fmt: skip
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise GanvasError(f"the manifest in {bundle.path} does not describe relevance: measure it again.") from error


def find_relevance(generator_hash: str, clip: ClipIdentity) -> Path | None:
    """The first such bundle of this generator and this CLIP in the zoo or in ``GANVAS_ZOO``."""

    def is_wanted(manifest: Manifest) -> bool:
        owner = manifest.get("generator") or {}
        return manifest["kind"] == KIND and owner.get("hash") == generator_hash and manifest.get("clip") == wanted

    wanted = clip.to_json()
    return find_bundle(zoo_folders(), is_wanted)


def _named(bundle: Bundle, prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): t for name, t in bundle.tensors.items() if name.startswith(prefix)}
