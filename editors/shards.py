"""Finished parts of a long computation in a folder, so that the same call goes on where it was stopped."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from networks.checkpoints.bundle import read_bundle, save_bundle
from networks.checkpoints.errors import GanvasError


class Shards:
    """One file a part. A file that cannot be read counts as absent: it is then computed and written again.

    Args:
        folder: where; it is made when something is kept.
        kind: of the files.
        about: plain JSON values that all results depend on, and that every file names.
    """

    def __init__(self, folder: Path, kind: str, about: Mapping[str, Any]) -> None:
        self.folder, self.kind, self.about = folder, kind, dict(about)

    def get(self, name: str) -> dict[str, Tensor] | None:
        """What is kept under ``name``, or None.

        Raises:
            GanvasError: if the folder holds parts of something else.
        """
        path = self._path(name)
        if not path.is_file():
            return None
        try:
            bundle = read_bundle(path)
        except GanvasError:
            return None
        if (bundle.kind, bundle.manifest.get("about")) != (self.kind, self.about):
            raise GanvasError(f"{self.folder} holds parts of another measurement, by other settings or of another "
                              "network: give another folder, or delete this one.")  # fmt: skip
        return bundle.tensors

    def put(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Keep a part, whole or not at all.

        Raises:
            GanvasError: if the folder cannot be written.
        """
        save_bundle(self._path(name), tensors, {"kind": self.kind, "about": self.about})

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.safetensors"
