"""``ganvas edit generator= vector=``: edits of codes alone, where no branch says which parts they are about."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from omegaconf import DictConfig

from editors.changes import Changed
from editors.generator import GeneratorEditor
from editors.sequence import EditSequence
from launch import edit_blobs
from launch.edit_changes import LATENTS, SHEET, record_changes, save_pictures
from launch.edit_collage import OTHERS, pictures_of
from launch.edit_vectors import check_strengths, vectors_of
from launch.figures import Figure, Protocol, all_by, write_config
from launch.hardware import require_device
from launch.loggers import check_loggers
from launch.reports.edits import code_sheet, strip
from networks.blobgan import BlobGenerator
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.generators import load_generator
from networks.grids import save_png, to_uint8
from networks.latent import Latent

STRIP = "strip.png"


@dataclass(frozen=True)
class Moved(Changed):
    """Pictures before and after, all of which may change, and their codes."""

    before: Latent
    after: Latent = field(repr=False)


def run(cfg: DictConfig) -> None:
    """Edit, and write ``images/``, the edited codes, a sheet, a strip over strengths and ``figures.json``.

    Raises:
        GanvasError: if options contradict one another, or the vectors do not fit the codes.
    """
    check(cfg)
    begun, generator = time.monotonic(), load_generator(cfg.generator).to(cfg.device)
    if isinstance(generator, BlobGenerator):   # out of a foreign file, which says so only now
        edit_blobs.run(cfg)
        return
    editor, vector = GeneratorEditor(generator), vectors_of(cfg)
    if vector is None:
        raise ValueError("an edit of codes needs a vector")
    pictures = pictures_of(cfg, editor)
    edited = moved(editor, pictures.latent, vector)
    out = Path(cfg.out)
    save_pictures(cfg, out, list(to_uint8(edited.image)), edited.after, pictures.names)
    write_config(out, cfg)
    save_png(np.asarray(code_sheet(edited)), out / SHEET)
    save_png(np.asarray(strip(editor, edited.before, vector, cfg.strip)), out / STRIP)
    change = float(edited.inside.mean())
    protocol = Protocol(*pictures.source, len(edited), generator=generator.hash)
    figures = all_by(protocol, {"change": change})
    if pictures.psnr:
        figures["psnr"] = Figure(float(np.mean(pictures.psnr)), protocol)
    seconds = time.monotonic() - begun
    record_changes(cfg, edited, pictures.names, figures, pictures.source, seconds, "projection and pictures included")
    print("\n".join([f"images: {len(edited)}", *(f"{name}: {each.value:.4g}" for name, each in figures.items()),
                     f"strip: {out / STRIP}", f"sheet: {out / SHEET}", f"latents: {out / LATENTS}",
                     f"folder: {out / 'images'}"]))  # fmt: skip


def check(cfg: DictConfig) -> None:
    """Refuse what can be refused before a network is read.

    Raises:
        GanvasError: naming the options.
    """
    check_loggers(cfg)
    require_device(cfg.device)
    others = [key for key in (*OTHERS, "mask", "classes", "paste") if key != "vector" and cfg[key]]
    if others:
        raise GanvasError(f"{others[0]}= does not go with vector= and generator= alone: an edit of parts needs "
                          "segmentation=, the bundle of a branch.")  # fmt: skip
    if bool(cfg.image) == bool(cfg.latents):
        raise GanvasError("give one of image= and latents=: what is to be edited.")
    check_strengths(cfg)


def moved(editor: GeneratorEditor, latent: Latent, vector: EditSequence) -> Moved:
    """Pictures of codes and of what an edit makes of them.

    Raises:
        GanvasError: if it does not fit the codes.
    """
    latent = latent.to(editor.generator.device)
    try:
        after = vector.apply(editor.generator, latent)
    except ValueError as error:
        raise GanvasError(f"the vector cannot be applied: {error}") from error
    images = [editor.render(codes).cpu() for codes in (latent, after)]
    return Moved(*images, torch.ones_like(images[0][:, 0]), latent.to("cpu"), after.to("cpu"))
