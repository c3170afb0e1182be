"""Which CLIP it was: what a bundle stores so that features of two models are never mixed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from networks.checkpoints.errors import GanvasError


@dataclass(frozen=True)
class ClipIdentity:
    """A CLIP by its weights and by how images are prepared for it; equal identities give equal features."""

    provider: str                     # "avatar", "open_clip" or "transformers"
    model: str                        # its architecture's name there
    weights: str                      # sha256 of the tensors as stored, ``networks.checkpoints.bundle.tensors_hash``
    preprocessing: dict[str, Any]     # ``Preprocessing.to_json()``: size, mean, std, legacy

    def to_json(self) -> dict[str, Any]:
        """As a manifest stores it."""
        return asdict(self)

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> ClipIdentity:
        """What :meth:`to_json` gave.

        Raises:
            GanvasError: if an entry is missing or is no such thing.
        """
        texts = {name: entry.get(name) for name in ("provider", "model", "weights")}
        prepared = entry.get("preprocessing")
        if not all(isinstance(text, str) for text in texts.values()) or not isinstance(prepared, Mapping):
            raise GanvasError("a manifest does not say which CLIP it was made with: export the bundle again.")
        return cls(**texts, preprocessing=dict(prepared))  # type: ignore[arg-type]

    def __str__(self) -> str:
        legacy = ", images as the original StyleCLIP gave them" if self.preprocessing.get("legacy") else ""
        return f"{self.provider}:{self.model} ({self.weights[:12]}{legacy})"
