"""``ganvas sample``: images drawn from a generator, as PNGs, one grid, and the latents that give them again."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from omegaconf import DictConfig
from tqdm import tqdm

from launch.hardware import require_device
from launch.limits import require_finite
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.generators import load_generator
from networks.checkpoints.latents import save_latent
from networks.grids import save_grid, save_png, to_uint8
from networks.rendering import render_batches, require_finite_images


def run(cfg: DictConfig) -> None:
    """Write ``cfg.n`` samples to ``cfg.out``.

    Raises:
        GanvasError: if the generator cannot be read, a number makes no sense, an image is not finite, or the
            folder cannot be written.
    """
    if cfg.n < 1 or cfg.batch < 1:
        raise GanvasError(f"n={cfg.n} and batch={cfg.batch} must both be at least 1.")
    require_finite(cfg, "truncation")
    require_device(cfg.device)
    generator = load_generator(cfg.generator).to(cfg.device)
    latent = generator.sample(cfg.n, cfg.seed, truncation=cfg.truncation).to(cfg.device)
    total = math.ceil(cfg.n / cfg.batch)
    batches = tqdm(render_batches(generator, latent, cfg.batch), total=total, desc="rendering", disable=total == 1)
    images = require_finite_images(torch.cat(list(batches)))
    folder, names = Path(cfg.out), [f"{index:04d}" for index in range(cfg.n)]
    latents = save_latent(folder / "latents.safetensors", latent.to("cpu"), names, {"command": cfg.command})
    for name, pixels in zip(names, to_uint8(images), strict=True):
        save_png(pixels, folder / f"{name}.png")
    print(f"images: {cfg.n}\ngrid: {save_grid(images, folder / 'grid.png', scale=1)}\nlatents: {latents}")
