"""A tiny random CLIP for tests: needs no file and no optional package."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from networks.checkpoints.bundle import tensors_hash
from networks.clip import ClipIdentity, ClipModel, Preprocessing
from networks.clip.avatar import AvatarClip, ImageTower

DIM = 16
NONSENSE = "qzx"   # the only word that it does not know


class HashedWords:
    """A text tower that adds up a random vector for each word."""

    context = 32

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def length(self, text: str) -> int:
        return len(text.split()) + 2

    def unknown(self, text: str) -> tuple[list[str], int]:
        words = text.split()
        return [word for word in words if word == NONSENSE], len(words)

    def encode(self, texts: Sequence[str]) -> Tensor:
        return torch.stack([sum((self._vector(w) for w in text.lower().split()), torch.zeros(DIM)) for text in texts])

    def _vector(self, word: str) -> Tensor:
        number = int.from_bytes(word.encode()[:6].ljust(6, b"_"), "big")
        return torch.randn(DIM, generator=torch.Generator().manual_seed(number ^ self.seed))


def tiny_clip(seed: int = 0, resolution: int = 32) -> ClipModel:
    """A random model of 16 dimensions; other seeds are other models."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tower = ImageTower(AvatarClip(resolution, width=4, dim=DIM, hidden=8, text_features=8))
    prepared = Preprocessing(resolution, (0.5,) * 3, (0.5,) * 3)
    identity = ClipIdentity("avatar", f"tiny-{resolution}", tensors_hash(tower.state_dict()), prepared.to_json())
    return ClipModel(identity, DIM, prepared, tower, HashedWords(seed))
