"""Furniture reduced to a few hundred flat-coloured triangles a model, made once and kept in one small file."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from tqdm import tqdm

from datamodules.furniture import CatalogueEntry, Library, furniture_digest, read_furniture
from datamodules.room_classes import DRAWN, MODELS, class_of_models
from networks.checkpoints.atomic import atomic_path
from networks.checkpoints.cache_dir import cache_dir
from networks.checkpoints.errors import GanvasError

if TYPE_CHECKING:
    import trimesh

log = logging.getLogger(__name__)

_FORMAT = 2          # raise when the code makes something else of the same package
_PACKAGES = ("trimesh", "embreex", "fast_simplification")
FACES = {"bed": 900, "sofa": 700, "plant": 600, "rug": 60}  # triangles a model, by class
FACES_ELSE = 350
_TEXTURE = 24        # pixels a side that a texture is read at: finer grain than a triangle is not seen
_INSIDE = np.array([(1, 1, 1), (4, 1, 1), (1, 4, 1), (1, 1, 4), (3, 3, 1), (1, 3, 3), (3, 1, 3)]) / (
    np.array([3, 6, 6, 6, 7, 7, 7])[:, None]
)            # barycentric places in a triangle whose texture's mean is its colour
_GLASS = ("glass", "vitre", "verre", "cristal")   # in the names of materials that a window is seen through


@dataclass(frozen=True, eq=False)
class Model:
    """A piece of furniture; metres, its bottom's middle at the origin, its front towards +z."""

    key: str                            # library#model
    name: str                           # its class
    size: tuple[float, float, float]    # width (x), height (y), depth (z)
    elevation: float                    # of its bottom over the floor
    top: float                          # height at which things stand on it
    triangles: np.ndarray               # float32 [F, 3, 3]
    colors: np.ndarray                  # float32 [F, 3], 0 ... 1 as on a screen
    parts: np.ndarray                   # uint8 [F], the material


@dataclass(frozen=True)
class Furniture:
    """All models that furnish rooms."""

    models: tuple[Model, ...]
    digest: str                         # of everything in it; names the rooms furnished from it
    path: Path                          # the file that it was read from

    def of(self, name: str) -> list[Model]:
        """The models of a class."""
        return [model for model in self.models if model.name == name]


def require_rooms_extra() -> None:
    """Refuse to go on without the packages that rooms need.

    Raises:
        GanvasError: naming one.
    """
    for package in _PACKAGES:
        if find_spec(package) is None:
            raise GanvasError(f"data=rooms needs the package {package}, which is not installed: "
                              "`pip install 'ganvas[rooms]'`.")


