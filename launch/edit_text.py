"""``ganvas edit text=``: images changed to what a text says, by a mapper, by descent or along a direction."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor

from datamodules.folder import IMAGE_SUFFIXES
from editors.generator import GeneratorEditor
from launch import edit_blobs
from launch.figures import Figure, Protocol, Source, values, write_config, write_figures
from launch.files import files_of
from launch.hardware import machine, require_device
from launch.limits import is_finite
from launch.loggers import check_loggers, log_result
from launch.reports.edits import SHOWN
from launch.reports.texts import strengths_sheet, text_sheet
from launch.text_methods import Found, Said, clip_of, find, generator_of
from networks.checkpoints.edits import save_edit
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.latent_files import read_codes
from networks.checkpoints.latents import save_latent
from networks.clip import ClipModel
from networks.grids import save_png, to_uint8
from networks.latent import Latent, item_names
from networks.latent_statistics import w_statistics
from networks.metrics.texts import directional_similarity, text_similarity
from networks.protocol import Generator

SHEET, STRIP, LATENTS, VECTOR = "sheet.png", "strip.png", "latents.safetensors", "vector.safetensors"   # in out=
# What needs a branch, or a scene of blobs.
OTHERS = ("segmentation", "landmarks", "mask", "program", "classes", "vector", "refine", "paste", "layout", "script",
          *edit_blobs.OPTIONS)  # fmt: skip
FAR = 1.5   # deviations of W: a step as long as this leads to where the generator was not trained


def run(cfg: DictConfig) -> None:
    """Edit, and write ``images/``, the codes, the edit, a sheet, a strip and ``figures.json``.

    Raises:
        GanvasError: if options contradict one another, or what is given cannot be used.
    """
    said = check(cfg)
    begun, generator = time.monotonic(), generator_of(cfg)
    clip = clip_of(cfg, said)
    editor = GeneratorEditor(generator)
    latent, names, given, source = _codes(cfg, editor)
    found = find(cfg, said, generator, clip, latent.to(cfg.device), names)
    strength = float(cfg.strength[0])
    after, columns = _finite(found, strength), _strip(cfg, editor, found)
    before_image, image = (editor.render(codes.to(cfg.device)).cpu() for codes in (found.before, after))
    each = scores(clip, said, before_image, image)
    protocol = Protocol(*source, len(names), str(clip.identity), generator.hash,
                        f"method {said.method}, strength {strength:g}")  # fmt: skip
    figures = {name: Figure(float(value.mean()), protocol) for name, value in each.items()}
    figures |= {name: Figure(value, protocol) for name, value in found.figures.items()}
    figures["seconds"] = Figure(time.monotonic() - begun, protocol)   # inversion included
    _warn(found, after, generator, clip, each)
    lines = [f"images: {len(names)}", f"text: {said.text} ({said.method})"]
    lines += [f"{name}: {figure.value:.4g}" for name, figure in figures.items()]
    print("\n".join([*lines, *_write(cfg, found, clip, names, (before_image, image, given), columns)]))
    rows: list[dict[str, Any]] = [
        {"name": name, **{key: float(value[i]) for key, value in each.items()}} for i, name in enumerate(names)
    ]
    out = Path(cfg.out)
    write_figures(out, "edit", cfg, figures, time.monotonic() - begun, machine(cfg.device), rows)
    log_result(cfg, "edit", out, values(figures), {"sheet": out / SHEET}, rows, [out / LATENTS])


def check(cfg: DictConfig) -> Said:
    """Refuse what can be refused before a network is read.

    Raises:
        GanvasError: naming the options.
    """
    check_loggers(cfg)
    require_device(cfg.device)
    if given := [key for key in OTHERS if cfg[key]]:
        raise GanvasError(f"{given[0]}= does not go with text= or mapper=: leave one of them out.")
    if bool(cfg.image) == bool(cfg.latents):
        raise GanvasError("give one of image= and latents=: what is to be edited.")
    if len(cfg.strength) != 1:
        raise GanvasError(f"strength={list(cfg.strength)} must be one number; strip= shows several.")
    return Said.of(cfg)


def _codes(cfg: DictConfig, editor: GeneratorEditor) -> tuple[Latent, tuple[str, ...], Tensor | None, Source]:
    """Codes, names, the images as they were given (None of codes), and which they are."""
    if cfg.latents:
        latent, names = read_codes(cfg.latents, editor.generator)
        return latent, item_names(len(latent), names), None, Source(f"codes of {cfg.latents}")
    paths = files_of(Path(cfg.image), "image", IMAGE_SUFFIXES)
    found = editor.invert(list(paths))
    return found.latent, tuple(path.stem for path in paths), found.target.cpu(), Source(f"images of {cfg.image}")


def _finite(found: Found, strength: float) -> Latent:
    """The codes at a strength, before anything is written of them."""
    codes = found.at(strength) if is_finite(strength) else None
    if codes is None or not all(bool(t.isfinite().all()) for t in codes.tensors.values()):
        raise GanvasError(f"the codes are no longer finite numbers at a strength of {strength:g}: lower strength= or "
                          "strip=, which are multiplied, or give another edit.")  # fmt: skip
    return codes


def _strip(cfg: DictConfig, editor: GeneratorEditor, found: Found) -> dict[str, Tensor]:
    """The first images by factor of the strength, ``[N, C, R, R]``."""
    moved = {f"{factor:g}": _finite(found, factor * cfg.strength[0])[:SHOWN] for factor in cfg.strip}
    return {caption: editor.render(codes.to(cfg.device)).cpu() for caption, codes in moved.items()}


@torch.no_grad()
def scores(clip: ClipModel, said: Said, before: Tensor, after: Tensor) -> dict[str, Tensor]:
    """How well each image ``[N]`` fits the text before and after, and how far it went the way of the text."""
    text, neutral = clip.encode_prompt(said.text), clip.encode_neutral(said.neutral)
    seen = [
        torch.cat([clip.encode_images(part.to(text.device)) for part in x.split(64)]) for x in (before, after)
    ]  # fmt: skip
    return {
        "fit_before": text_similarity(seen[0], text).cpu(), "fit": text_similarity(seen[1], text).cpu(),
        "along_text": directional_similarity(seen[1], seen[0], text, neutral).cpu(),
        "change": ((after - before).abs().flatten(1).mean(1) / 2),
    }  # fmt: skip


def _warn(found: Found, after: Latent, generator: Generator, clip: ClipModel, each: Mapping[str, Tensor]) -> None:
    """Say where an edit went further than the generator knows, or nowhere."""
    if found.before.space == "w+":
        step = (after.tensors["ws"].cpu() - found.before.tensors["ws"].cpu()).square().flatten(1).mean(1).sqrt()
        length = float(step.mean() / w_statistics(generator).std.cpu())
        if length > FAR:
            print(f"warning: the codes moved {length:.1f} deviations, further than the generator's own lie apart: "
                  "lower strength=", file=sys.stderr)  # fmt: skip
    if float(each["along_text"].mean()) <= 0:
        print(f"warning: in the eyes of {clip.identity} the images did not move towards the text: change strength=, or "
              "say it in other words", file=sys.stderr)  # fmt: skip


def _write(
    cfg: DictConfig, found: Found, clip: ClipModel, names: Sequence[str],
    images: tuple[Tensor, Tensor, Tensor | None], columns: Mapping[str, Tensor],
) -> list[str]:  # fmt: skip
    """Write the results; returns the lines that end the command."""
    out, (before, after, given) = Path(cfg.out), images
    for name, picture in zip(names, to_uint8(after), strict=True):
        save_png(picture, out / "images" / f"{name}.png")
    write_config(out, cfg)
    save_latent(out / LATENTS, found.at(float(cfg.strength[0])).to("cpu"), names, {"command": cfg.command})
    save_png(np.asarray(text_sheet(before, after, given)), out / SHEET)
    save_png(np.asarray(strengths_sheet(columns)), out / STRIP)
    lines = []
    if found.learned:
        saved = save_edit(out / VECTOR, found.edit, found.entries(clip.identity, cfg.command))
        lines.append(f"vector: {saved}")
    return [*lines, f"strip: {out / STRIP}", f"sheet: {out / SHEET}", f"folder: {out / 'images'}"]
