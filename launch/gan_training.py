"""A generator trained from images against a discriminator: its sample grids, its figures and its bundle."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from datamodules.image_cache import spread
from datamodules.images import GANImages, ImageSet
from launch.data import licence, reference_images, require_size, training_data, training_images
from launch.figures import Figure, Protocol, all_by, read_figures
from launch.fitting import fit
from launch.gan_networks import build, starting_networks
from launch.hardware import device_count
from launch.limits import require_at_least, several_devices
from launch.record import RunRecord
from launch.reports.gan import ELAPSED, elapsed, grid, real_grid, shown, write_report
from launch.resume import clock
from networks.checkpoints.bundle import read_manifest, tensors_hash
from networks.checkpoints.encoders import save_encoder
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.generators import save_generator, stored_tensors
from networks.critics.inception import SOURCES, find_weights
from networks.grids import to_uint8
from networks.metrics.generator_metrics import GeneratorMetrics, headline
from trainers.adversarial import AdversarialTrainer
from trainers.gan_callbacks import EveryImages, draw_samples
from trainers.together import share_of


def train(cfg: DictConfig, record: RunRecord, watch: Sequence[EveryImages] = ()) -> dict[str, Figure]:
    """Train, resume where the record holds a checkpoint, export the averaged generator.

    Args:
        cfg: the run's, with a :class:`launch.schemas_gan.GANConfig` as its task.
        record: the run's.
        watch: what else is due in the course of the run.

    Returns:
        Headline figures: images seen, each metric under a name that tells its feature network, and the seconds that
        training took with the measurements on its way.

    Raises:
        GanvasError: if a setting makes no sense, the images do not fit the network, or training diverges.
    """
    check_settings(cfg)
    last = record.checkpoints / "last.ckpt"
    export = record.export / f"{(cfg.experiment or cfg.task.name).rpartition('/')[2]}.safetensors"
    seen = clock(last, "state_dict", "clock")
    if seen >= cfg.task.training.total_images and (done := read_figures(record.checkpoints.parent)):
        return done.figures
    if (features := cfg.task.metrics_features) in SOURCES:  # before images are prepared, which may take hours
        find_weights(features, SOURCES[features], cfg.task.metrics_weights, cfg.task.allow_download)
    start = starting_networks(cfg)
    size = None if start is None else start.generator.img_resolution
    images, reference = training_images(cfg, size), reference_images(cfg, cfg.task.metrics_samples, size)
    module = build(cfg, start, images.c_dim)
    require_size(images.images, module.G)
    score = GeneratorMetrics(reference.images, cfg.task.metrics_features, cfg.task.metrics,
                             weights=cfg.task.metrics_weights, allow_download=cfg.task.allow_download,
                             labels=reference.labels)  # fmt: skip
    record.rewind(seen)
    begun = time.monotonic() - elapsed(record)  # as if it had never stopped
    about = {
        "data": {**OmegaConf.to_container(cfg.data), "images": len(images.images), "seed": cfg.seed},
        "command": cfg.command,
        "licence": licence(cfg),
        **({"label_names": list(images.label_names)} if images.label_names else {}),
        **({"started_from": tensors_hash(stored_tensors(module.G_ema))} if cfg.generator else {}),
    }
    fit(cfg, record, module, GANImages(images, cfg.task.batch_size, cfg.seed), [
        EveryImages(cfg.task.checkpoint_every, lambda m: record.image(
            f"samples-{m.images_seen:08d}", sample_grid(m, images), m.images_seen), at_end=False),
        EveryImages(cfg.task.checkpoint_every, lambda m: save(export, m, about, {})),
        EveryImages(cfg.task.metrics_every, lambda m: record.log(
            headline(score(m.G_ema, share=share_of(m))), m.images_seen), at_end=False),
        EveryImages(cfg.task.checkpoint_every, lambda m: record.log(
            {ELAPSED: time.monotonic() - begun}, m.images_seen)),
        *watch,
    ])  # fmt: skip
    module.to(module.trainer.strategy.root_device)  # which Lightning has taken it from
    measured = score(module.G_ema, share=share_of(module))
    if not module.trainer.is_global_zero:  # the first process tells
        return {}
    record.log(headline(measured), module.images_seen)
    how = f"samples with seed 0 and truncation 1; {score.protocol}"
    protocol = replace(
        reference.protocol(network=cfg.task.metrics_features, how=how),
        text=f"samples with seed 0 and truncation 1 against {reference.what}; {score.protocol}",
    )
    save(export, module, about, {**measured, "protocol": str(protocol)})
    figures = {"images_seen": float(module.images_seen), **headline(measured)}
    samples = record.image(f"samples-{module.images_seen:08d}", sample_grid(module, images), module.images_seen)
    real = record.image("training-images", real_grid(images.images), module.images_seen)
    write_report(cfg, record, figures, str(protocol), samples, real)
    trained = Protocol(training_data(cfg), "training images", len(images.images))
    return {
        **all_by(trained, {"images_seen": figures.pop("images_seen")}), **all_by(protocol, figures),
        **all_by(trained, {"train_seconds": elapsed(record)}),
    }  # fmt: skip


def check_settings(cfg: DictConfig) -> None:
    """Refuse what could only fail, or mislead, once training runs.

    Raises:
        GanvasError: naming the key to change.
    """
    if cfg.n is not None:
        raise GanvasError(f"n={cfg.n} is no option of task={cfg.task.name}: give task.metrics_samples={cfg.n}.")
    size = cfg.data.get("resolution")
    if size is not None and (size < 16 or size & (size - 1)):
        below = 2 ** max(size.bit_length() - 1, 4)
        raise GanvasError(f"data.resolution={size} must be a power of two of at least 16 for a generator: use "
                          f"{below} or {2 * below}.")  # fmt: skip
    require_at_least(cfg, {
        "task.batch_size": 1, "task.log_every": 1, "task.checkpoint_every": 1, "task.metrics_every": 1,
        "task.metrics_samples": 2, "task.training.total_images": 1, "task.training.lr_g": 0, "task.training.lr_d": 0,
        **({"task.training.lr_codes": 0} if "encoder" in cfg.task else {}),
    })  # fmt: skip
    least = 2 * device_count(cfg.trainer)
    if cfg.task.get("encoder") is not None and cfg.task.batch_size < least:
        raise GanvasError(f"task.batch_size={cfg.task.batch_size} leaves nothing to sample: half of the batch is "
                          f"reconstructed by task.encoder; use at least {least}.")  # fmt: skip
    if several_devices(cfg) and cfg.trainer.strategy not in ("auto", "ddp"):
        raise GanvasError(f"trainer.strategy={cfg.trainer.strategy} is not for task={cfg.task.name}, which has its "
                          "own: leave it out.")  # fmt: skip
    if cfg.trainer.precision == "16-mixed":
        raise GanvasError("trainer.precision=16-mixed does not go with the R1 penalty: use bf16-mixed, or half "
                          "precision in the finest blocks by task.generator.num_fp16_res.")  # fmt: skip
    if cfg.task.training.graphs:
        _check_graphs(cfg)


def _check_graphs(cfg: DictConfig) -> None:
    """Refuse what cannot be replayed."""
    asked = "task.training.graphs=true"
    if cfg.task.training.compile:
        raise GanvasError(f"{asked} and task.training.compile=true are two ways to one end: choose one.")
    if cfg.trainer.precision != "32-true":
        raise GanvasError(f"{asked} does not go with trainer.precision={cfg.trainer.precision}: use 32-true, with half "
                          "precision by task.generator.num_fp16_res where there is one.")  # fmt: skip
    if cfg.task.augment is not None:
        raise GanvasError(f"{asked} does not go with an augmentation, which draws anew in each step: use "
                          "task.augment=null, or leave graphs out.")  # fmt: skip


def save(export: Path, module: AdversarialTrainer, about: dict[str, Any], metrics: dict[str, Any]) -> None:
    """Write the averaged generator as a bundle, and beside it its discriminator and, if there is one, its encoder.

    Of several processes that train together the first one does.
    """
    if not module.trainer.is_global_zero:
        return
    about = {**about, "images_seen": module.images_seen}
    save_generator(export, module.G_ema, {**about, "metrics": metrics})
    owner = read_manifest(export)["hash"]
    discriminator = export.with_name(f"{export.stem}_discriminator{export.suffix}")
    save_generator(discriminator, module.D, {**about, "generator": {"hash": owner}})
    if (encoder := getattr(module, "E_ema", None)) is not None:
        save_encoder(export.with_name(f"{export.stem}_encoder{export.suffix}"), encoder, owner, about)


def sample_grid(module: AdversarialTrainer, images: ImageSet) -> Image.Image:
    """Samples of the averaged generator, always of the same latents and labels, as one picture."""
    n = shown(module.G.img_resolution)
    labels = None
    if images.labels is not None:  # some of the images', again and again where there are few
        labels = torch.from_numpy(np.resize(images.labels[spread(len(images.labels), n)], [n, images.c_dim]))
    return grid(to_uint8(draw_samples(module, n, labels)))
