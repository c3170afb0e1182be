"""``task=stylegan2``: a generator trained from images, its sample grids, its KID and its bundle."""

from __future__ import annotations

from pathlib import Path

import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor

from datamodules.images import GANImages
from launch.data import heldout_images, training_images
from launch.hardware import trainer_arguments
from launch.record import RunRecord
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.generators import save_generator
from networks.critics import feature_network
from networks.metrics.kid import extract_features, kid
from trainers.gan_callbacks import EveryImages, StopAtTotal, draw_samples, sample_grid, save_last
from trainers.stylegan2 import DivergedError, StyleGAN2Trainer


def train(cfg: DictConfig, record: RunRecord) -> dict[str, float]:
    """Train, resume where the record holds a checkpoint, export the averaged generator.

    Returns:
        Headline figures: images seen, and KID (times 1000) with the name of its feature network.

    Raises:
        GanvasError: if the images do not fit the network, or the loss is no longer a number.
    """
    images = training_images(cfg)
    module = build(cfg)
    if images.shape[-1] != module.G.img_resolution:
        raise GanvasError(f"the images are {images.shape[-1]} pixels wide and the generator {module.G.img_resolution}: "
                          "set data.resolution and task.generator.img_resolution to the same number.")  # fmt: skip
    last = record.checkpoints / "last.ckpt"
    if last.exists():
        record.rewind(int(torch.load(last, weights_only=True)["state_dict"]["clock"]))
    name = f"kid_{cfg.task.kid_features.replace('-', '_')}_x1000"
    measure = KIDAgainst(heldout_images(cfg, cfg.task.kid_samples), cfg.task.kid_features)
    export = record.export / f"{Path(record.path).parent.name}.safetensors"

    def save_bundle(trainer: pl.Trainer, module: StyleGAN2Trainer) -> None:
        save_generator(export, module.G_ema, {"images_seen": module.images_seen, "command": cfg.command})

    trainer = pl.Trainer(
        **trainer_arguments(cfg.trainer), max_epochs=-1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=record.path,
        callbacks=[
            StopAtTotal(),
            EveryImages(cfg.task.log_every, lambda _, m: record.log(m.figures, m.images_seen)),
            EveryImages(cfg.task.kid_every, lambda _, m: record.log({name: measure(m)}, m.images_seen)),
            EveryImages(cfg.task.checkpoint_every, sample_grid(record.images)),
            EveryImages(cfg.task.checkpoint_every, save_bundle),
            EveryImages(cfg.task.checkpoint_every, save_last(last)),
        ],
    )  # fmt: skip
    try:
        trainer.fit(module, GANImages(images, cfg.task.batch_size, cfg.seed), ckpt_path=last if last.exists() else None,
                    weights_only=True)  # fmt: skip
    except DivergedError as error:
        raise GanvasError(f"{error}; {last} is the last good state: lower task.training.lr_g and lr_d, or raise "
                          "r1_gamma, and run again in a new out=.") from error  # fmt: skip
    figures = {"images_seen": float(module.images_seen), name: measure(module)}
    record.write_report(report(cfg, figures, f"samples-{module.images_seen:08d}.png", len(measure.real)))
    return figures


def build(cfg: DictConfig) -> StyleGAN2Trainer:
    """The networks and their trainer, with weights drawn from the seed."""
    torch.manual_seed(cfg.seed)
    module = instantiate(
        cfg.task.training, generator=instantiate(cfg.task.generator),
        discriminator=instantiate(cfg.task.discriminator), seed=cfg.seed,
    )  # fmt: skip
    return module.to(memory_format=torch.channels_last) if cfg.task.generator.channels_last else module


class KIDAgainst:
    """KID times 1000 of a generator's samples against a fixed set of images.

    Args:
        real: ``uint8 [N, 3, R, R]``; as many samples are drawn.
        features: name of the feature network.
    """

    def __init__(self, real: Tensor, features: str) -> None:
        self.network = feature_network(features)
        self.real = extract_features(self.network, real.float().div(127.5).sub(1).split(64))

    def __call__(self, module: StyleGAN2Trainer) -> float:
        samples = draw_samples(module, len(self.real)).cpu()
        fake = extract_features(self.network, samples.clamp(-1, 1).split(64))
        return 1000 * kid(self.real, fake, subset_size=min(1000, len(self.real)))[0]


def report(cfg: DictConfig, figures: dict[str, float], grid: str, kid_images: int) -> str:
    """The run's ``report.md``."""
    rows = [f"| {name} | {value:.4g} |" for name, value in figures.items()]
    return "\n".join([
        f"# {cfg.experiment or 'stylegan2'}", "", f"`{cfg.command}`", "",
        "| figure | value |", "|---|---|", *rows, "",
        f"KID: {kid_images} generated images of the averaged generator (truncation 1) against as many held-out images, "
        f"feature network {cfg.task.kid_features}, unbiased polynomial kernel, subsets of {min(1000, kid_images)}.", "",
        f"![samples](images/{grid})", "",
    ])  # fmt: skip
