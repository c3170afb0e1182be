"""``task=stylegan2``: a generator trained from images, its sample grids, its figures and its bundle."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from PIL import Image

from datamodules.images import GANImages
from launch.data import licence, reference_images, require_size, training_images
from launch.fitting import fit
from launch.record import RunRecord
from launch.reports.stylegan2 import ELAPSED, elapsed, grid, real_grid, shown, write_report
from launch.resume import clock
from launch.stylegan2_networks import build
from networks.checkpoints.bundle import read_manifest
from networks.checkpoints.encoders import save_encoder
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.generators import load_generator, save_generator
from networks.grids import to_uint8
from networks.metrics.generator_metrics import GeneratorMetrics, headline
from trainers.gan_callbacks import EveryImages, draw_samples
from trainers.stylegan2 import StyleGAN2Trainer


def train(cfg: DictConfig, record: RunRecord) -> dict[str, float]:
    """Train, resume where the record holds a checkpoint, export the averaged generator.

    Returns:
        Headline figures: images seen, and each metric under a name that tells its feature network.

    Raises:
        GanvasError: if a setting makes no sense, the images do not fit the network, or training diverges.
    """
    check_settings(cfg)
    last = record.checkpoints / "last.ckpt"
    export = record.export / f"{(cfg.experiment or cfg.task.name).rpartition('/')[2]}.safetensors"
    seen = clock(last, "state_dict", "clock")
    if seen >= cfg.task.training.total_images and (figures := finished_figures(export)):
        return figures
    images, reference = training_images(cfg), reference_images(cfg, cfg.task.metrics_samples)
    module = build(cfg, images.c_dim)
    require_size(images.images, module.G)
    score = GeneratorMetrics(reference.images, cfg.task.metrics_features, cfg.task.metrics,
                             weights=cfg.task.metrics_weights, allow_download=cfg.task.allow_download)  # fmt: skip
    record.rewind(seen)
    start = time.monotonic() - elapsed(record)  # as if it had never stopped
    about = {
        "data": {**OmegaConf.to_container(cfg.data), "images": len(images.images), "seed": cfg.seed},
        "command": cfg.command,
        "licence": licence(cfg),
        **({"started_from": load_generator(cfg.generator).hash} if cfg.generator else {}),
    }
    fit(cfg, record, module, GANImages(images, cfg.task.batch_size, cfg.seed), [
        EveryImages(cfg.task.checkpoint_every, lambda m: record.image(
            f"samples-{m.images_seen:08d}", sample_grid(m), m.images_seen), at_end=False),
        EveryImages(cfg.task.checkpoint_every, lambda m: save(export, m, about, {})),
        EveryImages(cfg.task.metrics_every, lambda m: record.log(headline(score(m.G_ema)), m.images_seen), False),
        EveryImages(cfg.task.checkpoint_every, lambda m: record.log(
            {ELAPSED: time.monotonic() - start}, m.images_seen)),
    ])  # fmt: skip
    measured = score(module.G_ema)
    record.log(headline(measured), module.images_seen)
    protocol = f"samples with seed 0 and truncation 1 against {reference.what}; {score.protocol}"
    save(export, module, about, {**measured, "protocol": protocol})
    figures = {"images_seen": float(module.images_seen), **headline(measured)}
    samples = record.image(f"samples-{module.images_seen:08d}", sample_grid(module), module.images_seen)
    real = record.image("training-images", real_grid(images.images), module.images_seen)
    write_report(cfg, record, figures, protocol, samples, real)
    return figures


def check_settings(cfg: DictConfig) -> None:
    """Refuse what could only fail, or mislead, once training runs.

    Raises:
        GanvasError: naming the key to change.
    """
    if cfg.n is not None:
        raise GanvasError(f"n={cfg.n} is no option of task=stylegan2: give task.metrics_samples={cfg.n}.")
    size = cfg.data.get("resolution")
    if size is not None and (size < 16 or size & (size - 1)):
        below = 2 ** max(size.bit_length() - 1, 4)
        raise GanvasError(f"data.resolution={size} must be a power of two of at least 16 for a generator: use "
                          f"{below} or {2 * below}.")  # fmt: skip
    minima = {"batch_size": 1, "log_every": 1, "checkpoint_every": 1, "metrics_every": 1, "metrics_samples": 2}
    for key, least in minima.items():
        if cfg.task[key] < least:
            raise GanvasError(f"task.{key}={cfg.task[key]} must be at least {least}.")
    # A discriminator that compares no images of a batch takes any number of them.
    group = cfg.task.discriminator.get("mbstd_group_size") or 1
    if cfg.task.batch_size > group and cfg.task.batch_size % group:
        raise GanvasError(f"task.batch_size={cfg.task.batch_size} must be a multiple of "
                          f"task.discriminator.mbstd_group_size={group}.")  # fmt: skip
    if cfg.task.encoder is not None and cfg.task.batch_size < 2:
        raise GanvasError("task.batch_size=1 leaves nothing to sample: half of the batch is reconstructed by "
                          "task.encoder; use at least 2.")  # fmt: skip
    if cfg.trainer.devices != 1 or cfg.trainer.num_nodes != 1:
        raise GanvasError("task=stylegan2 trains on one device: use trainer=cpu or trainer=gpu.")
    if cfg.trainer.precision == "16-mixed":
        raise GanvasError("trainer.precision=16-mixed does not go with the R1 penalty: use bf16-mixed, or half "
                          "precision in the finest blocks by task.generator.num_fp16_res.")  # fmt: skip


def finished_figures(export: Path) -> dict[str, float] | None:
    """The headline figures of a run whose bundle is complete, else None."""
    if not export.exists():
        return None
    manifest = read_manifest(export)
    measured = {name: value for name, value in manifest["metrics"].items() if name != "protocol"}
    return {"images_seen": float(manifest["images_seen"]), **headline(measured)} if measured else None


def save(export: Path, module: StyleGAN2Trainer, about: dict[str, Any], metrics: dict[str, Any]) -> None:
    """Write the averaged generator as a bundle, and its encoder, if there is one, as another beside it."""
    about = {**about, "images_seen": module.images_seen}
    save_generator(export, module.G_ema, {**about, "metrics": metrics})
    if module.E is not None:
        path = export.with_name(f"{export.stem}_encoder{export.suffix}")
        save_encoder(path, module.E_ema, read_manifest(export)["hash"], about)


def sample_grid(module: StyleGAN2Trainer) -> Image.Image:
    """Samples of the averaged generator, always of the same latents, as one picture."""
    return grid(to_uint8(draw_samples(module, shown(module.G.img_resolution))))
