"""Inversions kept on disk, one file an image, so that no image is inverted twice and a stopped run goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from networks.checkpoints.bundle import read_bundle, save_bundle, tensors_hash
from networks.checkpoints.cache_dir import cache_dir
from networks.checkpoints.errors import GanvasError

KIND = "inversion"
ALGORITHM = 1  # raised when the same settings give another result


def default_folder() -> Path:
    """``$GANVAS_CACHE/inversions``, or ``~/.cache/ganvas/inversions``."""
    return cache_dir() / "inversions"


class InversionCache:
    """A folder of inverted codes. What cannot be read counts as absent: it is then computed and written again.

    Args:
        folder: where; :func:`default_folder` if not given. It is made when something is kept.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = Path(folder) if folder is not None else default_folder()

    @staticmethod
    def key(
        generator_hash: str, image: Tensor, settings: Mapping[str, Any], start: Mapping[str, Tensor] | None = None
    ) -> str:  # fmt: skip
        """The name under which a result is kept: all that the result depends on, and nothing else.

        Args:
            generator_hash: of the generator.
            image: what the inversion sees, ``[C, R, R]``.
            settings: those that change the result, as plain JSON values.
            start: the tensors of the code it starts from, where one was given.
        """
        # A code of W+ is one tensor, and has been called so from the beginning.
        named = {"start" if name == "ws" else f"start.{name}": tensor for name, tensor in (start or {}).items()}
        tensors = {"image": image, **named}
        parts = [ALGORITHM, generator_hash, tensors_hash(tensors), dict(settings)]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def get(self, key: str) -> dict[str, Tensor] | None:
        """What is kept under ``key``, as a latent's tensors have it for one item (``ws [num_ws, w_dim]``), or None."""
        path = self._path(key)
        if not path.is_file():
            return None
        try:
            bundle = read_bundle(path)
        except GanvasError:
            return None
        return bundle.tensors if bundle.kind == KIND else None

    def put(self, key: str, tensors: Mapping[str, Tensor], generator_hash: str) -> None:
        """Keep one item's code and noise, whole or not at all.

        Raises:
            GanvasError: if the folder cannot be written.
        """
        save_bundle(self._path(key), dict(tensors), {"kind": KIND, "generator": {"hash": generator_hash}})

    def _path(self, key: str) -> Path:
        # Two levels: a folder with a hundred thousand files is slow to list.
        return self.folder / key[:2] / f"{key}.safetensors"
