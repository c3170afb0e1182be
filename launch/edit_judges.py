"""What judges of edits say, whatever made the edit: who stays the same, and how natural the images look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from omegaconf import DictConfig
from torch import Tensor

from launch.figures import Figure, Protocol
from networks.critics import feature_network
from networks.identity import load_identity
from networks.metrics.fid import fid
from networks.metrics.generator_metrics import SUBSETS
from networks.metrics.kid import extract_features, kid

SUBSET_SIZE = 100   # of KID; at most half of the images


def judge_name(manifest: Mapping[str, Any]) -> str:
    """What a judge is called beside figures: images of another kind than it was trained on may fool it."""
    trained = manifest.get("trained_on", {}).get("data")
    return f"judge {manifest['hash'][:12]}" + (f", trained on {trained}" if trained else "")


def kept_persons(
    path: str | None, own: Tensor, pictures: Mapping[str, Tensor], base: Protocol
) -> dict[str, Figure]:  # fmt: skip
    """Mean cosines of an identity network between images and what became of them.

    Args:
        path: of the network; None: nothing is measured.
        own: the images ``[N, C, R, R]`` in [-1, 1].
        pictures: what became of them, by the name of the figure.
        base: protocol of the figures, but for the network.

    Raises:
        GanvasError: if the network cannot be read.
    """
    if path is None:
        return {}
    network, manifest = load_identity(path)
    first, protocol = network.embed(own), replace(base, network=f"identity {manifest['hash'][:12]}")
    means = {name: float((network.embed(images) * first).sum(1).mean()) for name, images in pictures.items()}
    return {name: Figure(mean, protocol) for name, mean in means.items()}


def natural(cfg: DictConfig, real: Tensor, edited: Tensor, base: Protocol, against: str) -> dict[str, Figure]:
    """KID and FID between edited images and others, ``[N, C, R, R]`` in [-1, 1], by each of ``cfg.metrics_features``.

    Raises:
        GanvasError: if there is no such feature network.
    """
    found: dict[str, Figure] = {}
    for name in cfg.metrics_features:
        network = feature_network(name, cfg.metrics_weights, cfg.allow_download)
        sets = [extract_features(network, images.split(cfg.batch)) for images in (real, edited)]
        size = min(SUBSET_SIZE, max(min(map(len, sets)) // 2, 2))
        mean, deviation = kid(*sets, SUBSETS, size)
        short = name.replace("-", "_")
        protocol = replace(base, network=name, how=f"{base.how}; against {against}; subsets of {size}")
        figures = {f"kid_{short}_x1000": 1000 * mean, f"kid_{short}_x1000_std": 1000 * deviation}
        found |= {key: Figure(value, protocol) for key, value in (figures | {f"fid_{short}": fid(*sets)}).items()}
    return found
