"""``ganvas convert``: networks of other code bases into bundles, and bundles into theirs, or into ONNX."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import torch
from omegaconf import DictConfig
from torch import nn

from datamodules.folder import read_classes
from editors.invert import InversionSettings
from launch import convert_mapper
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
from networks.checkpoints.onnx_files import INPUT, OUTPUT, write_onnx
from networks.checkpoints.rosinality import write_rosinality
from networks.checkpoints.zoo import resolve
from networks.latent import Latent
from networks.metrics import psnr
from networks.protocol import Generator
from networks.segmentation import Head, segment_latents
from networks.segmenters import load_segmenter

# What a bundle becomes, by the ending of out=.
TARGETS = {".pt": "rosinality's format", SUFFIX: "EditGAN's classifiers", ".onnx": "for a segmenter"}
CHECKED = 4    # images that check=true renders
ENCODER, BRANCH, DISCRIMINATOR = "E", "S", "D"  # network= for one


def run(cfg: DictConfig) -> None:
    """Convert ``cfg.source`` into ``cfg.out``; the ending of ``out`` says into what.

    Raises:
        GanvasError: if the source cannot be used, or the format of ``out`` cannot hold it.
    """
    source, out = Path(cfg.source), Path(cfg.out)
    _require_free(out)
    if convert_mapper.concerns(cfg, resolve(source)):
        lines = convert_mapper.convert(cfg, resolve(source), out)
    else:
        lines = _converted(source, out, cfg)
    for line in lines:
        print(line)


def _converted(source: Path, out: Path, cfg: DictConfig) -> list[str]:
    """What is no mapper, converted; the lines that end the command."""
    name = _network(cfg)
    forms = {".safetensors": "a bundle"} | ({} if cfg.generator and out.suffix != ".onnx" else TARGETS)
    if out.suffix not in forms:
        raise GanvasError(f"out={out} must end in {', or in '.join(', '.join(form) for form in forms.items())}.")
    if out.suffix == ".onnx":
        return [*to_onnx(cfg, out), f"written: {out}"]
    if out.suffix == SUFFIX:
        return _to_classifiers(resolve(source), out)
    if out.suffix == ".pt":
        return _to_rosinality(resolve(source), out, cfg)
    return {ENCODER: _encoder, BRANCH: _branch}.get(name, _plain)(source, out, name, cfg)


def _require_free(out: Path) -> None:
    if out.exists():
        raise GanvasError(f"{out} is already there: choose another out=, or delete it first.")


def to_onnx(cfg: DictConfig, out: Path) -> list[str]:
    """Write a segmenter as ONNX; how far onnxruntime is from the network, and what the file takes and gives.

    Raises:
        GanvasError: if the source is no segmenter, options of others are given, or the file cannot be written.
    """
    if cfg.network or cfg.generator:
        raise GanvasError(f"out={out} holds a segmenter, which has neither network= nor generator=: leave them out.")
    network, manifest = load_segmenter(cfg.source)
    trained = (manifest.get("trained_on") or {}).get("resolution")
    size = cfg.resolution or trained
    if size is None or size < 1 or size % network.multiple:
        raise GanvasError(f"resolution={size} is no side that the network in {cfg.source} takes: give a multiple of "
                          f"{network.multiple}.")  # fmt: skip
    about = {"input": f"RGB in [-1, 1], {size}x{size}", "output": "logits of each class and pixel",
             "classes": manifest["classes"], "source": manifest["hash"]}  # fmt: skip
    difference = write_onnx(out, network, size, about)
    shape = f"[N, {network.in_channels}, {size}, {size}]"
    return [f"input: {INPUT} {shape} in [-1, 1]", f"output: {OUTPUT} [N, {network.num_classes}, {size}, {size}]",
            f"largest_difference: {difference:.2g}"]  # fmt: skip


def _network(cfg: DictConfig) -> str:
    """Which network is asked for."""
    own = ENCODER if cfg.generator and not is_classifier(Path(cfg.source)) else BRANCH
    name = cfg.network or (own if cfg.generator else "G_ema")
    known = (*get_args(Network), ENCODER, BRANCH, convert_mapper.MAPPER)
    if name not in known:
        raise GanvasError(f"network={name} must be one of {', '.join(known)}.")
    belongs = name in (ENCODER, BRANCH)
    if (belongs and not cfg.generator) or (cfg.generator and not belongs and name != DISCRIMINATOR):
        raise GanvasError("network=E, an encoder, and network=S, a segmentation branch, need generator=FILE, the one "
                          "that they belong to, and network=D may have it; the other networks have none.")  # fmt: skip
    if cfg.classes and name != BRANCH:
        raise GanvasError("classes= names the classes of a segmentation branch: it goes with network=S only.")
    return name


def _plain(source: Path, out: Path, name: str, cfg: DictConfig) -> list[str]:
    """A generator, or a discriminator, which may say whose it is."""
    network = load_foreign(source, name)
    owner = {"generator": {"hash": load_generator(cfg.generator).hash}} if cfg.generator else {}
    save_generator(out, network, {**_origin(source, network.source, name, cfg), **owner})
    notes = [f"note: {network.note}"] if network.note else []
    return [*notes, *(fingerprint(network) if cfg.check else ()), f"written: {out}"]


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
    drawn = generator.sample(CHECKED, seed=0)
    images = generator.render(drawn).clamp(-1, 1)
    if drawn.space == "z":
        codes = drawn.replace(z=encoder(images, drawn.label))
    else:
        codes = Latent("w+", {"ws": encoder(images)})
    again = generator.render(codes).clamp(-1, 1)
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
