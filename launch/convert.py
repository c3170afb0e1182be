"""``ganvas convert``: networks of other code bases into bundles, and a generator back into rosinality's format."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import torch
from omegaconf import DictConfig
from torch import nn

from networks.checkpoints.bundle import tensors_hash
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.foreign import Network
from networks.checkpoints.generators import load_foreign, load_generator, save_generator, stored_tensors
from networks.checkpoints.rosinality import write_rosinality

CHECKED = 4  # images that check=true renders


def run(cfg: DictConfig) -> None:
    """Convert ``cfg.source`` into ``cfg.out``; the ending of ``out`` says into what.

    Raises:
        GanvasError: if the source cannot be used, or the format of ``out`` cannot hold it.
    """
    source, out = Path(cfg.source), Path(cfg.out)
    if cfg.network not in get_args(Network):
        raise GanvasError(f"network={cfg.network} must be one of {', '.join(get_args(Network))}.")
    if out.exists():
        raise GanvasError(f"{out} is already there: choose another out=, or delete it first.")
    if out.suffix == ".safetensors":
        network = load_foreign(source, cfg.network)
        origin = {"file": source.name, "format": network.source, "network": cfg.network}
        save_generator(out, network, {"source": origin, "command": cfg.command, "licence": "that of the source"})
    elif out.suffix == ".pt":
        network = load_generator(source)
        for sentence in write_rosinality(out, network):
            print(sentence)
    else:
        raise GanvasError(f"out={out} must end in .safetensors, a bundle, or in .pt, rosinality's format.")
    if cfg.check:
        for line in fingerprint(network):
            print(line)
    print(f"written: {out}")


def fingerprint(network: nn.Module) -> list[str]:
    """What tells whether two files hold the same network, and whether it draws: fixed codes, rendered."""
    lines = [f"hash: {tensors_hash(stored_tensors(network))}"]
    if hasattr(network, "render"):
        with torch.no_grad():
            images = network.render(network.sample(CHECKED, seed=0))
        lines += [f"image_mean: {images.mean().item():.5f}", f"image_std: {images.std().item():.5f}"]
    return lines
