"""A small CLIP-style encoder of avatars: an image tower trained here, and a head on the frozen text tower MiniLM.

Trained by ``ganvas train experiment=clip/avatars64`` (trainers/clip.py). It knows avatars and nothing else; it stands
where CLIP stands for photos, so that a text can be followed without weights from elsewhere. Its bundle holds the image
tower and the head; the text tower's weights come from their package, and the bundle names them by their hash.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from networks.checkpoints.bundle import Manifest, save_bundle
from networks.checkpoints.modules import load_module
from networks.clip.identity import ClipIdentity
from networks.clip.minilm import FEATURES, MiniLM
from networks.clip.model import ClipModel
from networks.clip.preprocess import Preprocessing
from networks.clip.probe import require_numbers
from networks.trunks import build_trunk

KIND = "clip"  # of its bundles
_FIRST_TEMPERATURE, _HIGHEST_SCALE = 0.07, 100.0   # as CLIP has them


class AvatarClip(nn.Module):
    """Two towers into one space; cosines times ``scale`` are the logits of who belongs to whom.

    Raises:
        GanvasError: if the trunk is unknown or cannot take images of this resolution.
    """

    def __init__(
        self,
        resolution: int,               # pixels a side of its images
        trunk: str = "dense",          # a key of networks.trunks.TRUNKS
        width: int = 32,               # of the trunk
        dim: int = 128,                # of the common space
        hidden: int = 512,             # of the text head
        text_features: int = FEATURES,   # length of what the frozen text tower gives
    ) -> None:
        super().__init__()
        self.resolution, self.dim = resolution, dim
        self.trunk = build_trunk(trunk, width, resolution)
        self.project = nn.Linear(self.trunk.features, dim)
        self.text_head = nn.Sequential(
            nn.LayerNorm(text_features), nn.Linear(text_features, hidden), nn.GELU(), nn.Linear(hidden, dim)
        )
        self.log_scale = nn.Parameter(torch.tensor(-math.log(_FIRST_TEMPERATURE)))
        self._config = {
            "resolution": resolution, "trunk": trunk, "width": width, "dim": dim, "hidden": hidden,
            "text_features": text_features,
        }  # fmt: skip

    @property
    def config(self) -> dict[str, Any]:
        """Constructor arguments, as a manifest stores them."""
        return dict(self._config)

    @property
    def name(self) -> str:
        """Its architecture in a word, e.g. ``dense48-64``."""
        return "{trunk}{width}-{resolution}".format(**self._config)

    @property
    def scale(self) -> Tensor:
        """What cosines are multiplied by, at most 100."""
        return self.log_scale.exp().clamp_max(_HIGHEST_SCALE)

    def encode_images(self, images: Tensor) -> Tensor:
        """``[N, 3, resolution, resolution]`` in [-1, 1] to unit vectors ``[N, dim]``."""
        return F.normalize(self.project(self.trunk(images)).float(), dim=1)

    def encode_text_features(self, features: Tensor) -> Tensor:
        """Features of the frozen text tower ``[K, text_features]`` to unit vectors ``[K, dim]``."""
        return F.normalize(self.text_head(features.float()).float(), dim=1)


class ImageTower(nn.Module):
    """The image side of an :class:`AvatarClip`, as a :class:`ClipModel` holds it."""

    def __init__(self, clip: AvatarClip) -> None:
        super().__init__()
        self.trunk, self.project = clip.trunk, clip.project

    def forward(self, images: Tensor) -> Tensor:
        return self.project(self.trunk(images))


class AvatarText(nn.Module):
    """MiniLM and the trained head on it; MiniLM's weights are read when the first text comes, and stay on the CPU."""

    def __init__(self, clip: AvatarClip, tower: MiniLM, words: Sequence[str] = ()) -> None:
        super().__init__()
        self.context, self.length = tower.context, tower.length
        self.head, self._tower, self._words = clip.text_head, tower, frozenset(words)   # that it was trained on

    def unknown(self, text: str) -> tuple[list[str], int]:
        found, words = self._tower.unknown(text)
        return [word for word in found if not self._was_trained_on(word.lower())], words

    def _was_trained_on(self, word: str) -> bool:
        """Whether it, or what it is the plural of, was."""
        return not self._words.isdisjoint({word, word.removesuffix("s"), word.removesuffix("es")})

    def encode(self, texts: Sequence[str]) -> Tensor:
        return self.head(self._tower.features(texts).to(self.head[0].weight.device))


def save_avatar_clip(
    path: str | Path, network: AvatarClip, text_tower: str, words: Sequence[str], extra: Mapping[str, Any]
) -> Path:  # fmt: skip
    """Write a bundle of kind ``clip``.

    Args:
        path: the ``.safetensors`` file to write.
        network: what to write.
        text_tower: hash of the text tower's weights, ``MiniLM.hash``.
        words: that it was trained on; they are known even if the text tower has them in small pieces only.
        extra: further manifest entries: ``metrics``, ``command``, ``licence``.
    """
    tower = {"package": MiniLM.package, "hash": text_tower}
    manifest = {**extra, "kind": KIND, "config": network.config, "text_tower": tower, "words": sorted(words)}
    return save_bundle(path, network.state_dict(), manifest)


def load_avatar_clip(path: str | Path, legacy: bool = False) -> ClipModel:
    """Read such a bundle; ``zoo/NAME`` is also looked for in the zoo.

    Raises:
        GanvasError: if the bundle is unusable, of another kind, was trained with another tower, or gives no numbers.
    """
    network, manifest = load_module(path, KIND, _from_manifest)
    # Images in [-1, 1] are what it was trained on, so `legacy` changes nothing but the identity.
    half = (0.5, 0.5, 0.5)
    prepared = Preprocessing(network.resolution, half, half, legacy)
    identity = ClipIdentity("avatar", network.name, manifest["hash"], prepared.to_json())
    with torch.no_grad():   # of a grey image, and of a text that is not read
        grey, silence = torch.zeros(1, 3, *[network.resolution] * 2), torch.zeros(1, network.config["text_features"])
        features = network.project(network.trunk(grey)), network.text_head(silence)
    # Lengths, since they overflow before their parts do.
    require_numbers(identity, *(vectors.norm(dim=1) for vectors in features))
    tower = MiniLM(expected=str((manifest.get("text_tower") or {}).get("hash", "")))
    text = AvatarText(network, tower, manifest.get("words") or ())
    return ClipModel(identity, network.dim, prepared, ImageTower(network), text)


def _from_manifest(manifest: Manifest) -> AvatarClip:
    return AvatarClip(**manifest["config"])