def load_furniture(path: str | Path, progress: bool = True) -> Furniture:
    """The models of the package, reduced; or those of a file that an earlier call reduced.

    Args:
        path: the ``.deb``, its unpacked folder, or a ``furniture-*.safetensors`` from the cache.
        progress: show a progress bar.

    Raises:
        GanvasError: if it is none of these, damaged, or without any model for some class.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        return _read(path)
    libraries = read_furniture(path)
    table = json.dumps([_FORMAT, MODELS, FACES, furniture_digest(libraries)])
    kept = cache_dir() / "rooms" / f"furniture-{hashlib.sha256(table.encode()).hexdigest()[:16]}.safetensors"
    if not kept.exists():
        require_rooms_extra()
        models = list(_reduced(libraries, progress))
        if missing := [name for name in MODELS if name not in DRAWN and name not in {m.name for m in models}]:
            raise GanvasError(f"data.furniture={path} has no model of the class {missing[0]!r}: give the whole "
                              "package.")
        with atomic_path(kept) as partial:
            partial.write_bytes(_packed(models))
    return _read(kept)


def _reduced(libraries: dict[str, Library], progress: bool) -> Iterator[Model]:
    classes = class_of_models()
    wanted = [
        (library, entry) for library in libraries.values() for key, entry in library.entries.items() if key in classes
    ]
    for library, entry in tqdm(wanted, "reducing furniture", unit="model", disable=not progress):
        try:
            yield reduce_model(entry, library.files(entry), classes[entry.key])
        except (ValueError, KeyError, IndexError, TypeError) as error:  # what trimesh raises on a damaged model
            raise GanvasError(f"the model {entry.key} of {library.name} cannot be read ({error}): fetch the package "
                              "anew.") from error


def reduce_model(entry: CatalogueEntry, files: dict[str, bytes], name: str) -> Model:
    """A model's OBJ as few triangles of its catalogue size.

    Args:
        entry: what the catalogue says of it.
        files: the OBJ and what belongs to it, by name.
        name: its class.

    Raises:
        ValueError: if it has no surface.
    """
    meshes = [mesh for mesh in _materials(entry, files, name) if len(mesh.faces) and mesh.area > 0]
    if not meshes:
        raise ValueError("it has no surface")
    budget, total = FACES.get(name, FACES_ELSE), sum(len(mesh.faces) for mesh in meshes)
    triangles, colors, parts = [], [], []
    for part, mesh in enumerate(meshes):
        few = _decimated(mesh, max(12, budget * len(mesh.faces) // total))
        triangles.append(few[0])
        colors.append(few[1])
        parts.append(np.full(len(few[0]), min(part, 255), np.uint8))
    corners = np.concatenate([mesh.bounds for mesh in meshes])
    placed = _placed(np.concatenate(triangles), corners, entry)
    return Model(entry.key, name, entry.size, entry.elevation, min(entry.top, entry.size[1]), placed,
                 np.concatenate(colors).astype(np.float32), np.concatenate(parts))  # fmt: skip


def _materials(entry: CatalogueEntry, files: dict[str, bytes], name: str) -> list[trimesh.Trimesh]:
    """The model as a mesh a material; a window without its glass."""
    import trimesh  # an optional package
    from trimesh.resolvers import ZipResolver

    resolver = ZipResolver({name: io.BytesIO(data) for name, data in files.items()})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of materials without a colour
        scene = trimesh.load_scene(
            io.BytesIO(files[entry.path.rpartition("/")[2]]), file_type="obj", resolver=resolver, process=False
        )
    meshes = [scene.geometry[name] for name in sorted(scene.geometry)]
    return [mesh for mesh in meshes if name != "window" or not any(word in _material(mesh) for word in _GLASS)]


def _material(mesh: trimesh.Trimesh) -> str:
    return str(getattr(getattr(mesh.visual, "material", None), "name", None)).lower()


def _decimated(mesh: trimesh.Trimesh, faces: int) -> tuple[np.ndarray, np.ndarray]:
    """At most about ``faces`` triangles ``[F, 3, 3]`` of a mesh, and their colours ``[F, 3]``."""
    colors = _face_colors(mesh)
    whole = np.asarray(mesh.vertices)[mesh.faces]
    if len(whole) <= max(faces, 4):
        return whole, colors
    from scipy.spatial import cKDTree

    found = _simplified(whole, faces)
    nearest = cKDTree(whole.mean(axis=1)).query(found.mean(axis=1), k=4)[1]
    return found, colors[nearest].mean(axis=1)


def _simplified(whole: np.ndarray, faces: int) -> np.ndarray:
    """By quadric decimation; what that cannot reduce, loose leaves for example, by clustering vertices."""
    import fast_simplification  # an optional package

    vertices, index = np.unique(whole.reshape(-1, 3).round(5), axis=0, return_inverse=True)
    index = index.reshape(-1, 3)
    points, few = fast_simplification.simplify(vertices.astype(np.float32), index.astype(np.int32), target_count=faces)
    if len(few) <= 1.5 * faces:
        return points[few]
    extent, cells = np.ptp(vertices, axis=0).max(), 48.0
    while len(few) > 1.5 * faces and cells > 2:
        places, cluster = np.unique(np.floor(vertices / (extent / cells)), axis=0, return_inverse=True)
        cluster = cluster.ravel()
        points = np.stack([np.bincount(cluster, column, len(places)) for column in vertices.T], axis=1)
        points /= np.bincount(cluster, minlength=len(places))[:, None]
        few = np.unique(np.sort(cluster[index], axis=1), axis=0)
        few = few[(few[:, 0] != few[:, 1]) & (few[:, 1] != few[:, 2])]
        cells *= 0.85
    return points[few]


def _face_colors(mesh: trimesh.Trimesh) -> np.ndarray:
    """The colour of each face ``[F, 3]``, 0 ... 1: the mean of its texture, or its material's."""
    material = getattr(mesh.visual, "material", None)
    image, uv = getattr(material, "image", None), getattr(mesh.visual, "uv", None)
    if image is not None:
        texture = np.asarray(image.convert("RGB").resize((_TEXTURE, _TEXTURE)), np.float32) / 255
        if uv is None or len(uv) != len(mesh.vertices):
            return np.broadcast_to(texture.mean(axis=(0, 1)), (len(mesh.faces), 3))
        places = np.einsum("sb,fbk->fsk", _INSIDE, np.nan_to_num(np.asarray(uv)[mesh.faces]))
        column, row = (np.floor((places % 1) * _TEXTURE).astype(int).clip(0, _TEXTURE - 1)[..., i] for i in (0, 1))
        return texture[_TEXTURE - 1 - row, column].mean(axis=1)
    plain = np.asarray(getattr(material, "main_color", (200, 200, 200)), np.float32)[:3] / 255
    return np.broadcast_to(plain, (len(mesh.faces), 3))


