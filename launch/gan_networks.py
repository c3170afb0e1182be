"""The networks of a GAN and their trainer: drawn from the seed, or on from trained ones."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any, NamedTuple

import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import nn

from launch.hardware import device_count
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.foreign import Network, NetworkMissingError, is_foreign
from networks.checkpoints.generators import kind_of, load_discriminator, load_foreign, load_generator
from networks.checkpoints.zoo import resolve
from trainers.adversarial import AdversarialTrainer

RULED = ("channels", "channel_base")   # at [], null or 0 by a rule, and a file has what came of it
RULES = ("c_model", "width")           # arguments of such a rule, which a file has not


class Start(NamedTuple):
    """Trained networks to go on from."""

    generator: nn.Module              # what training moves
    average: nn.Module | None         # G_ema; None: a copy of the generator
    discriminator: nn.Module | None   # None: a new one


def starting_networks(cfg: DictConfig) -> Start | None:
    """The networks that ``generator=`` and ``task.start_discriminator=`` ask to go on from; None if neither does.

    Raises:
        GanvasError: if a file cannot be used, or the rest of the configuration does not go with it, such as arguments
            of another network.
    """
    if cfg.generator is None:
        if cfg.task.start_discriminator is not None:
            raise GanvasError("task.start_discriminator needs the generator that it was trained with: add "
                              "generator=FILE.")  # fmt: skip
        return None
    start = read_start(cfg.generator, cfg.task.start_discriminator)
    if kind_of(start.generator) != cfg.task.name:
        raise GanvasError(f"{cfg.generator} holds a generator of kind {kind_of(start.generator)}, and task="
                          f"{cfg.task.name} trains another kind: start from one of that.")  # fmt: skip
    if cfg.task.get("encoder") is not None:
        raise GanvasError("the encoder of task.encoder would start from nothing and pull a trained generator with it: "
                          "add task.encoder=null to generator=FILE.")  # fmt: skip
    size, asked = start.generator.img_resolution, cfg.data.get("resolution")
    if asked not in (None, size):  # before any image is resized to it
        raise GanvasError(f"resolution={asked} is not that of the generator in {cfg.generator}, which draws "
                          f"{size}x{size}: give resolution={size}, or start from another.")  # fmt: skip
    _require_same(cfg, "task.generator", start.generator, cfg.generator)
    if start.discriminator is not None:
        _require_same(cfg, "task.discriminator", start.discriminator, cfg.task.start_discriminator or cfg.generator)
    return start


def _require_same(cfg: DictConfig, group: str, network: nn.Module, path: str) -> None:
    """Refuse arguments of a network that were typed and are not those of the one in the file, which brings its own.

    An experiment's arguments may differ: nobody asked for them, and to repeat the file's would be a chore.
    """
    asked, own, what = OmegaConf.select(cfg, group), network.config, f"the {group.rpartition('.')[2]} in {path}"
    choice, wanted, kind = group.replace(".", "/"), asked._target_.rpartition(".")[2], type(network).__name__
    typed = _typed(cfg.command, group)
    if choice in typed and wanted != kind:
        raise GanvasError(f"{choice} asks for a {wanted}, and {what} is a {kind}: leave it out, or start from another.")
    for name, value in OmegaConf.to_container(asked).items():
        if f"{group}.{name}" not in typed or (name in RULED and not value) or (name in own and own[name] == value):
            continue
        mine = name if name in own else "channels" if name in RULES else None
        has = f"{mine}={own[mine]}" if mine in own else "no such argument"
        raise GanvasError(f"{group}.{name}={value} is not that of {what}, which has {has}: leave it out, or start from "
                          "another.")  # fmt: skip


def _typed(command: str, group: str) -> set[str]:
    """The keys that a command gives, those inside ``group={…}`` written out."""
    words = shlex.split(command)
    keys = {word.partition("=")[0] for word in words}
    whole = [OverridesParser.create().parse_override(word).value() for word in words if word.startswith(f"{group}=")]
    return keys | {f"{group}.{name}" for given in whole for name in given}


def build(cfg: DictConfig, start: Start | None = None, c_dim: int = 0) -> AdversarialTrainer:
    """The networks and their trainer.

    Args:
        cfg: the run's.
        start: :func:`starting_networks`; they bring their own arguments.
        c_dim: width of the images' labels; 0 for none.

    Raises:
        GanvasError: if a network refuses its arguments, does not take these labels, or would be measured by what it
            learned from.
    """
    torch.manual_seed(cfg.seed)
    if start is not None and start.generator.c_dim != c_dim:
        raise GanvasError(f"the generator in {cfg.generator} takes labels of width {start.generator.c_dim} and the "
                          f"images labels of width {c_dim}: change data.labels, or start from another.")  # fmt: skip
    labels = {"c_dim": c_dim} if c_dim else {}
    try:
        module = instantiate(
            cfg.task.training,
            generator=instantiate(cfg.task.generator, **labels) if start is None else start.generator,
            discriminator=_discriminator(cfg, start, c_dim),
            **({"encoder": cfg.task.encoder and instantiate(cfg.task.encoder)} if "encoder" in cfg.task else {}),
            augment=None if cfg.task.augment is None else instantiate(cfg.task.augment),
            average=None if start is None else start.average, seed=cfg.seed,
            # The ramp is for weights that are still far from any use: it would forget the average that is given.
            **({} if start is None else {"ema_rampup": None}),
        )  # fmt: skip
    except InstantiationException as error:
        cause = error.__cause__ or error
        raise GanvasError(f"the networks of task={cfg.task.name} cannot be built: {cause}.") from error
    _require_groups(module.D, cfg.task.batch_size, device_count(cfg.trainer))
    if getattr(module.D, "sees_with", None) == cfg.task.metrics_features:
        raise GanvasError(f"task.metrics_features={module.D.sees_with} is the network that the discriminator sees "
                          "with, which flatters the generator: use stlpips-alex.")  # fmt: skip
    return module.to(memory_format=module.G.synthesis.memory_format)


def _discriminator(cfg: DictConfig, start: Start | None, c_dim: int) -> nn.Module:
    if start is not None and start.discriminator is not None:
        return start.discriminator
    return instantiate(cfg.task.discriminator, c_dim=c_dim)


def _require_groups(discriminator: nn.Module, batch_size: int, devices: int) -> None:
    """Refuse a batch that devices, or the mini-batch standard deviation, cannot split."""
    if batch_size % devices:
        raise GanvasError(f"task.batch_size={batch_size} must be a multiple of {devices}, the number of devices.")
    group = getattr(getattr(discriminator, "b4", None), "mbstd_group_size", None) or 1
    if batch_size // devices > group and batch_size // devices % group:
        each = f", for each of {devices} devices" if devices > 1 else ""
        raise GanvasError(f"task.batch_size={batch_size} must be a multiple of {group * devices}: {group} is the "
                          f"discriminator's mbstd_group_size{each}.")  # fmt: skip


def read_start(generator: str | Path, discriminator: str | Path | None = None) -> Start:
    """Trained networks out of files.

    Args:
        generator: a bundle, an official pickle or a rosinality checkpoint; the last two may hold the trained generator
            beside the averaged one, and its discriminator.
        discriminator: a bundle or a foreign checkpoint; None for the one in ``generator``, if there is one.

    Raises:
        GanvasError: if a file cannot be used.
    """
    path = resolve(generator)
    average = load_generator(path)
    found = {name: _if_held(path, name) for name in ("G", "D")} if is_foreign(path) else {}
    judge = load_discriminator(discriminator) if discriminator is not None else found.get("D")
    judge = None if judge is None else _to_train(judge)
    if trained := found.get("G"):
        average.hash = ""
        return Start(_to_train(trained), average, judge)
    return Start(_to_train(average), None, judge)


def _if_held(path: Path, network: Network) -> nn.Module | None:
    try:
        return load_foreign(path, network)
    except NetworkMissingError:
        return None


def _to_train(network: Any) -> nn.Module:
    network.hash = ""  # it will not be what the file holds
    return network.train().requires_grad_(True)
