"""Features of many texts by a frozen tower, computed once and kept on disk: they are most of what a training costs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from networks.checkpoints.atomic import atomic_path
from networks.checkpoints.cache_dir import cache_dir
from networks.clip.minilm import MiniLM

_BATCH = 128


def text_features(tower: MiniLM, texts: Sequence[str], progress: bool = True) -> Tensor:
    """Features of each text in half precision, ``float16 [T, F]``; from the cache where they were computed before.

    Raises:
        GanvasError: if a package of the tower is missing, or the cache cannot be written.
    """
    path = _path(tower, texts)
    if (found := _kept(path)) is not None:
        return found
    # Texts of one length at a time: none is filled up with tokens that mean nothing.
    order = sorted(range(len(texts)), key=lambda i: tower.length(texts[i]))
    starts = tqdm(range(0, len(order), _BATCH), desc="texts", unit=f"{_BATCH} texts", disable=not progress)
    sorted_ = torch.cat([tower.features([texts[i] for i in order[start : start + _BATCH]]).half() for start in starts])
    features = torch.empty_like(sorted_)
    features[torch.tensor(order)] = sorted_
    with atomic_path(path) as temporary:
        save_file({"features": features}, temporary)
    return features


def _path(tower: MiniLM, texts: Sequence[str]) -> Path:
    digest = hashlib.sha256("\n".join([tower.hash, *texts]).encode()).hexdigest()[:16]
    return cache_dir() / "texts" / f"{digest}.safetensors"


def _kept(path: Path) -> Tensor | None:
    try:
        return load_file(path)["features"]
    except (OSError, SafetensorError, KeyError):   # none yet, or a damaged one
        return None
