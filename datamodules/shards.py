"""Folders of synthesized images: shards of images and index masks, each written whole or not at all.

``<folder>/synthesis.json`` says what is in it, and ``<folder>/index/<shard>.json`` that a shard is done: which numbers
were drawn, how uncertain each is, and which were kept. So an interrupted synthesis goes on, and several workers may
write into one folder. Images lie in tars that WebDataset reads (``shard-00000.tar`` with ``00000012.png``,
``00000012.mask.png`` and ``00000012.json``), or as files (``images/00000012.png``, ``masks/00000012.png``) that every
tool reads.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from datamodules.image_cache import kept, require_room
from datamodules.masks import SEEN_SHARE, LabelledImages, class_pixels
from networks.checkpoints.atomic import atomic_path
from networks.checkpoints.cache_dir import cache_dir
from networks.checkpoints.classes import ClassList
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.images import image_png, read_image, write_image
from networks.checkpoints.masks import mask_png, read_mask, write_mask

FORMAT = 1
LAYOUTS = ("tar", "png")
PLAN, INDEX = "synthesis.json", "index"
_GROWS = ("format", "n", "command")   # what may differ when the same folder is gone on with


@dataclass(frozen=True)
class Shard:
    """What was drawn for one shard; images and masks of those that were kept only."""

    numbers: tuple[int, ...]       # of all drawn items, in order
    uncertainty: tuple[float, ...]  # of each of them
    kept: tuple[int, ...]          # the numbers among them that were kept
    images: np.ndarray             # uint8 [K, 3, R, R]
    masks: np.ndarray              # uint8 [K, R, R], class ids, 255 = ignore
    dropped_masks: np.ndarray      # uint8 [D, R, R], of the others


class SynthesizedFolder:
    """A folder of shards that one or several processes write.

    Args:
        path: the folder.
        plan: what is in it: ``layout``, ``n``, ``shard`` (items in one), ``classes``, and whatever else decides what an
            item looks like.
    """

    def __init__(self, path: Path, plan: Mapping[str, Any]) -> None:
        self.path, self.plan = path, dict(plan)
        self.classes = ClassList.from_json(plan["classes"])

    @classmethod
    def begin(cls, path: Path, plan: Mapping[str, Any]) -> SynthesizedFolder:
        """Make the folder that of ``plan``, or go on with it; more items may be asked for than before.

        Raises:
            GanvasError: if it holds something else, naming the first thing that differs, or cannot be written.
        """
        path = Path(path)
        require_place(path)
        full = json.loads(json.dumps({"format": FORMAT, **plan}))
        if (path / PLAN).exists():
            before = read_plan(path)
            for key in sorted(before.keys() | full.keys()):
                if key not in _GROWS and before.get(key) != full.get(key):
                    raise GanvasError(f"{path} holds a synthesis with {key}={before.get(key)}, and this one has "
                                      f"{key}={full.get(key)}: give the same options to go on, or another out=.")
            if full["n"] < before["n"]:
                raise GanvasError(f"{path} holds a synthesis of n={before['n']}, and this one asks for n={full['n']}: "
                                  "give at least as many, or another out=.")
            if full["n"] == before["n"]:
                return cls(path, before)
        with atomic_path(path / PLAN) as temporary:
            temporary.write_text(json.dumps(full, indent=1) + "\n")
        return cls(path, full)

    @classmethod
    def open(cls, path: str | Path) -> SynthesizedFolder:
        """A folder that is there.

        Raises:
            GanvasError: if it is no synthesis, or of another format.
        """
        return cls(Path(path), read_plan(Path(path)))

    @property
    def shards(self) -> range:
        """Numbers of the shards."""
        return range(-(-self.plan["n"] // self.plan["shard"]))

    def items(self, shard: int) -> range:
        """Numbers of the items that are drawn for a shard."""
        first = shard * self.plan["shard"]
        return range(first, min(first + self.plan["shard"], self.plan["n"]))

    def missing(self) -> list[int]:
        """The shards that are not done, or were done when fewer items were asked for."""
        return [shard for shard in self.shards if len(self._entry(shard).get("numbers", ())) < len(self.items(shard))]

    def write(self, shard: int, drawn: Shard) -> None:
        """Write a shard; its entry in the index comes last, so that a killed process leaves a shard to be done again.

        Raises:
            GanvasError: if it cannot be written.
        """
        names = [name_of(number) for number in drawn.kept]
        if self.plan["layout"] == "tar":
            self._write_tar(shard, names, drawn)
        else:
            self._write_files(names, drawn)
        least, count = SEEN_SHARE * self.plan["resolution"] ** 2, len(self.classes)
        pixels, dropped = class_pixels(drawn.masks, count), class_pixels(drawn.dropped_masks, count)
        entry = {
            "numbers": drawn.numbers, "uncertainty": [round(value, 6) for value in drawn.uncertainty],
            "kept": drawn.kept, "pixels": pixels.sum(0).tolist(), "shown": (pixels >= least).sum(0).tolist(),
            "dropped": (dropped >= least).sum(0).tolist(),
        }  # fmt: skip
        with atomic_path(self._entry_path(shard)) as temporary:
            temporary.write_text(json.dumps(entry) + "\n")

    def index(self) -> dict[str, np.ndarray]:
        """What all done shards say: ``numbers`` and ``uncertainty`` of the drawn items, ``kept`` (bool) beside them.

        And for each class its ``pixels`` in those that were kept, how many of these show it (``shown``), and how many
        of the others (``dropped``).
        """
        entries = [entry for entry in map(self._entry, self.shards) if entry]
        numbers = np.array([i for entry in entries for i in entry["numbers"]], dtype=np.int64)
        kept_numbers = [i for entry in entries for i in entry["kept"]]
        none = [[0] * len(self.classes)]
        return {
            "numbers": numbers, "kept": np.isin(numbers, kept_numbers),
            "uncertainty": np.array([value for entry in entries for value in entry["uncertainty"]]),
            "pixels": np.sum([entry["pixels"] for entry in entries] or none, axis=0),
            "shown": np.sum([entry["shown"] for entry in entries] or none, axis=0),
            "dropped": np.sum([entry["dropped"] for entry in entries] or none, axis=0),
        }  # fmt: skip

    def read(self) -> LabelledImages:
        """All kept images with their masks, in order, mapped into memory from a file in the cache.

        Raises:
            GanvasError: if the synthesis is not finished, or a file in it is missing or damaged.
        """
        if left := self.missing():
            raise GanvasError(f"{self.path} is not finished, {len(left)} of {len(self.shards)} shards are missing: run "
                              f"its command again, `{self.plan.get('command', 'ganvas synthesize')}`.")
        index = self.index()
        names = [name_of(int(number)) for number in index["numbers"][index["kept"]]]
        if not names:
            raise GanvasError(f"{self.path} holds no image: every one was dropped.")
        folder = cache_dir() / "synthesized" / self._digest()
        arrays = [kept(folder / f"{what}.npy") for what in ("images", "masks")]
        if any(array is None for array in arrays):
            self._prepare(folder, len(names))
            arrays = [np.load(folder / f"{what}.npy", mmap_mode="r") for what in ("images", "masks")]
        return LabelledImages(arrays[0], arrays[1], tuple(names), self.classes)

    def samples(self, shard: int) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        """Name, image ``uint8 [3, R, R]`` and mask ``uint8 [R, R]`` of each kept item of a shard.

        Raises:
            GanvasError: if a file is missing or damaged.
        """
        names = [name_of(number) for number in self._entry(shard)["kept"]]
        if self.plan["layout"] == "png":
            for name in names:
                yield name, read_image(self._file("images", name)), read_mask(self._file("masks", name), self.classes)
            return
        path, found = self._tar(shard), 0
        for sample in _tar_samples(path):
            name = sample["__key__"]
            if found >= len(names) or name != names[found] or not {"png", "mask.png"} <= sample.keys():
                raise GanvasError(f"{path} does not hold what its index says: delete {self._entry_path(shard)} and run "
                                  "the synthesis again.")
            found += 1
            where = path / f"{name}.png"
            yield name, read_image(where, sample["png"]), read_mask(where, self.classes, sample["mask.png"])
        if found < len(names):
            raise GanvasError(f"{path} ends after {found} of {len(names)} images: delete {self._entry_path(shard)} and "
                              "run the synthesis again.")

    def _write_tar(self, shard: int, names: list[str], drawn: Shard) -> None:
        import webdataset  # an optional package

        uncertainty = dict(zip(drawn.numbers, drawn.uncertainty, strict=True))
        with (
            atomic_path(self._tar(shard)) as temporary, temporary.open("wb") as file,
            webdataset.TarWriter(file, encoder=False, mtime=0) as tar,  # the same command gives the same bytes
        ):  # fmt: skip
            for name, number, image, mask in zip(names, drawn.kept, drawn.images, drawn.masks, strict=True):
                said = {"number": number, "uncertainty": round(uncertainty[number], 6)}
                tar.write({
                    "__key__": name, "png": image_png(image), "mask.png": mask_png(mask, self.classes),
                    "json": json.dumps(said).encode(),
                })  # fmt: skip

    def _write_files(self, names: list[str], drawn: Shard) -> None:
        classes = self.path / "masks" / "classes.json"
        if not classes.exists():
            with atomic_path(classes) as temporary:
                temporary.write_text(json.dumps(self.classes.to_json()) + "\n")
        for name, image, mask in zip(names, drawn.images, drawn.masks, strict=True):
            write_image(self._file("images", name), image)
            write_mask(self._file("masks", name), mask, self.classes)

    def _prepare(self, folder: Path, count: int) -> None:
        """Decode all kept items into two arrays on disk."""
        size = self.plan["resolution"]
        require_room(folder, count * size * size * 4)
        shapes = {"images": (count, 3, size, size), "masks": (count, size, size)}
        with atomic_path(folder / "images.npy") as images, atomic_path(folder / "masks.npy") as masks:
            opened = [
                np.lib.format.open_memmap(path, "w+", np.uint8, shapes[what])
                for what, path in (("images", images), ("masks", masks))
            ]
            every = (sample for shard in self.shards for sample in self.samples(shard))
            for i, (_, image, mask) in enumerate(tqdm(every, "reading shards", count, unit="image", leave=False)):
                opened[0][i], opened[1][i] = image, mask
            for array in opened:
                array.flush()

    def _digest(self) -> str:
        """What the arrays in the cache are named by: the plan, and when and how large each shard was written."""
        marks = [self._entry_path(shard).stat() for shard in self.shards]
        key = [str(self.path.resolve()), self.plan, [(mark.st_size, mark.st_mtime_ns) for mark in marks]]
        return hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]

    def _entry(self, shard: int) -> dict[str, Any]:
        path = self._entry_path(shard)
        if not path.exists():
            return {}
        try:
            return json.loads(path.read_text())
        except ValueError as error:
            raise GanvasError(f"{path} is damaged ({error}): delete it and run the synthesis again.") from error

    def _entry_path(self, shard: int) -> Path:
        return self.path / INDEX / f"{shard:05d}.json"

    def _tar(self, shard: int) -> Path:
        return self.path / f"shard-{shard:05d}.tar"

    def _file(self, what: str, name: str) -> Path:
        return self.path / what / f"{name}.png"


def require_place(path: Path) -> None:
    """Refuse a folder that holds something else than a synthesis.

    Raises:
        GanvasError: naming it.
    """
    if path.exists() and not (path / PLAN).exists() and (not path.is_dir() or any(path.iterdir())):
        raise GanvasError(f"{path} exists and is no synthesis: give another out=, or an empty folder.")


def name_of(number: int) -> str:
    """The name of an item, in tars and as a file.

    Example:
        >>> name_of(12)
        '00000012'
    """
    return f"{number:08d}"


def read_plan(path: Path) -> dict[str, Any]:
    """What ``synthesis.json`` says.

    Raises:
        GanvasError: if it is missing, damaged, or of another format.
    """
    file = path / PLAN
    if not file.is_file():
        raise GanvasError(f"{path} was not written by `ganvas synthesize`: it has no {PLAN}.")
    try:
        found = json.loads(file.read_text())
        if found["format"] != FORMAT:
            raise GanvasError(f"{file} is of format {found['format']} and this version reads {FORMAT}: use the version "
                              "that wrote it.")
        ClassList.from_json(found["classes"])
        for key in ("n", "shard", "resolution"):
            if not isinstance(found[key], int) or found[key] < 1:
                raise ValueError(f"{key} is no number of images or pixels")
    except (ValueError, KeyError, TypeError) as error:
        raise GanvasError(f"{file} is damaged ({error}): restore it, or synthesize into another folder.") from error
    return found


def _tar_samples(path: Path) -> Iterator[dict[str, Any]]:
    """The samples of a tar, in order."""
    from webdataset.tariterators import group_by_keys, tar_file_expander  # an optional package

    try:
        with path.open("rb") as stream:
            yield from group_by_keys(tar_file_expander([{"url": str(path), "stream": stream}]))
    except (OSError, ValueError, tarfile.TarError) as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else error.args[0]
        raise GanvasError(f"{path} cannot be read ({said}): delete its entry in {INDEX}/ and run the synthesis "
                          "again.") from error
