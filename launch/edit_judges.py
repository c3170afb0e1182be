"""What judges of edits say, whatever made the edit: who stays the same, and how natural the images look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from omegaconf import DictConfig
from torch import Tensor

from launch.figures import Figure, Protocol
from networks.attributes import AttributePanel, load_attributes
from networks.critics import feature_network
from networks.identity import load_identity
from networks.metrics.fid import fid
from networks.metrics.generator_metrics import SUBSETS
from networks.metrics.kid import extract_features, kid

SUBSET_SIZE = 100   # of KID; at most half of the images
# The zoo's classifiers of attributes, of two architectures. The first alone judges edits by masks, where a boundary may
# have been fitted to what the second says; both together judge edits by text.
JUDGES = ("zoo/attributes_judge_avatars64.safetensors", "zoo/attributes_avatars64.safetensors")


class AttributeJudge(NamedTuple):
    """Who says which attributes images have."""

    panel: AttributePanel
    name: str                    # as protocols have it
    accuracy: dict[str, float]   # by attribute, on held-out images: the least of the members', where bundles say it


def attribute_judge(paths: Sequence[str], default: Sequence[str] = JUDGES[:1]) -> AttributeJudge:
    """The judge that ``judge=`` names, one bundle or several; ``default`` where it names none.

    Raises:
        GanvasError: if a bundle cannot be used, or two tell different attributes.
    """
    networks, manifests = zip(*(load_attributes(path) for path in paths or default), strict=True)
    told = [manifest.get("metrics", {}).get("by_attribute", {}) for manifest in manifests]
    accuracy = {
        a.name: min(scores[a.name]["accuracy"] for scores in told)
        for a in networks[0].attributes if all("accuracy" in scores.get(a.name, {}) for scores in told)
    }  # fmt: skip
    return AttributeJudge(AttributePanel(networks), " + ".join(map(judge_name, manifests)), accuracy)


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
