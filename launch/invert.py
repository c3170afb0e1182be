"""``ganvas invert``: the codes of real images, with what they render to and how close that is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from torch import Tensor

from datamodules.folder import read_folder
from editors.images import gather
from editors.inversion_cache import InversionCache
from editors.invert import Inversion, InversionSettings, invert
from launch.errors import Interrupted
from launch.reports.pictures import heat, panels
from networks.checkpoints.atomic import atomic_path
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.generators import load_generator
from networks.checkpoints.latents import save_latent
from networks.grids import save_png, to_uint8
from networks.protocol import Generator

SHOWN = 64           # images on the contact sheet
PANEL = 128          # pixels a side of a panel on it, at least
LARGEST_ERROR = 0.5  # mean absolute difference in [0, 1] that is painted white


def run(cfg: DictConfig) -> None:
    """Invert ``cfg.images`` and write ``latents.safetensors``, ``reconstructions/``, a contact sheet and figures.

    Files are written when all images are done. A run that stops before keeps its finished images in the cache; the
    same command goes on from there.

    Raises:
        GanvasError: if the images or the generator cannot be used.
        Interrupted: on Ctrl-C, saying how to go on.
    """
    if cfg.device.startswith("cuda") and not torch.cuda.is_available():
        raise GanvasError(f"device={cfg.device} but torch sees no GPU here: use device=cpu.")
    settings = inversion_settings(cfg.inversion)
    generator = load_generator(cfg.generator).to(cfg.device)
    images, windows, names = read_images(Path(cfg.images), generator)
    cache = InversionCache()
    try:
        found = invert(generator, images, settings, cache=cache, names=names, progress=True, windows=windows)
    except KeyboardInterrupt as stop:
        raise Interrupted(f"stopped; finished images are kept in {cache.folder}, the same command goes on.") from stop
    for line in write(Path(cfg.out), found, names, cfg):
        print(line)


def inversion_settings(options: DictConfig) -> InversionSettings:
    """The settings that ``options`` (``launch.schemas.InversionConfig``) stand for.

    Raises:
        GanvasError: if a value makes no sense. Hydra's own ``instantiate`` would hide that sentence in a page.
    """
    arguments = OmegaConf.to_container(options)
    return InversionSettings(**{name: value for name, value in arguments.items() if name != "_target_"})


def read_images(path: Path, generator: Generator) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """One image or a folder of them, at the generator's resolution, where each lies in its square, and their names.

    Raises:
        GanvasError: if there is nothing there, or a file cannot be used.
    """
    size = generator.img_resolution
    if path.is_file():
        one = gather(path, generator.img_channels, size)
        return one.images, one.windows, (path.stem,)
    if not path.is_dir():
        raise GanvasError(f"images={path} is neither an image nor a folder; check the path.")
    folder = read_folder(path, resolution=size)
    return torch.as_tensor(folder.images), torch.as_tensor(folder.valid), folder.names


def write(out: Path, found: Inversion, names: Sequence[str], cfg: DictConfig) -> list[str]:
    """Write the results; returns the lines that end the command."""
    latents = save_latent(out / "latents.safetensors", found.latent.to("cpu"), names, {"command": cfg.command})
    for name, pixels in zip(names, to_uint8(found.reconstruction), strict=True):
        save_png(pixels, out / "reconstructions" / f"{name}.png")
    figures = {"images": len(names), "psnr": found.psnr.mean().item(), "perceptual": found.distance.mean().item()}
    record = {
        **figures,
        "generator": found.latent.generator_hash,
        "settings": asdict(found.settings),
        "command": cfg.command,
        "each": [
            {"name": name, "psnr": psnr, "perceptual": distance}
            for name, psnr, distance in zip(names, found.psnr.tolist(), found.distance.tolist(), strict=True)
        ],
    }
    with atomic_path(out / "inversion.json") as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n")
    sheet = out / "contact_sheet.png"
    with atomic_path(sheet) as temporary:
        contact_sheet(found).save(temporary, format="PNG")
    return [
        f"images: {figures['images']}",
        f"psnr: {figures['psnr']:.2f}",
        f"perceptual: {figures['perceptual']:.4f}",
        f"contact sheet: {sheet}",
        f"latents: {latents}",
    ]


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
