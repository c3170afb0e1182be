"""``ganvas convert``: networks of other code bases into bundles, and StyleGAN2's and EditGAN's back."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import torch
from omegaconf import DictConfig
from torch import nn

from datamodules.folder import read_classes
from editors.invert import InversionSettings
from networks.checkpoints.bundle import read_bundle, read_manifest, tensors_hash
from networks.checkpoints.classes import ClassList
from networks.checkpoints.classifiers import SUFFIX, is_classifier, read_classifiers, write_classifiers
from networks.checkpoints.encoders import load_foreign_encoder, save_encoder
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.foreign import Network, is_foreign
from networks.checkpoints.generators import (
    DISCRIMINATORS,
    load_discriminator,
    load_foreign,
    load_generator,
    save_generator,
    stored_tensors,
)
from networks.checkpoints.heads import head_from_bundle, save_head
from networks.checkpoints.rosinality import write_rosinality
from networks.checkpoints.zoo import resolve
from networks.latent import Latent
from networks.metrics import psnr
from networks.protocol import Generator
from networks.segmentation import Head, segment_latents

CHECKED = 4    # images that check=true renders
ENCODER, BRANCH = "E", "S"  # network= for one


def run(cfg: DictConfig) -> None:
    """Convert ``cfg.source`` into ``cfg.out``; the ending of ``out`` says into what.

    Raises:
        GanvasError: if the source cannot be used, or the format of ``out`` cannot hold it.
    """
    source, out, name = Path(cfg.source), Path(cfg.out), _network(cfg)
    forms = {".safetensors": "a bundle", **({} if cfg.generator else {".pt": "rosinality's format"})}
    forms |= {SUFFIX: "EditGAN's classifiers"} if not cfg.generator else {}
    if out.suffix not in forms:
        raise GanvasError(f"out={out} must end in {', or in '.join(', '.join(form) for form in forms.items())}.")
    if out.exists():
        raise GanvasError(f"{out} is already there: choose another out=, or delete it first.")
    if out.suffix == SUFFIX:
        lines = _to_classifiers(resolve(source), out)
    elif out.suffix == ".pt":
        lines = _to_rosinality(resolve(source), out, cfg)
    else:
        lines = {ENCODER: _encoder, BRANCH: _branch}.get(name, _plain)(source, out, name, cfg)
    for line in lines:
        print(line)


def _network(cfg: DictConfig) -> str:
    """Which network is asked for."""
    own = ENCODER if cfg.generator and not is_classifier(Path(cfg.source)) else BRANCH
    name = cfg.network or (own if cfg.generator else "G_ema")
    known = (*get_args(Network), ENCODER, BRANCH)
    if name not in known:
        raise GanvasError(f"network={name} must be one of {', '.join(known)}.")
    if (name in (ENCODER, BRANCH)) != bool(cfg.generator):
        raise GanvasError("network=E, an encoder, and network=S, a segmentation branch, need generator=FILE, the one "
                          "that they belong to; the other networks have none.")  # fmt: skip
    if cfg.classes and name != BRANCH:
        raise GanvasError("classes= names the classes of a segmentation branch: it goes with network=S only.")
    return name


def _plain(source: Path, out: Path, name: str, cfg: DictConfig) -> list[str]:
    """A generator or a discriminator."""
    network = load_foreign(source, name)
    save_generator(out, network, _origin(source, network.source, name, cfg))
    return [*(fingerprint(network) if cfg.check else ()), f"written: {out}"]


def _encoder(source: Path, out: Path, name: str, cfg: DictConfig) -> list[str]:
    generator = load_generator(cfg.generator)
    network = load_foreign_encoder(source, generator)
    save_encoder(out, network, generator.hash, _origin(source, network.source, name, cfg))
    return [*(agreement(network, generator) if cfg.check else ()), f"written: {out}"]


def _branch(source: Path, out: Path, name: str, cfg: DictConfig) -> list[str]:
    generator = load_generator(cfg.generator)
    head = read_classifiers(source, generator)
    numbered = [f"class {i}" for i in range(head.num_classes)]
    classes = read_classes(Path(cfg.classes)) if cfg.classes else ClassList.of_names(numbered)
    if len(classes) != head.num_classes:
        raise GanvasError(f"classes={cfg.classes} has {len(classes)} classes, and {source} {head.num_classes}: list "
                          "every class in the order of its ids, the background too.")  # fmt: skip
    origin = _origin(source, "EditGAN classifier", name, cfg)
    save_head(out, head, generator, classes.to_json(), asdict(InversionSettings()), origin)
    checked = shares(head, generator, classes) if cfg.check else ()
    return [f"members: {head.members}", *checked, f"written: {out}"]


def _to_rosinality(source: Path, out: Path, cfg: DictConfig) -> list[str]:
    network = _of_any_source(source, cfg.network)
    sentences = write_rosinality(out, network)
    return [*sentences, *(fingerprint(network) if cfg.check else ()), f"written: {out}"]


def _to_classifiers(source: Path, out: Path) -> list[str]:
    head = head_from_bundle(read_bundle(source))
    return [f"written: {path}" for path in write_classifiers(out, head)]


def _of_any_source(source: Path, name: Network | None) -> nn.Module:
    """The network asked for, of a foreign checkpoint or of a bundle; null for the averaged one, or the bundle's."""
    if is_foreign(source):
        return load_foreign(source, name or "G_ema")
    if name == "D" or (name is None and source.is_file() and read_manifest(source)["kind"] in DISCRIMINATORS):
        return load_discriminator(source)
    return load_generator(source)


def _origin(source: Path, form: str, network: str, cfg: DictConfig) -> dict[str, Any]:
    """The manifest entries of a converted network."""
    origin = {"file": source.name, "format": form, "network": network}
    return {"source": origin, "command": cfg.command, "licence": "that of the source"}


@torch.no_grad()
def agreement(encoder: nn.Module, generator: Generator) -> list[str]:
    """The encoder's hash, and how near the generator's samples come when they are encoded and rendered again."""
    images = generator.render(generator.sample(CHECKED, seed=0)).clamp(-1, 1)
    again = generator.render(Latent("w+", {"ws": encoder(images)})).clamp(-1, 1)
    return [f"hash: {encoder.hash}", f"psnr of samples: {psnr(again, images).mean().item():.2f}"]


@torch.no_grad()
def shares(head: Head, generator: Generator, classes: ClassList) -> list[str]:
    """How much of the generator's samples each class takes: a branch of another generator sees one class, or noise."""
    drawn = generator.sample(CHECKED, seed=0)
    masks = torch.cat([found.prediction.mask for found in segment_latents(head, generator, drawn)])
    counts = masks.flatten().long().bincount(minlength=len(classes)) / masks.numel()
    return [f"{name}: {share:.1%}" for name, share in zip(classes.names, counts.tolist(), strict=True) if share]


def fingerprint(network: nn.Module) -> list[str]:
    """What tells whether two files hold the same network, and whether it draws: fixed codes, rendered."""
    lines = [f"hash: {tensors_hash(stored_tensors(network))}"]
    if hasattr(network, "render"):
        with torch.no_grad():
            images = network.render(network.sample(CHECKED, seed=0))
        lines += [f"image_mean: {images.mean().item():.5f}", f"image_std: {images.std().item():.5f}"]
    return lines