def _placed(triangles: np.ndarray, corners: np.ndarray, entry: CatalogueEntry) -> np.ndarray:
    """Turned as the catalogue says, and stretched to its size; the bottom's middle at the origin."""
    low, high = corners.min(axis=0), corners.max(axis=0)
    if entry.rotation is not None:
        turn = np.reshape(entry.rotation, (3, 3))
        triangles = triangles @ turn.T
        low, high = triangles.min(axis=(0, 1)), triangles.max(axis=(0, 1))
    unit = (triangles - low) / np.maximum(high - low, 1e-9)
    placed = (unit - (0.5, 0, 0.5)) * entry.size
    half = np.array(entry.size) / 2
    return placed.clip((-half[0], 0, -half[2]), (half[0], entry.size[1], half[2])).astype(np.float32)


def _packed(models: list[Model]) -> bytes:
    columns = {
        "triangles": np.concatenate([model.triangles for model in models]),
        "colors": (255 * np.concatenate([model.colors for model in models])).round().clip(0, 255).astype(np.uint8),
        "parts": np.concatenate([model.parts for model in models]),
    }
    rows: list[dict[str, Any]] = []
    for model in models:
        said = {name: value for name, value in asdict(model).items() if name not in columns}
        rows.append({**said, "faces": len(model.triangles)})
    return save(columns, {"models": json.dumps(rows)})


def _read(path: Path) -> Furniture:
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        with safe_open(path, framework="numpy") as file:
            rows = json.loads(file.metadata()["models"])
            triangles, colors, parts = (file.get_tensor(name) for name in ("triangles", "colors", "parts"))
        ends = np.cumsum([row.pop("faces") for row in rows])[:-1]
        columns = (np.split(array, ends) for array in (triangles, colors.astype(np.float32) / 255, parts))
        models = tuple(
            Model(**{**row, "size": tuple(row["size"])}, triangles=t, colors=c, parts=p)
            for row, t, c, p in zip(rows, *columns, strict=True)
        )
    except FileNotFoundError as error:
        raise GanvasError(f"data.furniture={path} does not exist.") from error
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise GanvasError(f"data.furniture={path} is no file of reduced furniture, or damaged ({error}): delete it and "
                          "give the package.") from error
    return Furniture(models, digest, path)
