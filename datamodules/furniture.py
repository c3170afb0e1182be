"""Furniture models of Sweet Home 3D as Debian packages them (``sweethome3d-furniture``), read without Java or root.

The package holds libraries, ``*.sh3f``: zips with a catalogue of properties, and models as OBJ with MTL and textures.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from datamodules.debian import files_of_deb, package_named
from networks.checkpoints.errors import GanvasError

CATALOGUE = "PluginFurnitureCatalog.properties"
WANTED = package_named("sweethome3d-furniture")
_PROPERTY = re.compile(r"(\w+)#(\d+)\s*=\s*(.*)")


@dataclass(frozen=True)
class CatalogueEntry:
    """A model of a library; lengths in metres."""

    key: str                               # its id in the catalogue: library#model
    path: str                              # of its OBJ in the library
    size: tuple[float, float, float]       # width, height, depth
    elevation: float                       # of its bottom over the floor
    top: float                             # height at which things stand on it
    rotation: tuple[float, ...] | None     # 3x3 by rows, from the model's axes to those of the catalogue


@dataclass(frozen=True)
class Library:
    """An ``.sh3f`` file."""

    name: str
    archive: zipfile.ZipFile
    entries: dict[str, CatalogueEntry]     # by key

    def files(self, entry: CatalogueEntry) -> dict[str, bytes]:
        """What lies beside a model's OBJ, the OBJ included, by name within its folder."""
        folder = entry.path.rpartition("/")[0] + "/"
        names = [name for name in self.archive.namelist() if name.startswith(folder) and not name.endswith("/")]
        try:
            return {name.removeprefix(folder): self.archive.read(name) for name in names}
        except (zipfile.BadZipFile, OSError) as error:
            raise GanvasError(f"the furniture library {self.name} is damaged ({error}): fetch the package "
                              "anew.") from error

    def marks(self) -> list[tuple[str, int]]:
        """Name and checksum of each file in it."""
        return [(info.filename, info.CRC) for info in self.archive.infolist()]


def read_furniture(path: str | Path) -> dict[str, Library]:
    """The libraries of the package, by name, in order of their names.

    Args:
        path: a ``.deb``, or a folder somewhere in which ``*.sh3f`` files lie.

    Raises:
        GanvasError: if there is no library, or one cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        found = [(file.stem, file) for file in sorted(path.rglob("*.sh3f"))]
    elif path.is_file():
        files = files_of_deb(path, lambda name: name.endswith(".sh3f"), "data.furniture", WANTED)
        found = [(name, io.BytesIO(data)) for name, data in sorted((Path(name).stem, data) for name, data in files)]
    else:
        raise GanvasError(f"data.furniture={path} does not exist: give {WANTED}.")
    if not found:
        raise GanvasError(f"data.furniture={path} holds no *.sh3f library: give {WANTED}.")
    return {name: _library(name, file) for name, file in found}


def furniture_digest(libraries: Mapping[str, Library]) -> str:
    """A hash of all that the libraries hold, the same for a ``.deb`` and for its unpacked folder."""
    key = json.dumps([[name, library.marks()] for name, library in sorted(libraries.items())])
    return hashlib.sha256(key.encode()).hexdigest()[:16]


def _library(name: str, file: Path | io.BytesIO) -> Library:
    try:
        archive = zipfile.ZipFile(file)
        entries = _entries(archive.read(CATALOGUE).decode("latin1"))  # Java's properties are Latin-1
    except (zipfile.BadZipFile, OSError, KeyError, ValueError) as error:
        raise GanvasError(f"the furniture library {name} cannot be read ({error}): fetch the package anew.") from error
    return Library(name, archive, entries)


def _entries(text: str) -> dict[str, CatalogueEntry]:
    """The catalogue's entries; lengths in it are centimetres."""
    rows: dict[int, dict[str, str]] = defaultdict(dict)
    for line in text.splitlines():
        if match := _PROPERTY.match(line):
            rows[int(match[2])][match[1]] = match[3].strip()
    entries = {}
    for row in rows.values():
        width, height, depth = (float(row[side]) / 100 for side in ("width", "height", "depth"))
        turn = tuple(map(float, row["modelRotation"].split())) if "modelRotation" in row else None
        entries[row["id"]] = CatalogueEntry(
            row["id"], row["model"].lstrip("/"), (width, height, depth), float(row.get("elevation", 0)) / 100,
            float(row.get("dropOnTopElevation", 100 * height)) / 100, turn,
        )  # fmt: skip
    return entries
