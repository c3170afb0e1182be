"""``task=stylegan2``: a generator trained from images, its sample grids, its figures and its bundle."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from datamodules.images import GANImages
from launch.data import licence, reference_images, require_size, training_images
from launch.hardware import trainer_arguments
from launch.record import RunRecord
from launch.resume import clock
from networks.checkpoints.bundle import read_manifest
from networks.checkpoints.encoders import save_encoder
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.generators import save_generator
from networks.grids import tile, to_uint8
from networks.metrics.generator_metrics import GeneratorMetrics, headline
from trainers.gan_callbacks import EveryImages, StopAtTotal, draw_samples, save_last
from trainers.stylegan2 import StyleGAN2Trainer

SHOWN = 64  # samples in a grid


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
    module = build(cfg)
    images, reference = training_images(cfg), reference_images(cfg, cfg.task.metrics_samples)
    require_size(images, module.G)
    score = GeneratorMetrics(reference.images, cfg.task.metrics_features, cfg.task.metrics,
                             weights=cfg.task.metrics_weights, allow_download=cfg.task.allow_download)  # fmt: skip
    record.rewind(seen)
    about = {
        "data": {**OmegaConf.to_container(cfg.data), "images": len(images), "seed": cfg.seed},
        "command": cfg.command,
        "licence": licence(cfg),
    }
    fit(cfg, record, module, GANImages(images, cfg.task.batch_size, cfg.seed), [
        EveryImages(cfg.task.checkpoint_every, save_last(last)),
        EveryImages(cfg.task.checkpoint_every, lambda m: save(export, m, about, {})),
        EveryImages(cfg.task.metrics_every, lambda m: record.log(headline(score(m.G_ema)), m.images_seen), False),
    ])  # fmt: skip
    measured = score(module.G_ema)
    record.log(headline(measured), module.images_seen)
    protocol = f"samples with seed 0 and truncation 1 against {reference.what}; {score.protocol}"
    save(export, module, about, {**measured, "protocol": protocol})
    figures = {"images_seen": float(module.images_seen), **headline(measured)}
    grid = record.image(f"samples-{module.images_seen:08d}", sample_grid(module), module.images_seen)
    record.write_report(report(cfg, figures, protocol, grid.relative_to(record.path)))
    return figures


def check_settings(cfg: DictConfig) -> None:
    """Refuse what could only fail, or mislead, once training runs.

    Raises:
        GanvasError: naming the key to change.
    """
    if cfg.n is not None:
        raise GanvasError(f"n={cfg.n} is no option of task=stylegan2: give task.metrics_samples={cfg.n}.")
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


def build(cfg: DictConfig) -> StyleGAN2Trainer:
    """The networks and their trainer, with weights drawn from the seed.

    Raises:
        GanvasError: if a network refuses its arguments.
    """
    torch.manual_seed(cfg.seed)
    try:
        module = instantiate(
            cfg.task.training, generator=instantiate(cfg.task.generator),
            discriminator=instantiate(cfg.task.discriminator),
            encoder=None if cfg.task.encoder is None else instantiate(cfg.task.encoder),
            augment=None if cfg.task.augment is None else instantiate(cfg.task.augment), seed=cfg.seed,
        )  # fmt: skip
    except InstantiationException as error:
        raise GanvasError(f"the networks of task=stylegan2 cannot be built: {error.__cause__ or error}.") from error
    return module.to(memory_format=module.G.synthesis.memory_format)


def fit(
    cfg: DictConfig, record: RunRecord, module: StyleGAN2Trainer, images: GANImages, callbacks: list[pl.Callback]
) -> None:
    """Run Lightning until ``total_images``, from the last checkpoint where there is one.

    Raises:
        DivergedError: if training diverges.
    """
    last = record.checkpoints / "last.ckpt"
    trainer = pl.Trainer(
        **trainer_arguments(cfg.trainer), max_epochs=-1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=record.path,
        callbacks=[
            StopAtTotal(),
            EveryImages(cfg.task.log_every, lambda m: record.log(m.figures, m.images_seen)),
            *callbacks,
            EveryImages(cfg.task.checkpoint_every, lambda m: record.image(
                f"samples-{m.images_seen:08d}", sample_grid(m), m.images_seen), at_end=False),
        ],
    )  # fmt: skip
    # G_ema is in eval mode all the time, as it should be.
    warnings.filterwarnings("ignore", "Found .* module.* in eval mode")
    trainer.fit(module, images, ckpt_path=last if last.exists() else None, weights_only=True)


def save(export: Path, module: StyleGAN2Trainer, about: dict[str, Any], metrics: dict[str, Any]) -> None:
    """Write the averaged generator as a bundle, and its encoder, if there is one, as another beside it."""
    about = {**about, "images_seen": module.images_seen}
    save_generator(export, module.G_ema, {**about, "metrics": metrics})
    if module.E is not None:
        path = export.with_name(f"{export.stem}_encoder{export.suffix}")
        save_encoder(path, module.E_ema, read_manifest(export)["hash"], about)


def sample_grid(module: StyleGAN2Trainer) -> Image.Image:
    """Samples of the averaged generator, always of the same latents, as one picture."""
    return Image.fromarray(tile(to_uint8(draw_samples(module, SHOWN)), scale=2))


def report(cfg: DictConfig, figures: dict[str, float], protocol: str, grid: Path) -> str:
    """The run's ``report.md``."""
    rows = [f"| {name} | {value:.4g} |" for name, value in figures.items()]
    return "\n".join([
        f"# {cfg.experiment or cfg.task.name}", "", f"`{cfg.command}`", "",
        "| figure | value |", "|---|---|", *rows, "",
        f"Protocol: {protocol}.", "",
        f"![samples]({grid})", "",
    ])  # fmt: skip
