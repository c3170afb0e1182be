"""``ganvas edit classmap=``, ``reference=``, ``script=``: regions that take classes, or features of other pictures."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from omegaconf import DictConfig

from datamodules.folder import IMAGE_SUFFIXES
from editors.collage import Collaged, CollageEditor
from editors.collage_scripts import Codes, Sources, collage_steps
from editors.compositing import PASTES, paste
from editors.generator import GeneratorEditor
from editors.invert import invert
from launch import edit_blobs
from launch.collage_masks import MaskFit
from launch.edit_changes import LATENTS, SHEET, record_changes, save_pictures
from launch.edit_scripts import read_script
from launch.figures import Figure, Protocol, Source, all_by, write_config
from launch.files import file_of_each, files_of
from launch.hardware import require_device
from launch.invert import inversion_settings, read_images, warn_of_poor
from launch.limits import require_at_least
from launch.loggers import check_loggers
from launch.reports.collage import collage_sheet, collage_strip
from networks.checkpoints.collages import load_collage, save_collage
from networks.checkpoints.edits import save_edit
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.generators import load_generator
from networks.checkpoints.images import read_image
from networks.checkpoints.latent_files import read_codes
from networks.collage import CollageProgram
from networks.collage.render import stages_of
from networks.grids import save_png, to_uint8
from networks.latent import Latent, item_names

OTHERS = ("segmentation", "landmarks", "program", "vector", "refine", *edit_blobs.OPTIONS)
PLACING = {"item": None, "right": 0.0, "down": 0.0, "scale": 1.0, "mirror": False}   # of reference= alone, by default
STRIP, COLLAGE, VECTOR = "strip.png", "collage.safetensors", "vector.safetensors"


class Pictures(NamedTuple):
    """What is edited."""

    latent: Latent
    names: tuple[str, ...]
    photos: list[np.ndarray]      # uint8 [H, W, 3], as they were given; none of codes
    source: Source
    psnr: list[float]             # of their projections


def run(cfg: DictConfig) -> None:
    """Edit, and write ``images/``, the codes, the collage, a sheet, a strip and ``figures.json``.

    Raises:
        GanvasError: if options contradict one another, or what is given cannot be used.
    """
    check(cfg)
    begun, editor = time.monotonic(), _editor(cfg)
    pictures = pictures_of(cfg, editor)
    fit = MaskFit(pictures.photos, editor.generator.img_resolution)
    edited = editor.edit(pictures.latent, _program(cfg, editor, pictures, fit))
    lines = write(cfg, editor, edited, pictures, fit)
    protocol = Protocol(*pictures.source, len(edited), generator=editor.generator.hash)
    figures = all_by(protocol, edited.figures())
    if pictures.psnr:
        figures["psnr"] = Figure(float(np.mean(pictures.psnr)), protocol)
        lines.insert(0, f"psnr: {figures['psnr'].value:.2f}")
    seconds = time.monotonic() - begun
    record_changes(cfg, edited, pictures.names, figures, pictures.source, seconds, "projection and pictures included")
    print("\n".join([f"images: {len(edited)}", *lines]))


def check(cfg: DictConfig) -> None:
    """Refuse what can be refused before a network is read.

    Raises:
        GanvasError: naming the options.
    """
    check_loggers(cfg)
    require_device(cfg.device)
    if given := [key for key in OTHERS if cfg[key]]:
        raise GanvasError(f"{given[0]}= does not go with a collage: give generator=, what to edit, and classmap=, "
                          "reference= or script=.")  # fmt: skip
    if not cfg.generator:
        raise GanvasError("a collage needs generator=FILE: a class-conditional GAN's bundle, or StyleGAN2's.")
    if bool(cfg.image) == bool(cfg.latents):
        raise GanvasError("give one of image= and latents=: what is to be edited.")
    if cfg.script and (cfg.classmap or cfg.reference or cfg.mask):
        raise GanvasError("script= says all that classmap=, reference= and mask= would: give one or the other.")
    if not cfg.reference and (beside := [key for key, plain in PLACING.items() if cfg[key] != plain]):
        raise GanvasError(f"{beside[0]}= is about what is pasted: it goes with reference= only.")
    if cfg.mask and not cfg.reference:
        raise GanvasError("mask= says where reference= arrives; what becomes another class is painted in classmap=.")
    for key in ("classes", "codes"):
        if cfg[key] and not cfg.classmap:
            raise GanvasError(f"{key}= says what the colours of classmap= stand for: give classmap=FILE, too.")
    _check_values(cfg)


def _check_values(cfg: DictConfig) -> None:
    if cfg.paste is not None and cfg.paste not in PASTES:
        raise GanvasError(f"paste={cfg.paste} is not known: choose of {', '.join(PASTES)}, or leave it out.")
    if len(cfg.strength) != 1:
        raise GanvasError(f"strength={list(cfg.strength)} must be one number; a step of a script may have its own.")
    if not 0 <= cfg.strength[0] <= 1:
        raise GanvasError(f"strength={cfg.strength[0]} must be from 0 to 1, from nothing of a collage to all of it.")
    if not _factors(cfg):
        raise GanvasError(f"strip={list(cfg.strip)} has no factor from 0 to 1, and a collage has no others.")
    require_at_least(cfg, {"feather": 0})


def _factors(cfg: DictConfig) -> list[float]:
    return [factor for factor in cfg.strip if 0 <= factor <= 1]


def _editor(cfg: DictConfig) -> CollageEditor:
    generator = load_generator(cfg.generator).to(cfg.device)
    try:
        stages_of(generator)
    except ValueError as error:
        raise GanvasError(f"generator={cfg.generator} cannot be used: {error}.") from error
    return CollageEditor(generator)


def pictures_of(cfg: DictConfig, editor: GeneratorEditor) -> Pictures:
    """What ``latents=`` or ``image=`` says is to be edited; images are projected first.

    Raises:
        GanvasError: if it cannot be used.
    """
    if cfg.latents:
        latent, names = read_codes(cfg.latents, editor.generator)
        return Pictures(latent, item_names(len(latent), names), [], Source(f"codes of {cfg.latents}"), [])
    files = files_of(Path(cfg.image), "image")
    latent, names, psnr = _projected(cfg, editor, Path(cfg.image))
    photos = [np.ascontiguousarray(read_image(file).transpose(1, 2, 0)) for file in files]
    return Pictures(latent, names, photos, Source(f"images of {cfg.image}"), psnr)


def _projected(cfg: DictConfig, editor: GeneratorEditor, path: Path) -> tuple[Latent, tuple[str, ...], list[float]]:
    """Codes of an image or a folder of them, their names, and how near they come; says of each that is not near."""
    images, windows, names = read_images(path, editor.generator)
    settings = inversion_settings(cfg.inversion)
    found = invert(
        editor.generator, images, settings, cache=editor.cache, names=names, progress=True, windows=windows
    )
    warn_of_poor(names, found)
    return found.latent, names, found.psnr.tolist()


def _program(cfg: DictConfig, editor: CollageEditor, pictures: Pictures, fit: MaskFit) -> CollageProgram:
    """What is done, at its strength."""
    if cfg.script and Path(cfg.script).suffix == ".safetensors":
        program = editor.program(load_collage(cfg.script))
    else:
        folder = Path(cfg.script).parent if cfg.script else Path()
        steps = collage_steps(_data(cfg), editor, _sources(cfg, editor, pictures, fit, folder))
        program = editor.program(steps, cfg.preserve_variance)
    return program.scaled(cfg.strength[0])


def _data(cfg: DictConfig) -> list[dict[str, Any]]:
    """The steps of the script, or those that options stand for."""
    if cfg.script:
        return read_script(cfg.script, "{paint: CLASS, mask: FILE, strength: 1}")
    both: dict[str, Any] = {"feather": cfg.feather, "layers": list(cfg.layers)}
    steps: list[dict[str, Any]] = []
    if cfg.classmap:
        codes = {"codes": cfg.codes} if cfg.codes else {}
        steps.append({"map": cfg.classmap, "classes": list(cfg.classes), **codes, **both})
    if cfg.reference:
        steps.append({"paste": cfg.reference, "mask": cfg.mask, **{key: cfg[key] for key in PLACING}, **both})
    return steps


def _sources(cfg: DictConfig, editor: CollageEditor, pictures: Pictures, fit: MaskFit, folder: Path) -> Sources:
    def codes(path: Path) -> Codes:
        if path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES:
            latent, names, _ = _projected(cfg, editor, path)
            return latent, names
        return read_codes(path, editor.generator)

    def files(path: Path) -> Sequence[Path]:
        return [path] if not path.is_dir() else file_of_each(path, "mask", pictures.names, IMAGE_SUFFIXES)

    return Sources(codes, fit, files, len(pictures.latent), folder)


def write(
    cfg: DictConfig, editor: CollageEditor, edited: Collaged, pictures: Pictures, fit: MaskFit
) -> list[str]:  # fmt: skip
    """Write the results; returns the lines that end the command."""
    out, pixels, about = Path(cfg.out), to_uint8(edited.image), {"command": cfg.command}
    shown: Sequence[np.ndarray] = list(pixels)
    if cfg.paste:
        under = pictures.photos or list(to_uint8(edited.image_before))
        whole = any(step.mask is None for step in edited.program.steps)
        shown = [
            paste(*each, cfg.paste, within=None if whole else fit.within(i))
            for i, each in enumerate(zip(under, pixels, edited.region.numpy() >= 0.5, strict=True))
        ]
    save_pictures(cfg, out, shown, edited.before, pictures.names)
    write_config(out, cfg)
    save_png(np.asarray(collage_sheet(edited)), out / SHEET)
    save_png(np.asarray(collage_strip(editor, edited, _factors(cfg))), out / STRIP)
    lines = [f"{name}: {value:.4g}" for name, value in edited.figures().items()]
    lines.append(f"collage: {save_collage(out / COLLAGE, edited.program, about)}")
    if (edit := editor.latent_edit(edited.program)) is not None:
        lines.append(f"vector: {save_edit(out / VECTOR, edit, about)}")
    return [*lines, f"strip: {out / STRIP}", f"sheet: {out / SHEET}", f"latents: {out / LATENTS}",
            f"folder: {out / 'images'}"]  # fmt: skip
