"""``ganvas edit`` of a BlobGAN: scenes, or images of them, edited by their blobs, completed, or by a saved edit."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from editors.blob_completion import Completed, CompletionSettings
from editors.blobs import BlobEdited, BlobEditor, Steps, require_layout
from editors.invert import invert
from editors.loading import load
from launch.edit_changes import LATENTS, SHEET, record_changes, save_pictures
from launch.edit_scripts import read_script
from launch.edit_vectors import NAME, check_strengths, vector_of
from launch.figures import Figure, Protocol, Source, all_by, write_config
from launch.hardware import require_device
from launch.invert import read_images
from launch.limits import require_at_least
from launch.loggers import check_loggers
from launch.reports.blobs import blob_change_sheet, blob_strip, blob_video
from networks.checkpoints.atomic import atomic_path
from networks.checkpoints.edits import save_edit
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.latents import load_latent
from networks.grids import save_png, to_uint8
from networks.latent import HIDDEN, Latent, item_names
from networks.latent_edit import LatentEdit

WAYS = ("move", "program", "script", "vector", "like", "keep")
MASKS_ONLY = ("segmentation", "landmarks", "latents", "mask", "classes", "refine", "paste", "classmap", "reference")
OPTIONS = ("source", "scenes", "move", "like", "keep", "only_places", "seed", "video")   # of scenes of blobs alone
STRIP, VIDEO, VECTOR = "strip.png", "video.gif", "vector.safetensors"
SECONDS = 2.0  # that a video lasts, and the last picture stays for another


def run(cfg: DictConfig) -> None:
    """Edit, and write ``images/``, the layouts, the edit, a sheet, a strip, ``figures.json``, and maybe a video.

    Raises:
        GanvasError: if options contradict one another, or what is given cannot be used.
    """
    check(cfg)
    begun, editor = time.monotonic(), _editor(cfg)
    given, all_names, source = _given(cfg, editor)
    chosen = _chosen(cfg, len(given))
    latent, names = given[chosen], tuple(all_names[i] for i in chosen)
    settings = CompletionSettings(content=not cfg.only_places)
    completed = editor.complete(latent, list(cfg.keep), cfg.seed, settings) if cfg.keep else None
    edit = _edit(cfg, editor, given, latent, completed)
    edited = editor.edit(latent, edit)
    for scene, blob in edited.unseen:
        print(f"warning: blob {blob} of scene {names[scene]} lies outside the image, where it cannot be seen",
              file=sys.stderr)  # fmt: skip
    lines = write(cfg, editor, edited, names, edit)
    figures = all_by(Protocol(*source, len(edited), generator=editor.generator.hash), edited.figures())
    if completed is not None:
        distance = float(completed.distance.mean())
        figures["distance"] = Figure(distance, figures["inside"].protocol)
        lines.insert(0, f"distance: {distance:.4g}")
    record_changes(cfg, edited, names, figures, source, time.monotonic() - begun, "pictures included")
    print("\n".join([f"scenes: {len(edited)}", *lines]))


def check(cfg: DictConfig) -> None:
    """Refuse what can be refused before a network is read.

    Raises:
        GanvasError: naming the options.
    """
    check_loggers(cfg)
    require_device(cfg.device)
    require_at_least(cfg, {"video": 0, "seed": 0})
    if given := [key for key in MASKS_ONLY if cfg[key]]:
        raise GanvasError(f"{given[0]}= does not go with layout= or an image= without segmentation=, whose scenes are "
                          "edited by their blobs.")  # fmt: skip
    if not cfg.generator:
        raise GanvasError("layout= needs generator=FILE, the bundle of the BlobGAN that drew it.")
    if bool(cfg.layout) == bool(cfg.image):
        raise GanvasError("give one of layout= and image=: whose blobs are to be edited.")
    if sum(bool(cfg[key]) for key in WAYS) != 1:
        raise GanvasError(f"give one of {', '.join(f'{key}=' for key in WAYS)}: what is to happen to the blobs.")
    check_strengths(cfg)
    if not cfg.vector and len(cfg.strength) != 1:
        raise GanvasError(f"strength={list(cfg.strength)} must be one number; a step of a script may have its own.")
    if cfg.source and not (cfg.program or cfg.script):
        way = next(key for key in WAYS if cfg[key])
        raise GanvasError(f"source= is for steps of program= or script= that take something from other scenes, and "
                          f"{way}= takes nothing: leave it out.")  # fmt: skip
    if not cfg.keep and (cfg.seed or cfg.only_places):
        key = "seed" if cfg.seed else "only_places"
        raise GanvasError(f"{key}= is of what keep= draws anew, and nothing is drawn here: leave it out.")
    if cfg.video == 1:
        raise GanvasError("video=1 does not move: give 2 frames or more.")


def steps_of(cfg: DictConfig) -> Steps:
    """The steps that ``move=``, ``program=`` or ``script=`` gives.

    Raises:
        GanvasError: if they cannot be read.
    """
    if cfg.move:
        found = re.fullmatch(r"([^:]+):([^,:]+),([^,:]+)", cfg.move.replace(" ", ""))
        if found is None:
            raise GanvasError(f"move={cfg.move} must read BLOB:RIGHT,DOWN, as move=3:+0.2,0.")
        return [f"move {' '.join(found.groups())}"]
    if cfg.program:
        return cfg.program
    return read_script(cfg.script, "{do: move, blobs: 3, right: 0.2, down: 0}", words=True)


def _editor(cfg: DictConfig) -> BlobEditor:
    editor = load(cfg.generator, device=cfg.device)
    if not isinstance(editor, BlobEditor):
        raise GanvasError(f"generator={cfg.generator} is no BlobGAN, and only that has blobs: give a bundle of one, or "
                          "segmentation=FILE for masks.")  # fmt: skip
    return editor


def _given(cfg: DictConfig, editor: BlobEditor) -> tuple[Latent, tuple[str, ...], Source]:
    """The scenes to edit, their names, and which they are; images are inverted into blobs."""
    if cfg.layout:
        return *_scenes(cfg.layout, editor, "layout"), Source(f"scenes of {cfg.layout}")
    pixels, windows, names = read_images(Path(cfg.image), editor.generator, "image")
    found = invert(
        editor.generator, pixels, cache=editor.cache, names=names, progress=True, windows=windows
    )  # fmt: skip
    print(f"inverted at {found.psnr.mean():.1f} dB on average, the worst at {found.psnr.min():.1f} dB")
    return found.latent, names, Source(f"images of {cfg.image}", "inverted")


def _scenes(path: str, editor: BlobEditor, key: str) -> tuple[Latent, tuple[str, ...]]:
    latent, names = load_latent(path)
    require_layout(latent, editor.generator, f"the scenes of {key}={path}")
    return latent, item_names(len(latent), names)


def _chosen(cfg: DictConfig, count: int) -> list[int]:
    chosen = list(cfg.scenes) or list(range(count))
    if absent := [i for i in chosen if not 0 <= i < count]:
        raise GanvasError(f"scenes={list(cfg.scenes)} names scene {absent[0]}, and {cfg.layout or cfg.image} has 0 to "
                          f"{count - 1}.")  # fmt: skip
    return chosen


def _edit(
    cfg: DictConfig, editor: BlobEditor, given: Latent, latent: Latent, completed: Completed | None
) -> LatentEdit:  # fmt: skip
    """The edit at its strength, of the scenes ``latent`` among those given."""
    if vector := vector_of(cfg):
        return replace(vector, name=cfg.name) if cfg.name else vector
    if completed is not None:
        made = replace(completed.edit, name=cfg.name or NAME)
    elif cfg.like:
        made = replace(editor.match_styles(latent, _like(cfg, editor, len(latent))), name=cfg.name or NAME)
    else:
        source = _scenes(cfg.source, editor, "source")[0] if cfg.source else given
        made = editor.vector(steps_of(cfg), source, cfg.name or NAME)
    try:
        return made * cfg.strength[0]
    except ValueError as error:
        raise GanvasError(f"strength={cfg.strength[0]}: {error}.") from error


def _like(cfg: DictConfig, editor: BlobEditor, count: int) -> Latent:
    """The scenes whose look is taken."""
    found, _ = _scenes(cfg.like, editor, "like")
    if len(found) != count or HIDDEN not in found.tensors:
        has = f"{len(found)} scenes" if len(found) != count else "edited scenes, which have no code to begin at"
        raise GanvasError(f"like={cfg.like} has {has}: give {count} as `ganvas sample` drew them, one for each that is "
                          "edited.")  # fmt: skip
    return found


def write(
    cfg: DictConfig, editor: BlobEditor, edited: BlobEdited, names: Sequence[str], edit: LatentEdit
) -> list[str]:  # fmt: skip
    """Write the results; returns the lines that end the command.

    Everything is drawn before anything is written: a strength on the way may be one that cannot be drawn.
    """
    out, before, sheet = Path(cfg.out), edited.before, blob_change_sheet(editor, edited)
    strip, partners = blob_strip(editor, before, edit, cfg.strip), []
    for scene, layout in editor.partners(before, edit).items():
        partner = layout.latent(editor.generator.hash)
        partners.append((scene, partner, to_uint8(editor.render(partner))))
    frames = blob_video(editor, before, edit, cfg.video) if cfg.video else []
    save_pictures(cfg, out, to_uint8(edited.image), edited.after, names)
    write_config(out, cfg)
    save_png(np.asarray(sheet), out / SHEET)
    lines = [f"{name}: {value:.4g}" for name, value in edited.figures().items()]
    lines.append(f"vector: {save_edit(out / VECTOR, edit, {'command': cfg.command})}")
    save_png(np.asarray(strip), out / STRIP)
    lines.append(f"strip: {out / STRIP}")
    for scene, partner, pixels in partners:
        save_pictures(cfg, out / f"scene_{scene}", pixels, partner, names)
        lines.append(f"scene {scene}, which was changed too: {out / f'scene_{scene}'}")
    if frames:
        first, *rest = frames
        each = round(1000 * SECONDS / cfg.video)
        pauses = [each] * (cfg.video - 1) + [round(1000 * SECONDS)]
        with atomic_path(out / VIDEO) as temporary:
            first.save(temporary, format="GIF", save_all=True, append_images=rest, duration=pauses, loop=0)
        lines.append(f"video: {out / VIDEO}")
    return [*lines, f"sheet: {out / SHEET}", f"layout: {out / LATENTS}"]
