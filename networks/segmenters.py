"""Feed-forward labellers: what all of them offer, images to masks by one, and their bundles."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from networks.checkpoints.bundle import Manifest, save_bundle
from networks.checkpoints.modules import load_module
from networks.segmenter_library import LibrarySegmenter
from networks.unet import UNet

KIND = "segmenter"  # of its bundles
NETWORKS: dict[str, type[UNet] | type[LibrarySegmenter]] = {"unet": UNet, "library": LibrarySegmenter}


class Segmenter(Protocol):
    """A network that gives class logits ``[N, K, H, W]`` for images ``[N, C, H, W]`` in [-1, 1]."""

    num_classes: int
    in_channels: int
    multiple: int             # sizes of images must be multiples of it
    config: dict[str, Any]    # constructor arguments

    def __call__(self, images: Tensor) -> Tensor: ...


@torch.inference_mode()
def label_images(network: Segmenter, images: Tensor, batch: int = 64) -> Tensor:
    """Masks of images: ``[N, 3, H, W]`` in [-1, 1] -> class ids ``uint8 [N, H, W]``, ``batch`` images at a time."""
    return torch.cat([network(part).argmax(1).to(torch.uint8) for part in images.split(batch)])


def save_segmenter(path: str | Path, network: UNet | LibrarySegmenter, extra: Manifest) -> Path:
    """Write the network as a bundle of kind ``segmenter``.

    Args:
        path: the ``.safetensors`` file to write.
        network: what to write.
        extra: further manifest entries: ``classes``, ``metrics``, ``command``, ``licence``.
    """
    (name,) = (name for name, kind in NETWORKS.items() if isinstance(network, kind))
    return save_bundle(path, network.state_dict(), {**extra, "kind": KIND, "network": name, "config": network.config})


def load_segmenter(path: str | Path) -> tuple[UNet | LibrarySegmenter, Manifest]:
    """Read a segmenter's bundle; ``zoo/NAME`` is also looked for in the zoo.

    Returns:
        The network in eval mode, frozen, and the manifest with its ``classes`` and ``metrics``.

    Raises:
        GanvasError: if the bundle is unusable, of another kind, its weights do not fit its constructor, or its network
            needs a package that is not installed.
    """
    return load_module(path, KIND, lambda about: NETWORKS[about.get("network", "unet")](**about["config"]))
