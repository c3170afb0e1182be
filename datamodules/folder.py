"""Folders of images and index masks: what people bring, and what rendered avatars are exported as."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np

from datamodules.masks import LabelledImages
from networks.checkpoints.classes import IGNORE, ClassList, voc_palette
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.images import read_image, write_image
from networks.checkpoints.masks import open_mask, read_mask, stored_palette, write_mask
from networks.checkpoints.squares import mask_to_square, to_square, window

log = logging.getLogger(__name__)

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
_LOSSY = (".jpg", ".jpeg")


def read_folder(
    images: str | Path,
    masks: str | Path | None = None,
    classes: ClassList | str | Path | None = None,
    resolution: int | None = None,
    partial: bool = False,
    otherwise: ClassList | None = None,
) -> LabelledImages:
    """Read a folder of images, and the masks that belong to them.

    An image and its mask have the same stem (``cat.jpg``, ``cat.png``); the result is sorted by stem. The classes are,
    by the first of these that applies:

    1. the argument: a list, or a ``.json`` or ``.txt`` file as below;
    2. ``classes.json`` in the mask folder: a list of names, or ``{"names": [...], "palette": [[r, g, b], ...]}``;
    3. ``classes.txt`` in the mask folder: one class a line, ``name`` or ``name #rrggbb``;
    4. ``otherwise``;
    5. the masks: as many classes as the largest id in use says, with the colours of the first index mask.

    An image that is not square is centred on a black square whose margin is "ignore" in the mask; ``valid`` says where
    the picture is. Inversion leaves the margin out too.

    Args:
        images: folder of images.
        masks: folder of masks; None: images only.
        classes: class list, or its file.
        resolution: resize every (padded) image to this many pixels a side, by area, masks by nearest neighbour.
            None: as they are, which must be one size.
        partial: only some of the images are labelled yet: those without a mask are left out instead of refused.
        otherwise: the classes of a folder that names none.

    Raises:
        GanvasError: a missing or empty folder, a partner missing, sizes that differ, or an unreadable file.
    """
    pictures = by_stem(Path(images), "images")
    labels = None if masks is None else _partners(pictures, Path(images), Path(masks), partial)
    if labels is not None and partial:
        pictures = {stem: file for stem, file in pictures.items() if stem in labels}
    listed = None if labels is None else find_classes(Path(masks), list(labels.values()), classes, otherwise)
    rows, targets, windows = [], [], []
    for stem, file in pictures.items():
        image = read_image(file)
        mask = None if labels is None else read_mask(labels[stem], listed)
        if mask is not None and mask.shape != image.shape[1:]:
            raise GanvasError(f"The mask {labels[stem]} is {_size(mask)}, but its image {file} is {_size(image)}; "
                              "make them the same size.")
        windows.append(window(*image.shape[1:], resolution))
        image = to_square(image, resolution)
        rows.append(image)
        targets.append(None if mask is None else mask_to_square(mask, resolution))
        if image.shape != rows[0].shape:
            raise GanvasError(f"{file} is {_size(image)}, but the images before it are {_size(rows[0])} (in a square); "
                              "give a resolution to resize them all.")
    return LabelledImages(
        images=np.stack(rows),
        masks=None if labels is None else np.stack(targets),
        names=tuple(pictures),
        classes=listed,
        valid=np.array(windows, dtype=np.int64),
    )


def write_folder(labelled: LabelledImages, out: str | Path) -> Path:
    """Write ``out/images/*.png``, and ``out/masks/*.png`` with ``classes.json`` where there are masks.

    ``read_folder(out/images, out/masks)`` reads them back, pixel for pixel.

    Raises:
        GanvasError: if ``out`` already holds files.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise GanvasError(f"{out} already exists and is not an empty folder; choose another place.")
    (out / "images").mkdir(parents=True)
    for name, image in zip(labelled.names, labelled.images, strict=True):
        write_image(out / "images" / f"{name}.png", image)
    if labelled.masks is not None and labelled.classes is not None:
        (out / "masks").mkdir()
        (out / "masks" / "classes.json").write_text(json.dumps(labelled.classes.to_json()) + "\n", encoding="utf-8")
        for name, mask in zip(labelled.names, labelled.masks, strict=True):
            write_mask(out / "masks" / f"{name}.png", mask, labelled.classes)
    return out


def find_classes(
    folder: Path,
    files: list[Path],
    given: ClassList | str | Path | None = None,
    otherwise: ClassList | None = None,
) -> ClassList:
    """The class list of a mask folder, by the rules of ``read_folder``; the log says which one applied.

    Raises:
        GanvasError: an unusable class file, or masks that do not tell their classes.
    """
    if isinstance(given, ClassList):
        return given
    if given is not None:
        return read_classes(Path(given))
    for name in ("classes.json", "classes.txt"):
        if (folder / name).is_file():
            log.info("classes from %s", folder / name)
            return read_classes(folder / name)
    if otherwise is not None:
        return otherwise
    inferred = _infer_classes(files, folder)
    log.info("%d classes inferred from the ids in %s", len(inferred), folder)
    return inferred


def read_classes(path: Path) -> ClassList:
    """Read ``classes.json`` or ``classes.txt``.

    Raises:
        GanvasError: if it is missing or not as described in ``read_folder``.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".txt":
            return ClassList.from_lines(text)
        return ClassList.from_json(json.loads(text))
    except OSError as error:
        raise GanvasError(f"The class file {path} cannot be read ({error.strerror}).") from error
    except ValueError as error:   # also undecodable text and broken JSON
        raise GanvasError(f"The class file {path} is not usable: {error}.") from error


def _infer_classes(files: list[Path], folder: Path) -> ClassList:
    used: set[int] = set()
    palette = None
    for file in files:
        image = open_mask(file)
        if image.mode not in ("P", "L", "1"):
            raise GanvasError(f"The mask {file} holds colours (kind {image.mode}), which tell no class ids; "
                              f"put a classes.json with names and palette into {folder}.")
        if image.mode == "P" and palette is None:
            palette = stored_palette(image)
        used |= {int(i) for i in np.unique(np.asarray(image))}
    if used <= {0, IGNORE} and IGNORE in used:
        raise GanvasError(f"The masks in {folder} hold only 0 and 255, and 255 means 'ignore'; save the object as 1, "
                          "or name the classes in classes.json.")
    count = max(used - {IGNORE}, default=0) + 1
    names = tuple(f"class {i}" for i in range(count))
    try:
        return ClassList(names, palette[:count])
    except (TypeError, ValueError):   # no palette, a short one, or one that gives two classes the same colour
        return ClassList(names, voc_palette(count))


def is_image(file: Path) -> bool:
    """Whether a file's name is that of an image that is not hidden."""
    return file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".")


def has_images(folder: Path) -> bool:
    """Whether there is such a folder, with an image in it."""
    return folder.is_dir() and any(is_image(file) for file in folder.iterdir())


def by_stem(folder: Path, what: str) -> dict[str, Path]:
    """The images of a folder by their names without ending, sorted.

    Args:
        folder: where.
        what: they are, for sentences.

    Raises:
        GanvasError: if there is no such folder, it has none, or two have the same stem.
    """
    if not folder.is_dir():
        raise GanvasError(f"There is no folder {folder} for the {what}.")
    found: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        if not is_image(file):
            continue
        if file.stem in found:
            raise GanvasError(f"{found[file.stem]} and {file.name} have the same stem; rename one of them.")
        found[file.stem] = file
    if not found:
        raise GanvasError(f"The folder {folder} holds no {what} ({', '.join(IMAGE_SUFFIXES)}).")
    return dict(sorted(found.items()))


def _partners(pictures: dict[str, Path], images: Path, masks: Path, partial: bool = False) -> dict[str, Path]:
    """The masks by stem, one an image; if ``partial``, an image may do without."""
    labels = by_stem(masks, "masks")
    for stem, file in pictures.items():
        if stem not in labels and not partial:
            raise GanvasError(f"The image {file} has no mask {stem}.png in {masks}; add it, or move the image away.")
    for stem, file in labels.items():
        if stem not in pictures:
            raise GanvasError(f"The mask {file} has no image of that name in {images}; add it, or move the mask away.")
        if file.suffix.lower() in _LOSSY:
            raise GanvasError(f"The mask {file} is a JPEG, which changes class ids; save it as PNG.")
    return labels


def _size(array: np.ndarray) -> str:
    return f"{array.shape[-1]}x{array.shape[-2]}"
