"""``ganvas label import=…``: what people labelled, checked, as the folder that a segmentation branch is trained on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from omegaconf import DictConfig

from datamodules.annotations import OVERLAPS, Drawing, Labelling, read_labels
from datamodules.folder import has_images, read_classes
from launch.label_kit import CLASSES, FOUND, IMAGES, LATENTS
from networks.checkpoints.atomic import atomic_folder
from networks.checkpoints.bundle import read_manifest
from networks.checkpoints.classes import IGNORE, ClassList
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.latents import load_latent, save_latent
from networks.checkpoints.masks import write_mask
from networks.latent import Latent

RECORD = "labels.json"  # what was imported; a folder that holds it is replaced by another import
SHOWN = 20              # problems that are printed
NAMED = 10              # images without labels that are named


@dataclass(frozen=True)
class Source:
    """One of ``import=``, and what belongs to it."""

    path: Path
    labelling: Labelling
    latents: Path | None
    waiting: tuple[str, ...]   # images that nobody drew on


class Image(NamedTuple):
    """A labelled image, and whose it is."""

    source: Source
    drawing: Drawing

    @property
    def name(self) -> str:
        """Of the image and its mask."""
        return self.drawing.image.stem


def run(cfg: DictConfig) -> None:
    """Check what ``cfg.labelled`` names and write ``images/``, ``masks/``, the classes and the codes to ``cfg.out``.

    Raises:
        GanvasError: if the labels have problems, which are printed, or something given cannot be used.
    """
    if cfg.overlap not in OVERLAPS:
        raise GanvasError(f"overlap={cfg.overlap} is not known: choose of {', '.join(OVERLAPS)}.")
    sources = [_source(cfg, Path(path)) for path in cfg.labelled]
    classes = _one_class_list(sources)
    sources = [_sound(cfg, source) for source in sources]
    images = sorted((Image(s, drawing) for s in sources for drawing in s.labelling.labelled), key=lambda i: i.name)
    _require_apart(images)
    codes = _codes(images)
    with atomic_folder(cfg.out, replaces=RECORD) as folder:
        pixels = _write(folder, images, classes, cfg)
        if codes is not None:
            names = [image.name for image in images]
            save_latent(folder / LATENTS, codes, names, {"command": cfg.command})
    for line in _summary(cfg, images, sources, classes, pixels, codes is not None):
        print(line)


def _source(cfg: DictConfig, path: Path) -> Source:
    kit = Path(cfg.kit) if cfg.kit else path if path.is_dir() else path.parent
    if cfg.kit and not kit.is_dir():
        raise GanvasError(f"kit={kit} is no folder; give the one that `ganvas label` wrote.")
    classes = Path(cfg.classes) if cfg.classes else kit / CLASSES
    latents = Path(cfg.latents) if cfg.latents else kit / LATENTS
    images = Path(cfg.images) if cfg.images else kit / IMAGES
    listed = read_classes(classes) if cfg.classes or classes.is_file() else None
    given = images if cfg.images or has_images(images) else None
    labelling = read_labels(path, given, listed, cfg.overlap, cfg.rest, cfg.empty)
    # A photo is inverted in training, which has it from the cache: codes are known where they made the picture.
    known = bool(cfg.latents) or (latents.is_file() and not read_manifest(latents).get(FOUND))
    return Source(path, labelling, latents if known else None, labelling.waiting)


def _one_class_list(sources: list[Source]) -> ClassList:
    first = sources[0]
    for other in sources[1:]:
        if other.labelling.classes != first.labelling.classes:
            raise GanvasError(f"{first.path} and {other.path} have different classes: give one list, classes=FILE.")
    return first.labelling.classes


def _sound(cfg: DictConfig, source: Source) -> Source:
    """The source without images that have problems, if ``cfg.skip`` allows it.

    Raises:
        GanvasError: if there are problems and it does not, or no image is labelled.
    """
    checked = source.labelling.checked()
    problems = [problem for _, own in checked for problem in own]
    for problem in problems[:SHOWN] if len(problems) > 1 or cfg.skip else []:
        print(problem)
    if problems and not cfg.skip:
        more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
        raise GanvasError(f"{problems[0]}{more}: mend it, or add skip=true to leave out such images.")
    kept = replace(source.labelling, drawings=tuple(drawing for drawing, own in checked if not own))
    if not kept.labelled:
        raise GanvasError(f"no image in {source.path} is labelled yet: draw something, or add empty=true if images "
                          "without a shape show nothing but background.")  # fmt: skip
    return replace(source, labelling=kept)


def _require_apart(images: list[Image]) -> None:
    for first, second in pairwise(images):
        if first.name == second.name:
            raise GanvasError(f"the image {first.name} is labelled in {first.source.path} and in {second.source.path}: "
                              "import one of them.")  # fmt: skip


def _codes(images: list[Image]) -> Latent | None:
    """The codes of the images in their order; None if no source has any.

    Raises:
        GanvasError: if some have and some have not, a name is missing, or they are of different generators.
    """
    places = {image.source.latents for image in images}
    if places == {None}:
        return None
    loaded = {place: load_latent(place) for place in places if place is not None}
    found = []
    for image in images:
        latent, names = loaded.get(image.source.latents, (None, ()))
        if image.name not in names:
            raise GanvasError(f"{image.source.latents or image.source.path} holds no code of the labelled image "
                              f"{image.name}: give latents= that does, or import these images alone.")  # fmt: skip
        found.append(latent[names.index(image.name)])
    try:
        return Latent.cat(found)
    except ValueError as error:
        raise GanvasError(f"the codes of the folders do not go together ({error}): import them alone.") from error


def _write(folder: Path, images: list[Image], classes: ClassList, cfg: DictConfig) -> np.ndarray:
    """Write all but the codes; returns the pixels of each class in each image, and of 255, ``int64 [N, K + 1]``."""
    (folder / "images").mkdir()
    rows, record = [], {}
    for image in images:
        mask = image.source.labelling.mask(image.drawing)
        shutil.copy2(image.drawing.image, folder / "images")
        write_mask(folder / "masks" / f"{image.name}.png", mask, classes)
        counts = np.bincount(mask.ravel(), minlength=256)
        rows.append([*counts[: len(classes)], counts[IGNORE]])
        record[image.name] = {
            "labels": str(image.drawing.file), "shapes": len(image.drawing.shapes),
            "pixels": {name: int(n) for name, n in zip((*classes.names, "ignore"), rows[-1], strict=True) if n},
        }  # fmt: skip
    (folder / "masks" / "classes.json").write_text(json.dumps(classes.to_json()) + "\n", encoding="utf-8")
    (folder / RECORD).write_text(
        json.dumps({"command": cfg.command, "images": record}, indent=1) + "\n", encoding="utf-8"
    )
    return np.array(rows)


def _summary(
    cfg: DictConfig, images: list[Image], sources: list[Source], classes: ClassList, pixels: np.ndarray, known: bool
) -> Iterator[str]:
    names = {image.name for image in images}  # which another source may have of the same folder
    waiting = sorted({name for source in sources for name in source.waiting} - names)
    if waiting:
        more = f" and {len(waiting) - NAMED} more" if len(waiting) > NAMED else ""
        yield f"not labelled yet, left out: {', '.join(waiting[:NAMED])}{more}"
    for k, name in enumerate((*classes.names, "ignore")):
        shown = int((pixels[:, k] > 0).sum())
        if shown or name != "ignore":
            yield f"{name}: in {shown} of {len(images)} images, {pixels[:, k].sum() / pixels.sum():.1%} of the pixels"
    yield f"images: {len(images)}"
    generator = cfg.generator or _generator(sources) or "GENERATOR"
    words = [f"generator={generator}", *(f"{name}={Path(cfg.out) / name}" for name in ("images", "masks"))]
    words += [f"latents={Path(cfg.out) / LATENTS}"] if known else []
    yield f"train: ganvas train experiment=segmentation/folder {' '.join(words)}"
    yield f"folder: {cfg.out}"


def _generator(sources: list[Source]) -> str | None:
    """What made the codes, as `ganvas label` was told it."""
    latents = sources[0].path / LATENTS if sources[0].latents is None else sources[0].latents
    return read_manifest(latents).get("made_with") if latents.is_file() else None
