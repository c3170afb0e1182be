"""Who an image shows: an embedding that is the same for a person with another expression, and another for others.

Trained on pairs by the contrastive loss of InfoNCE (van den Oord et al. 2018, arXiv 1807.03748, eq. 4; both ways, as
CLIP has it). For avatars it stands where ArcFace stands for faces: cosines before and after an edit say how far the
person was kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from networks.checkpoints.bundle import Manifest, save_bundle
from networks.checkpoints.modules import load_module
from networks.embedding import Embedding
from networks.face_identity import load_face_identity
from networks.trunks import build_trunk, fitted

KIND = "identity"          # of its bundles
FACES = (".pth", ".pt")    # endings of files that torch.save wrote


class IdentityNetwork(Embedding):
    """Unit vectors of images, ``[N, 3, R, R]`` in [-1, 1] -> ``[N, dim]``.

    Raises:
        GanvasError: if the trunk is unknown or cannot take images of this resolution.
    """

    def __init__(
        self,
        resolution: int,          # pixels a side of its images; others are resized
        trunk: str = "dense",     # a key of networks.trunks.TRUNKS
        width: int = 32,          # of the trunk
        dim: int = 64,            # of the embedding
    ) -> None:
        super().__init__()
        self.resolution = resolution
        self.trunk = build_trunk(trunk, width, resolution)
        self.project = nn.Linear(self.trunk.features, dim)
        self._config = {"resolution": resolution, "trunk": trunk, "width": width, "dim": dim}

    @property
    def config(self) -> dict[str, Any]:
        """Constructor arguments, as a manifest stores them."""
        return dict(self._config)

    def forward(self, images: Tensor) -> Tensor:
        return F.normalize(self.project(self.trunk(fitted(images, self.resolution))), dim=1)


def pair_loss(first: Tensor, second: Tensor, temperature: float = 0.1) -> Tensor:
    """InfoNCE both ways: each of ``first`` is to be nearest to its own of ``second``, and the reverse.

    Args:
        first: unit vectors ``[N, D]``.
        second: of the same persons in the same order, ``[N, D]``.
        temperature: cosines are divided by it.

    Raises:
        ValueError: if the two differ in shape.
    """
    if first.shape != second.shape or first.ndim != 2:
        raise ValueError(f"pairs must be [N, D] both, got {list(first.shape)} and {list(second.shape)}")
    scores = first.float() @ second.float().T / temperature  # [N, N]
    own = torch.arange(len(first), device=first.device)
    return (F.cross_entropy(scores, own) + F.cross_entropy(scores.T, own)) / 2


def save_identity(path: str | Path, network: IdentityNetwork, extra: Mapping[str, Any]) -> Path:
    """Write an embedding as a bundle of kind ``identity``; ``extra``: ``metrics``, ``command``, ``licence``."""
    return save_bundle(path, network.state_dict(), {**extra, "kind": KIND, "config": network.config})


def load_identity(path: str | Path) -> tuple[Embedding, Manifest]:
    """Read an embedding: a bundle (``zoo/NAME`` is also looked for in the zoo), or ``model_ir_se50.pth``, for faces.

    Returns:
        The network in eval mode, frozen, and a manifest with at least its ``hash``.

    Raises:
        GanvasError: if the file is unusable, of another kind, or its weights do not fit.
    """
    if Path(path).suffix in FACES:
        return load_face_identity(Path(path))
    return load_module(path, KIND, lambda manifest: IdentityNetwork(**manifest["config"]))
