"""Avatars rendered on the fly: images, exact part masks, attributes and captions, from nothing but a seed.

The art is DiceBear's (``dicebear-core``, ``dicebear-styles``), the rasteriser resvg; no file is downloaded.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import TypeVar

import numpy as np
from tqdm import tqdm

from datamodules.avatar_cache import AvatarCache, cache_key
from datamodules.avatar_render import AvatarAddress, draw_avatar, render_image, style_definition
from networks.checkpoints.errors import GanvasError

SPLITS = ("train", "teacher", "heldout", "labels")   # each has its own seeds, so none shares an avatar with another

T = TypeVar("T")

_CHUNK = 64          # avatars a worker takes at a time
_POOL_FROM = 400     # below this, starting processes costs more than it saves


@dataclass(frozen=True)
class AvatarSet:
    """Rendered avatars."""

    images: np.ndarray             # uint8 [N, 3, H, W]
    masks: np.ndarray | None       # uint8 [N, H, W] class ids


def render_avatars(
    count: int,
    split: str = "train",
    seed: int = 0,
    resolution: int = 64,
    masks: bool = False,
    style: str = "avataaars",
    workers: int | None = None,
    progress: bool = True,
) -> AvatarSet:
    """Render avatars, or read them from the cache.

    Avatar ``i`` depends only on ``(style, split, seed, i)``: a larger count extends a smaller one.

    Args:
        count: how many.
        split: one of ``SPLITS``.
        seed: the draw within the split.
        resolution: pixels a side.
        masks: also the part masks.
        style: a DiceBear style.
        workers: processes; None: one a core. They are spawned, so a script that calls this needs the
            ``if __name__ == "__main__":`` guard.
        progress: show a progress bar.

    Raises:
        GanvasError: unknown split or style, or a count or resolution below one.
    """
    _check(count, split, resolution)
    style_definition(style)
    cache = AvatarCache(cache_key(style=style, split=split, seed=seed, resolution=resolution, masks=masks))
    stored = cache.read(count)
    have = 0 if stored is None else len(stored["images"])
    if have < count:
        render = partial(_render_one, style, split, seed, resolution)
        with tqdm(total=count - have, desc=f"{style} {split}", unit="image", disable=not progress) as bar:
            fresh = []
            for image in _parallel(render, range(have, count), workers):
                fresh.append(image)
                bar.update()
        images = np.stack(fresh)
        stored = {"images": images if stored is None else np.concatenate([stored["images"], images])}
        cache.write(stored)
    return AvatarSet(stored["images"], None)


def _render_one(style: str, split: str, seed: int, resolution: int, index: int) -> np.ndarray:
    return render_image(draw_avatar(AvatarAddress(style, split, seed, index)), resolution)


def _parallel(function: Callable[[int], T], indices: range, workers: int | None) -> Iterator[T]:
    """Map over indices in order, in spawned processes where that pays."""
    workers = min(workers or os.cpu_count() or 1, len(indices) // _CHUNK + 1)
    if workers <= 1 or len(indices) < _POOL_FROM:
        yield from map(function, indices)
        return
    # Spawn, not fork: the parent may hold threads (torch, a CUDA context) that a forked child cannot use.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(function, indices, chunksize=_CHUNK)


def _check(count: int, split: str, resolution: int) -> None:
    if split not in SPLITS:
        raise GanvasError(f"There is no avatar split {split!r}; choose one of: {', '.join(SPLITS)}.")
    if count < 1:
        raise GanvasError(f"The number of avatars must be at least 1, got {count}.")
    if resolution < 1:
        raise GanvasError(f"The resolution of avatars must be at least 1 pixel, got {resolution}.")
