"""Where trained bundles lie: the zoo that ships with the project, and the folders named in ``GANVAS_ZOO``."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

from networks.checkpoints.bundle import Manifest, owner_of, read_manifest
from networks.checkpoints.errors import GanvasError


def zoo_folders() -> list[Path]:
    """The packaged zoo, then each folder in the environment variable ``GANVAS_ZOO`` (separated as in ``PATH``)."""
    # zoo/ lies beside networks/, both in a checkout and in an installed wheel.
    packaged = Path(__file__).resolve().parents[2] / "zoo"
    extra = [Path(folder) for folder in os.environ.get("GANVAS_ZOO", "").split(os.pathsep) if folder]
    return [packaged, *extra]


def resolve(path: str | Path) -> Path:
    """``path`` itself, or for ``zoo/NAME`` that is not there the file of that name in a zoo folder.

    So the same command works in a checkout and from any folder once Ganvas is installed. A path that is nowhere comes
    back unchanged; the reader then says that it is missing.
    """
    path = Path(path)
    if path.exists() or path.parent != Path("zoo"):
        return path
    return next((folder / path.name for folder in zoo_folders() if (folder / path.name).is_file()), path)


def find_belonging(generator: Any, kinds: Collection[str]) -> Path | None:
    """The first bundle of one of these kinds that names a generator as its own; None if it is nowhere.

    Args:
        generator: with its ``hash``, and the ``path`` of the file that it came from, whose folder is searched first.
        kinds: of the manifest.
    """
    if not generator.hash:
        return None
    source = getattr(generator, "path", None)
    folders = [*([source.resolve().parent] if source else []), *zoo_folders()]
    return find_bundle(folders, lambda manifest: manifest["kind"] in kinds and owner_of(manifest) == generator.hash)


def find_bundle(folders: Iterable[Path], is_wanted: Callable[[Manifest], bool]) -> Path | None:
    """The first bundle in these folders whose manifest is wanted; a file that is no bundle simply is not."""
    for folder in folders:
        for path in sorted(folder.glob("*.safetensors")):
            try:
                manifest = read_manifest(path)
            except GanvasError:
                continue
            if is_wanted(manifest):
                return path
    return None
