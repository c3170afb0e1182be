"""Networks that stand alone, out of their bundles: one reader for all kinds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from torch import nn

from networks.checkpoints.bundle import Manifest, read_bundle
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.zoo import resolve

Network = TypeVar("Network", bound=nn.Module)


def load_module(path: str | Path, kind: str, build: Callable[[Manifest], Network]) -> tuple[Network, Manifest]:
    """Read a network's bundle; ``zoo/NAME`` is also looked for in the zoo.

    Args:
        path: the ``.safetensors`` file.
        kind: which the bundle must be of.
        build: the network that a manifest describes, with any weights.

    Returns:
        The network in eval mode, frozen, and the manifest.

    Raises:
        GanvasError: if the bundle is unusable, of another kind, or its weights do not fit its constructor.
    """
    bundle = read_bundle(resolve(path))
    if bundle.kind != kind:
        raise GanvasError(f"{bundle.path} is a bundle of kind '{bundle.kind}': give one of kind '{kind}'")
    try:
        network = build(bundle.manifest)
        network.load_state_dict(bundle.tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise GanvasError(f"the weights in {bundle.path} do not fit their manifest; export it again") from error
    return network.eval().requires_grad_(False), bundle.manifest
