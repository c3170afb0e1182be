"""From a bundle's path to the editor for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from editors.blobs import BlobEditor
from editors.collage import CollageEditor
from editors.generator import GeneratorEditor
from editors.inversion_cache import InversionCache
from editors.invert import InversionSettings
from editors.segmentation import SegmentationEditor
from networks.blobgan import BlobGenerator
from networks.checkpoints import heads
from networks.checkpoints.bundle import Bundle, read_bundle
from networks.checkpoints.classes import ClassList
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.generators import GENERATORS, find_generator, generator_from_bundle, load_generator
from networks.checkpoints.zoo import resolve
from networks.protocol import Generator
from networks.sngan import ConditionalGenerator


def load(
    path: str | Path, generator: str | Path | Generator | None = None, device: torch.device | str = "cpu"
) -> SegmentationEditor | GeneratorEditor:
    """Open any bundle.

    Args:
        path: the file; ``zoo/NAME`` is also looked for in the packaged zoo and in ``GANVAS_ZOO``.
        generator: the generator that the bundle belongs to, or its file. If left out, the one inside the bundle, or
            else one of the right hash beside it, in the zoo or in ``GANVAS_ZOO``.
        device: where to compute.

    Raises:
        GanvasError: if the bundle is unusable, of an unknown kind, or its generator is missing or another one.
    """
    bundle = read_bundle(resolve(path))
    if bundle.kind in GENERATORS:
        found = generator_from_bundle(bundle).to(device)
        own = {BlobGenerator: BlobEditor, ConditionalGenerator: CollageEditor}
        return own.get(type(found), GeneratorEditor)(found)
    if bundle.kind == heads.KIND:
        return SegmentationEditor(
            heads.head_from_bundle(bundle).to(device),
            _generator_of(bundle, generator).to(device),
            _classes(bundle),
            _inversion_settings(bundle),
            InversionCache(),
        )
    known = ", ".join([*GENERATORS, heads.KIND])
    raise GanvasError(f"there is no editor for {bundle.path}, a bundle of kind '{bundle.kind}'; there are for {known}")


def _generator_of(bundle: Bundle, given: str | Path | Generator | None) -> Generator:
    entry = bundle.manifest.get("generator") or {}
    wanted = entry.get("hash")
    if not isinstance(wanted, str):
        raise GanvasError(f"the manifest in {bundle.path} does not name its generator; export it again")
    if given is None:
        if entry.get("embedded"):
            return generator_from_bundle(bundle)
        return load_generator(find_generator(wanted, bundle.path))
    generator = load_generator(given) if isinstance(given, str | Path) else given
    if generator.hash != wanted:
        raise GanvasError(
            f"{bundle.path} belongs to generator {wanted[:12]}, and the one given is"
            f" {generator.hash[:12] or 'not from a file'}; give the generator it was trained on"
        )
    return generator


def _classes(bundle: Bundle) -> ClassList:
    entry: Any = bundle.manifest.get("classes")
    try:
        return ClassList(entry["names"], entry["palette"])
    except (TypeError, KeyError, ValueError) as error:
        raise GanvasError(f"the manifest in {bundle.path} has no class names and palette; export it again") from error


def _inversion_settings(bundle: Bundle) -> InversionSettings:
    try:
        return InversionSettings(**(bundle.manifest.get("inversion") or {}))
    except TypeError as error:
        raise GanvasError(
            f"{bundle.path} asks for an inversion that this version does not know ({error}); install a newer ganvas"
        ) from error
