"""``ganvas edit``: images changed by a wished mask, a program that makes one, or editing vectors.

Scenes are edited by their blobs in :mod:`launch.edit_blobs`, regions as a collage in :mod:`launch.edit_collage`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from omegaconf import DictConfig
from torch import Tensor

from datamodules.folder import IMAGE_SUFFIXES
from editors.alignment import Alignment
from editors.compositing import PASTES, paste
from editors.images import to_tensor
from editors.loading import load
from editors.mask_edit import Edited, EditSettings
from editors.mask_programs import parse_program
from editors.regions import edited_classes
from editors.segmentation import Segmentation, SegmentationEditor
from editors.sequence import EditSequence
from launch import edit_blobs, edit_codes, edit_collage, edit_text
from launch.edit_vectors import NAME, check_strengths, vectors_of
from launch.figures import Figure, Protocol, Source, all_by, values, write_config, write_figures
from launch.files import file_of_each, files_of
from launch.hardware import machine, require_device
from launch.limits import require_at_least, require_finite
from launch.loggers import check_loggers, log_result
from launch.options import arguments
from launch.reports.edits import change_sheet, strip
from networks.checkpoints.bundle import read_manifest
from networks.checkpoints.edits import save_edit
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.foreign import is_foreign
from networks.checkpoints.images import read_image
from networks.checkpoints.landmarks import SUFFIXES, read_landmarks
from networks.checkpoints.latents import load_latent, save_latent
from networks.checkpoints.masks import read_mask, write_mask
from networks.checkpoints.zoo import resolve
from networks.grids import save_png, to_uint8
from networks.latent import item_names
from networks.metrics.uncertainty import image_uncertainty

SHEET, STRIP, LATENTS, VECTOR = "sheet.png", "strip.png", "latents.safetensors", "vector.safetensors"  # in out=
BLOBS_ONLY = (*edit_blobs.OPTIONS, "script")


def run(cfg: DictConfig) -> None:
    """Edit, and write ``images/``, ``masks/``, the codes, a sheet, ``figures.json``, and a strip or the vector.

    Everything is written when all images are done. For other things than masks and vectors see :mod:`launch.edit_text`,
    :mod:`launch.edit_collage` and :mod:`launch.edit_blobs`; for vectors without a branch :mod:`launch.edit_codes`.

    Raises:
        GanvasError: if nothing or two things say what to change or where, or what is given cannot be used.
    """
    _check_factors(cfg)
    if cfg.text is not None or cfg.mapper:
        edit_text.run(cfg)
        return
    if _is_collage(cfg):
        edit_collage.run(cfg)
        return
    if cfg.vector and _of_codes(cfg):
        edit_codes.run(cfg)
        return
    if cfg.layout or (cfg.generator and not cfg.segmentation):
        edit_blobs.run(cfg)
        return
    check(cfg)
    begun, editor = time.monotonic(), _editor(cfg)
    vector = vectors_of(cfg)
    seen, names, photos, source = images_of(cfg, editor)
    edited = _edited(cfg, editor, seen, names, vector, photos)
    for line in write(cfg, editor, edited, names, photos, vector):
        print(line)
    unsure = uncertainty(editor, seen, edited)
    numbers = edited.figures() | {name: float(each.mean()) for name, each in unsure.items()}
    figures = all_by(Protocol(*source, len(edited), generator=editor.generator.hash), numbers)
    figures["seconds"] = Figure(time.monotonic() - begun, Protocol(*source, len(edited), how="inversion included"))
    out, each = Path(cfg.out), _each(edited, names, unsure)
    write_figures(out, "edit", cfg, figures, time.monotonic() - begun, machine(cfg.device), each)
    log_result(cfg, "edit", out, values(figures), {"sheet": out / SHEET}, each, [out / LATENTS])


def _check_factors(cfg: DictConfig) -> None:
    """Refuse how far an edit of any kind goes, where that says nothing."""
    require_finite(cfg, "strength", "strip")
    if not cfg.strip:
        raise GanvasError("strip=[] shows nothing: give one factor of the strength or more, as strip=[0,1].")


def _is_collage(cfg: DictConfig) -> bool:
    """Whether regions are edited. Scripts of regions and of blobs are told apart by the generator."""
    if cfg.layout:
        return False
    if cfg.classmap or cfg.reference:
        return True
    return bool(cfg.script and not cfg.segmentation and not (cfg.generator and _draws_blobs(resolve(cfg.generator))))


def _of_codes(cfg: DictConfig) -> bool:
    """Whether there is a generator alone, of no blobs."""
    return bool(cfg.generator and not cfg.segmentation and not cfg.layout and not _draws_blobs(resolve(cfg.generator)))


def _draws_blobs(path: Path) -> bool:
    return path.is_file() and not is_foreign(path) and read_manifest(path)["kind"] == "blobgan"


def check(cfg: DictConfig) -> None:
    """Refuse what can be refused before a network is read.

    Raises:
        GanvasError: naming the options.
    """
    check_loggers(cfg)
    require_device(cfg.device)
    if not cfg.segmentation:
        raise GanvasError("`ganvas edit` needs segmentation=FILE, the bundle of a branch; or generator=FILE with "
                          "text= or vector=, with layout= or image= for blobs, or with classmap=, reference= or "
                          "script= for a collage.")  # fmt: skip
    if given := [key for key in BLOBS_ONLY if cfg[key]]:
        raise GanvasError(f"{given[0]}= is for blobs: give layout=FILE, scenes as `ganvas sample` drew them, and no "
                          "segmentation=.")
    if cfg.method:
        raise GanvasError(f"method={cfg.method} is a way to edit by text: give text= too, or leave method= out.")
    if sum(bool(cfg[key]) for key in ("mask", "program", "vector")) != 1:
        raise GanvasError("give one of mask=, program= and vector=: what is to change.")
    if bool(cfg.image) == bool(cfg.latents):
        raise GanvasError("give one of image= and latents=: what is to be edited.")
    if cfg.paste is not None and cfg.paste not in PASTES:
        raise GanvasError(f"paste={cfg.paste} is not known: choose of {', '.join(PASTES)}, or leave it out.")
    if cfg.latents and (cfg.paste or cfg.mask or cfg.landmarks):
        key = "paste" if cfg.paste else "mask" if cfg.mask else "landmarks"
        raise GanvasError(f"{key}= needs the image itself: give image= instead of latents=.")
    if not cfg.vector and cfg.refine:
        raise GanvasError(f"refine={cfg.refine} takes back what a vector changed beside: it goes with vector= only.")
    require_at_least(cfg, {"refine": 0})
    check_strengths(cfg)


def _editor(cfg: DictConfig) -> SegmentationEditor:
    editor = load(cfg.segmentation, cfg.generator, cfg.device)
    if not isinstance(editor, SegmentationEditor):
        raise GanvasError(f"segmentation={cfg.segmentation} is a generator: give the bundle of a branch.")
    for name in cfg.classes:
        editor.classes.id_of(name)
    return editor


class Photo(NamedTuple):
    """An image as it was given."""

    pixels: np.ndarray              # uint8 [H, W, 3]
    alignment: Alignment | None     # where in it the face is that was cut out

    def seen(self, size: int) -> np.ndarray:
        """What is inverted: the face, or all of it."""
        return self.pixels if self.alignment is None else self.alignment.crop(self.pixels, size)

    def fitted(self, mask: np.ndarray, size: int) -> np.ndarray:
        """A wished mask for it; one of the photo's size is cut as the photo is."""
        whole = self.alignment is None or mask.shape != self.pixels.shape[:2]
        return mask if whole else self.alignment.crop_mask(mask, size)


