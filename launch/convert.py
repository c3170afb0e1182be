"""``ganvas convert``: networks of other code bases into bundles, and bundles into rosinality's format or ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import torch
from omegaconf import DictConfig
from torch import nn

from networks.checkpoints.bundle import read_manifest, tensors_hash
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
from networks.checkpoints.onnx_files import INPUT, OUTPUT, write_onnx
from networks.checkpoints.rosinality import write_rosinality
from networks.checkpoints.zoo import resolve
from networks.latent import Latent
from networks.metrics import psnr
from networks.protocol import Generator
from networks.segmenters import load_segmenter

CHECKED = 4    # images that check=true renders
ENCODER = "E"  # network= for one


def run(cfg: DictConfig) -> None:
    """Convert ``cfg.source`` into ``cfg.out``; the ending of ``out`` says into what.

    Raises:
        GanvasError: if the source cannot be used, or the format of ``out`` cannot hold it.
    """
    source, out, name = Path(cfg.source), Path(cfg.out), _network(cfg)
    if out.exists():
        raise GanvasError(f"{out} is already there: choose another out=, or delete it first.")
    if out.suffix == ".onnx":
        for line in to_onnx(cfg, out):
            print(line)
        print(f"written: {out}")
        return
    if out.suffix == ".pt" and name != ENCODER:
        network = _of_any_source(resolve(source), cfg.network)
        for sentence in write_rosinality(out, network):
            print(sentence)
    elif out.suffix != ".safetensors":
        forms = "a bundle" if name == ENCODER else "a bundle, in .pt, rosinality's format, or in .onnx, for a segmenter"
        raise GanvasError(f"out={out} must end in .safetensors, {forms}.")
    elif name == ENCODER:
        generator = load_generator(cfg.generator)
        network = load_foreign_encoder(source, generator)
        save_encoder(out, network, generator.hash, _origin(source, network.source, name, cfg))
    else:
        network = load_foreign(source, name)
        save_generator(out, network, _origin(source, network.source, name, cfg))
    if cfg.check:
        for line in fingerprint(network) if name != ENCODER else agreement(network, generator):
            print(line)
    print(f"written: {out}")


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
    name = cfg.network or (ENCODER if cfg.generator else "G_ema")
    known = (*get_args(Network), ENCODER)
    if name not in known:
        raise GanvasError(f"network={name} must be one of {', '.join(known)}.")
    if (name == ENCODER) != bool(cfg.generator):
        raise GanvasError("network=E, an encoder, needs generator=FILE, the generator whose codes it finds; the other "
                          "networks have none.")  # fmt: skip
    return name


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


def fingerprint(network: nn.Module) -> list[str]:
    """What tells whether two files hold the same network, and whether it draws: fixed codes, rendered."""
    lines = [f"hash: {tensors_hash(stored_tensors(network))}"]
    if hasattr(network, "render"):
        with torch.no_grad():
            images = network.render(network.sample(CHECKED, seed=0))
        lines += [f"image_mean: {images.mean().item():.5f}", f"image_std: {images.std().item():.5f}"]
    return lines
