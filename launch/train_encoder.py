"""``task=encoder``: an encoder into a frozen generator's codes, scored by what inversion makes of its codes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from torch import Tensor

from datamodules.images import GANImages
from editors.invert import InversionSettings, invert
from launch.data import licence, reference_images, require_size, training_images
from launch.figures import Figure, all_by
from launch.fitting import fit
from launch.hardware import device_of
from launch.invert import inversion_settings
from launch.limits import require_at_least
from launch.record import RunRecord
from launch.reports.pictures import panels
from launch.resume import clock
from networks.checkpoints.encoders import save_encoder
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.generators import load_generator
from networks.critics import perceptual
from networks.encoder import WPlusEncoder
from networks.grids import to_uint8
from networks.latent import Latent
from networks.latent_statistics import code_statistics, latent_of
from networks.protocol import Generator
from networks.rendering import render_batches
from trainers.encoder import EncoderTrainer
from trainers.gan_callbacks import EveryImages

SHOWN = 16  # images on a contact sheet
BATCH = 64  # images encoded at once when the encoder is scored


def train(cfg: DictConfig, record: RunRecord) -> dict[str, Figure]:
    """Train, resume where the record holds a checkpoint, score, export.

    Returns:
        Headline figures: PSNR and perceptual distance of what the codes render to, as they come from the encoder and
        after the steps of ``task.inversion``.

    Raises:
        GanvasError: if a setting, the generator or the images cannot be used, or training diverges.
    """
    check_settings(cfg)
    if not cfg.generator:
        raise GanvasError("an encoder needs generator=FILE, e.g. generator=zoo/avatars64.safetensors.")
    device = device_of(cfg.trainer)
    generator, settings = load_generator(cfg.generator).to(device), inversion_settings(cfg.task.inversion)
    images = training_images(cfg, generator.img_resolution)
    require_size(images.images, generator)
    heldout = reference_images(cfg, cfg.task.heldout if cfg.n is None else cfg.n, generator.img_resolution)
    module = build(cfg, generator, settings)
    record.rewind(clock(record.checkpoints / "last.ckpt", "state_dict", "clock"))
    first = heldout.images[:SHOWN]

    def draw(trained: EncoderTrainer) -> None:
        plain = rendered(generator, encode(trained.E, first, generator))
        record.image(f"heldout-{trained.images_seen:08d}", sheet(first / 127.5 - 1, plain), trained.images_seen)

    fit(cfg, record, module, GANImages(images, cfg.task.batch_size, cfg.seed),
        [EveryImages(cfg.task.checkpoint_every, draw, at_end=False)])  # fmt: skip
    encoder = module.E.to(device).eval()

    latent = encode(encoder, heldout.images, generator)
    found = invert(generator, heldout.images, settings, start=latent, progress=True)
    alone = invert(generator, heldout.images, replace(settings, steps=0), start=latent)
    figures = {
        "psnr": alone.psnr.mean().item(), "perceptual": alone.distance.mean().item(),
        f"psnr_{settings.steps}": found.psnr.mean().item(),
        f"perceptual_{settings.steps}": found.distance.mean().item(),
    }
    name = (cfg.experiment or cfg.task.name).rpartition("/")[2]
    save_encoder(record.export / f"{name}_encoder.safetensors", encoder, generator.hash, {
        "data": {**OmegaConf.to_container(cfg.data), "images": len(images.images), "seed": cfg.seed},
        "images_seen": module.images_seen, "command": cfg.command, "licence": licence(cfg),
        "metrics": {**figures, "protocol": heldout.what},
    })  # fmt: skip
    shown = sheet(found.target, alone.reconstruction, found.reconstruction)
    picture = record.image("heldout", shown, module.images_seen)
    record.write_report(report(cfg, figures, heldout.what, picture.relative_to(record.path)))
    return all_by(heldout.protocol(network=settings.critic, generator=generator.hash), figures)


def check_settings(cfg: DictConfig) -> None:
    """Refuse what could only fail later.

    Raises:
        GanvasError: naming the key to change.
    """
    if cfg.data.get("labels"):
        raise GanvasError("data.labels is for generators, an encoder sees none: leave it out.")
    require_at_least(cfg, {
        "task.batch_size": 1, "task.heldout": 1, "task.log_every": 1, "task.checkpoint_every": 1,
        "task.training.total_images": cfg.task.batch_size, "task.training.lr": 0,
        "task.training.samples_first": 0,
    })  # fmt: skip
    if cfg.task.training.samples_first and not cfg.task.training.latent:
        raise GanvasError(f"task.training.samples_first={cfg.task.training.samples_first} learns codes alone, and "
                          "task.training.latent=0 gives them no weight: set one of the two otherwise.")  # fmt: skip


def build(cfg: DictConfig, generator: Generator, settings: InversionSettings) -> EncoderTrainer:
    """The network and its trainer, with weights drawn from the seed.

    Raises:
        GanvasError: if the network refuses its arguments.
    """
    torch.manual_seed(cfg.seed)
    num_ws, w_dim = code_statistics(generator, samples=2).mean.shape[1:]
    try:
        network = instantiate(
            cfg.task.network, img_resolution=generator.img_resolution, img_channels=generator.img_channels,
            num_ws=num_ws, w_dim=w_dim, _convert_="all",
        )  # fmt: skip
    except InstantiationException as error:
        raise GanvasError(f"the encoder cannot be built: {error.__cause__ or error}.") from error
    critic = perceptual(settings.critic).to(generator.device)
    return instantiate(cfg.task.training, encoder=network, generator=generator, critic=critic, seed=cfg.seed)


@torch.no_grad()
def encode(encoder: WPlusEncoder, images: Tensor, generator: Generator) -> Latent:
    """Codes of ``uint8 [N, C, R, R]``, on the encoder's device."""
    device = encoder.w_mean.device
    codes = torch.cat([encoder(x.to(device) / 127.5 - 1) for x in images.split(BATCH)])
    return latent_of(codes, generator.sample(1, 0).space)


def rendered(generator: Generator, latent: Latent) -> Tensor:
    """Images of codes, on the CPU in [-1, 1]."""
    return torch.cat(list(render_batches(generator, latent))).clamp(-1, 1)


def sheet(images: Tensor, plain: Tensor, optimised: Tensor | None = None) -> Image.Image:
    """The first images beside what their codes render to, as they come from the encoder and optimised."""
    columns = {"image": images, "encoder": plain} | ({} if optimised is None else {"optimised": optimised})
    return panels({caption: to_uint8(pictures[:SHOWN]) for caption, pictures in columns.items()}, across=4)


def report(cfg: DictConfig, figures: dict[str, float], protocol: str, picture: Path) -> str:
    """The run's ``report.md``."""
    steps = cfg.task.inversion.steps
    return "\n".join([
        f"# {cfg.experiment or cfg.task.name}", "", f"`{cfg.command}`", "",
        "| codes | PSNR (dB) | perceptual distance |", "|---|---|---|",
        f"| encoder alone | {figures['psnr']:.2f} | {figures['perceptual']:.4f} |",
        f"| and {steps} steps | {figures[f'psnr_{steps}']:.2f} | {figures[f'perceptual_{steps}']:.4f} |", "",
        f"On {protocol}; perceptual distance {cfg.task.inversion.critic}.", "",
        f"![held-out images]({picture})", "",
    ])  # fmt: skip