def images_of(
    cfg: DictConfig, editor: SegmentationEditor
) -> tuple[Segmentation, tuple[str, ...], list[Photo], Source]:
    """What is to be edited, segmented; names; the photos (none of codes); and which they are.

    Raises:
        GanvasError: if there is nothing there, or it cannot be used.
    """
    if cfg.latents:
        latent, names = load_latent(cfg.latents)
        names = item_names(len(latent), names)
        return editor.segment(latent.to(cfg.device)), names, [], Source(f"codes of {cfg.latents}")
    paths = files_of(Path(cfg.image), "image")
    names = tuple(path.stem for path in paths)
    alignments: list[Alignment | None] = [None] * len(paths)
    if cfg.landmarks:
        files = file_of_each(Path(cfg.landmarks), "landmarks", names, SUFFIXES)
        alignments = [Alignment.of(read_landmarks(file)) for file in files]
    pixels = (np.ascontiguousarray(read_image(path).transpose(1, 2, 0)) for path in paths)
    photos = [Photo(*pair) for pair in zip(pixels, alignments, strict=True)]
    seen = editor.segment([to_tensor(photo.seen(editor.generator.img_resolution)) for photo in photos])
    return seen, names, photos, Source(f"images of {cfg.image}" + (", aligned" if cfg.landmarks else ""))


