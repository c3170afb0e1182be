"""``ganvas invert``: the codes of real images, with what they render to and how close that is."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from omegaconf import DictConfig
from PIL import Image
from torch import Tensor

from datamodules.folder import read_folder
from editors.images import gather
from editors.inversion_cache import InversionCache
from editors.invert import Inversion, InversionSettings, invert
from launch.data import refuse_image_options
from launch.errors import Interrupted
from launch.figures import Figure, Protocol, Source, values, write_config, write_figures
from launch.hardware import machine, require_device
from launch.limits import require_at_least
from launch.loggers import check_loggers, log_result
from launch.options import arguments
from launch.rendered import is_rendered, name_of, render
from launch.reports.pictures import heat, panels
from networks.checkpoints.atomic import atomic_path
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.generators import load_generator
from networks.checkpoints.latents import save_latent
from networks.grids import save_png, to_uint8
from networks.protocol import Generator

POOR = 15.0          # dB: codes below it show another picture
NAMED = 4            # of these so many are named
HELDOUT = 100        # rendered images where n= says nothing
SHOWN = 64           # images on the contact sheet
PANEL = 128          # pixels a side of a panel on it, at least
SHEET, LATENTS = "contact_sheet.png", "latents.safetensors"   # files in out=
LARGEST_ERROR = 0.5  # mean absolute difference in [0, 1] that is painted white


def run(cfg: DictConfig) -> None:
    """Invert images and write ``latents.safetensors``, ``reconstructions/``, a contact sheet and ``figures.json``.

    Files are written when all images are done. A run that stops before keeps its finished images in the cache; the
    same command goes on from there.

    Raises:
        GanvasError: if the images or the generator cannot be used.
        Interrupted: on Ctrl-C, saying how to go on.
    """
    require_device(cfg.device)
    check_loggers(cfg)
    begun, settings = time.monotonic(), inversion_settings(cfg.inversion)
    generator = load_generator(cfg.generator).to(cfg.device)
    images, windows, names, source = images_of(cfg, generator)
    cache = InversionCache()
    try:
        found = invert(generator, images, settings, cache=cache, names=names, progress=True, windows=windows)
    except KeyboardInterrupt as stop:
        raise Interrupted(f"stopped; finished images are kept in {cache.folder}, the same command goes on.") from stop
    warn_of_poor(names, found)
    out, figures = Path(cfg.out), figures_of(found, source)
    for line in write(out, found, names, cfg):
        print(line)
    each = [
        {"name": name, "psnr": psnr, "perceptual": distance}
        for name, psnr, distance in zip(names, found.psnr.tolist(), found.distance.tolist(), strict=True)
    ]
    write_figures(out, "invert", cfg, figures, time.monotonic() - begun, machine(cfg.device), each)
    log_result(cfg, "invert", out, values(figures), {"contact sheet": out / SHEET}, each, [out / LATENTS])


def inversion_settings(options: DictConfig) -> InversionSettings:
    """The settings that ``options`` (``launch.schema_inversion.InversionConfig``) stand for.

    Raises:
        GanvasError: if a value makes no sense. Hydra's own ``instantiate`` would hide that sentence in a page.
    """
    return InversionSettings(**arguments(options))


def warn_of_poor(names: Sequence[str], found: Inversion) -> None:
    """Say of which images the codes did not come near, by their figures; their best codes are used all the same."""
    poor = sorted((psnr, name) for name, psnr in zip(names, found.psnr.tolist(), strict=True) if psnr < POOR)
    if poor:
        said = ", ".join(f"{name} ({psnr:.1f} dB)" for psnr, name in poor[:NAMED])
        more = f" and {len(poor) - NAMED} more" if len(poor) > NAMED else ""
        print(f"warning: the projection of {said}{more} did not converge; the best codes are kept (raise "
              "inversion.steps or inversion.starts)", file=sys.stderr)  # fmt: skip


def images_of(cfg: DictConfig, generator: Generator) -> tuple[Tensor, Tensor | None, tuple[str, ...], Source]:
    """What is to be inverted: images, where each lies in its square, names, and which they are.

    Raises:
        GanvasError: if nothing says which images, two things do, or they cannot be used.
    """
    if is_rendered(cfg.data):
        if cfg.images:
            raise GanvasError(f"images= and data={cfg.data.kind} both say what to invert: leave one of them out.")
        require_at_least(cfg, {"n": 1, "seed": 0})
        drawn = render(cfg.data, cfg.n or HELDOUT, "heldout", cfg.seed, generator.img_resolution, masks=False)
        source = Source(name_of(cfg.data), f"split heldout, seed {cfg.seed}")
        return torch.as_tensor(drawn.images), None, drawn.names, source
    if not cfg.images:
        raise GanvasError("nothing says what to invert: give images=, an image or a folder, or data=avatars.")
    if cfg.n is not None:
        raise GanvasError(f"n={cfg.n} counts held-out rendered images, and images= gives all it has: leave n= out.")
    refuse_image_options(cfg, "inversion")
    return *read_images(Path(cfg.images), generator), Source(f"images of {cfg.images}")


def read_images(path: Path, generator: Generator, key: str = "images") -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """One image or a folder of them, at the generator's resolution, where each lies in its square, and their names.

    ``key`` is what the path is called in sentences.

    Raises:
        GanvasError: if there is nothing there, or a file cannot be used.
    """
    size = generator.img_resolution
    if path.is_file():
        one = gather(path, generator.img_channels, size)
        return one.images, one.windows, (path.stem,)
    if not path.is_dir():
        raise GanvasError(f"{key}={path} is neither an image nor a folder; check the path.")
    folder = read_folder(path, resolution=size)
    return torch.as_tensor(folder.images), torch.as_tensor(folder.valid), folder.names


def write(out: Path, found: Inversion, names: Sequence[str], cfg: DictConfig) -> list[str]:
    """Write the results; returns the lines that end the command."""
    latents = save_latent(out / LATENTS, found.latent.to("cpu"), names, {"command": cfg.command})
    for name, pixels in zip(names, to_uint8(found.reconstruction), strict=True):
        save_png(pixels, out / "reconstructions" / f"{name}.png")
    write_config(out, cfg)
    sheet = out / SHEET
    with atomic_path(sheet) as temporary:
        contact_sheet(found).save(temporary, format="PNG")
    return [
        f"images: {len(names)}",
        f"psnr: {found.psnr.mean():.2f}",
        f"perceptual: {found.distance.mean():.4f}",
        f"contact sheet: {sheet}",
        f"latents: {latents}",
    ]


def figures_of(found: Inversion, source: Source) -> dict[str, Figure]:
    """How close the images that the codes render to are, on average."""
    count, owner = len(found.psnr), found.latent.generator_hash
    return {
        "psnr": Figure(found.psnr.mean().item(), Protocol(*source, count, generator=owner)),
        "perceptual": Figure(
            found.distance.mean().item(), Protocol(*source, count, network=found.settings.critic, generator=owner)
        ),
    }


def contact_sheet(found: Inversion) -> Image.Image:
    """The first images: original, reconstruction, and where they differ (black: equal; white: half of full scale)."""
    target, reconstruction = found.target[:SHOWN].cpu(), found.reconstruction[:SHOWN].cpu()
    error = (target - reconstruction).abs().mean(1) / 2
    columns = {
        "image": to_uint8(target),
        "inversion": to_uint8(reconstruction),
        "error": heat(error.numpy(), LARGEST_ERROR),
    }
    return panels(columns, across=4, scale=max(1, PANEL // target.shape[-1]))