def _edited(
    cfg: DictConfig, editor: SegmentationEditor, seen: Segmentation, names: Sequence[str], vector: EditSequence | None,
    photos: Sequence[Photo],
) -> Edited:  # fmt: skip
    settings = EditSettings(**arguments(cfg.edit))
    if vector is not None:
        return editor.apply(seen, vector, 1.0, cfg.refine, settings)
    wish: Any = parse_program(cfg.program) if cfg.program else _masks(cfg, editor, names, photos)
    return editor.edit(seen, wish, list(cfg.classes) or None, settings, names)


def _masks(
    cfg: DictConfig, editor: SegmentationEditor, names: Sequence[str], photos: Sequence[Photo]
) -> list[np.ndarray]:
    """The wished mask of each image, found by its name."""
    files = file_of_each(Path(cfg.mask), "mask", names, IMAGE_SUFFIXES)
    masks = (read_mask(file, editor.classes) for file in files)
    size = editor.generator.img_resolution
    return [photo.fitted(mask, size) for photo, mask in zip(photos, masks, strict=True)]


def write(
    cfg: DictConfig, editor: SegmentationEditor, edited: Edited, names: Sequence[str], photos: Sequence[Photo],
    vector: EditSequence | None,
) -> list[str]:  # fmt: skip
    """Write the results; returns the lines that end the command."""
    out, pixels = Path(cfg.out), to_uint8(edited.image)
    if cfg.paste:
        regions = edited.region.numpy()
        shown = [
            paste(photo.pixels, image, region, cfg.paste, photo.alignment)
            for photo, image, region in zip(photos, pixels, regions, strict=True)
        ]
    else:
        shown = list(pixels)
    for name, image, mask in zip(names, shown, edited.mask.numpy(), strict=True):
        save_png(image, out / "images" / f"{name}.png")
        write_mask(out / "masks" / f"{name}.png", mask, editor.classes)
    write_config(out, cfg)
    save_latent(out / LATENTS, edited.after, names, {"command": cfg.command})
    save_png(np.asarray(change_sheet(edited, editor.classes)), out / SHEET)
    lines = [f"{name}: {value:.4g}" for name, value in edited.figures().items()]
    if vector is None:
        region = tuple(cfg.classes) or _named(edited, editor)
        learned = edited.vector(region, cfg.name or NAME)
        lines.append(f"vector: {save_edit(out / VECTOR, learned, {'command': cfg.command})}")
    else:
        save_png(np.asarray(strip(editor, edited.before, vector, cfg.strip)), out / STRIP)
        lines.append(f"strip: {out / STRIP}")
    return [f"images: {len(edited)}", *lines, f"sheet: {out / SHEET}", f"folder: {out / 'images'}"]


def _named(edited: Edited, editor: SegmentationEditor) -> tuple[str, ...]:
    """Names of the classes that come or go in any of the edits."""
    pairs = zip(edited.mask_before, edited.target, strict=True)
    return tuple(editor.classes.names[k] for k in sorted({k for pair in pairs for k in edited_classes(*pair)}))


def uncertainty(editor: SegmentationEditor, seen: Segmentation, edited: Edited) -> dict[str, Tensor]:
    """The members' disagreement before and after, of each image ``[N]``: an edit that raises it left what they know."""
    after = editor.segment(edited.after, progress=False).uncertainty
    return {
        "uncertainty_before": image_uncertainty(seen.uncertainty), "uncertainty_after": image_uncertainty(after)
    }  # fmt: skip


def _each(edited: Edited, names: Sequence[str], unsure: Mapping[str, Tensor]) -> list[dict[str, Any]]:
    columns = {name: getattr(edited, name).tolist() for name in ("agreement", "inside", "outside")}
    columns |= {name: each.tolist() for name, each in unsure.items()}
    return [
        {"name": name, **{key: column[i] for key, column in columns.items()}} for i, name in enumerate(names)
    ]
