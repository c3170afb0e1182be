"""Avatars rendered on the fly: images, exact part masks, attributes and captions, from nothing but a seed.

The art is DiceBear's (``dicebear-core``, ``dicebear-styles``), the rasteriser resvg; no file is downloaded.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context

import numpy as np
from tqdm import tqdm

from datamodules.avatar_cache import AvatarCache, AvatarTable
from datamodules.avatar_captions import caption
from datamodules.avatar_masks import AVATAR_CLASSES, drawn_classes
from datamodules.avatar_render import AvatarAddress, RenderedAvatar, render_avatar, style_definition
from datamodules.masks import LabelledImages
from datamodules.stratified import draw_stratified, require_draw
from networks.checkpoints.errors import GanvasError

__all__ = ["AVATAR_CLASSES", "SPLITS", "AvatarSet", "redraw_avatars", "render_avatars", "stratified_labels"]

SPLITS = ("train", "teacher", "heldout", "labels")   # each has its own random numbers, so none shares an avatar

_CHUNK = 32             # avatars a worker takes at a time
_POOL_FROM = 300        # below this, starting processes costs more than it saves


@dataclass(frozen=True)
class AvatarSet(LabelledImages):
    """Rendered avatars with what is known of them."""

    attributes: tuple[dict[str, str | None], ...] = ()   # part and colour names of each; see ``draw_avatar``
    captions: tuple[str, ...] = ()                       # one English sentence each


def render_avatars(
    count: int,
    split: str = "train",
    seed: int = 0,
    resolution: int = 64,
    masks: bool = False,
    style: str = "avataaars",
    workers: int | None = None,
    progress: bool = True,
    expression: int = 0,
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
        expression: 0, or which other expression of the same persons, before another background.

    Raises:
        GanvasError: an unknown split or style, a style without masks, or a count or resolution below one.
    """
    _check(count, split, resolution, style, masks)
    cache = AvatarCache(style, split, seed, resolution, masks, expression)
    table = cache.read(count)
    have = 0 if table is None else len(table.images)
    if have < count:
        render = partial(_render, AvatarAddress(style, split, seed, 0, expression), resolution, masks)
        rendered = _in_order(render, range(have, count), workers)
        bar = tqdm(rendered, desc=f"{style} {split}", total=count - have, unit="image", disable=not progress)
        fresh = _as_table(list(bar), masks)
        table = fresh if table is None else table + fresh
        cache.write(table)
    return _as_set(table, [f"{style}-{split}-{seed}-{i:05d}" for i in range(count)])


def redraw_avatars(
    indices: Sequence[int],
    changed: Mapping[str, str | None],
    split: str = "train",
    seed: int = 0,
    resolution: int = 64,
    style: str = "avataaars",
) -> AvatarSet:
    """Some avatars of a draw with other parts, and their masks: the wish of an edit, exact to the pixel. Not cached.

    Args:
        indices: which, by their numbers in ``render_avatars``.
        changed: part -> the variant that each of them is drawn with instead of its own; None: without that part.
        split: see ``render_avatars``, as for the rest.

    Raises:
        GanvasError: if the style has no such part or variant, or what ``render_avatars`` refuses.
    """
    _check(max(indices, default=-1) + 1, split, resolution, style, masks=True)
    parts = tuple(sorted(changed.items()))
    drawn = [
        render_avatar(AvatarAddress(style, split, seed, int(i), changed=parts), resolution, masks=True) for i in indices
    ]
    return _as_set(_as_table(drawn, masks=True), [f"{style}-{split}-{seed}-{i:05d}" for i in indices])


def _as_set(table: AvatarTable, names: Sequence[str]) -> AvatarSet:
    return AvatarSet(
        images=table.images,
        masks=table.masks,
        names=tuple(names),
        classes=None if table.masks is None else AVATAR_CLASSES,
        attributes=tuple(table.attributes),
        captions=tuple(caption(a) for a in table.attributes),
    )


def stratified_labels(
    seed: int,
    n: int = 16,
    minimum: int = 2,
    pool: int = 256,
    resolution: int = 64,
    style: str = "avataaars",
    workers: int | None = None,
    progress: bool = True,
) -> AvatarSet:
    """Draw avatars to label, so that each class occurs at least ``minimum`` times among the first 16.

    The draw of ``n`` labels is the first ``n`` of the draw of 16 (or of more), and its first few already show most
    classes: the next label is always the one that shows most of what is still short. What is short no longer, the
    rest of the 16, follows the style's own distribution.

    Args:
        seed: the draw; other seeds draw other avatars.
        n: how many labels.
        minimum: images that every class must occur in, among the first 16.
        pool: candidates of the split ``labels`` that the first 16 are chosen from.
        resolution: pixels a side.
        style: a DiceBear style with masks.
        workers: see ``render_avatars``.
        progress: show a progress bar.

    Raises:
        GanvasError: if the pool has no 16 avatars with every class that often, or what ``render_avatars`` refuses.
    """
    require_draw(n, pool)
    candidates = render_avatars(max(pool, n), "labels", seed, resolution, True, style, workers, progress)
    return draw_stratified(candidates, n, minimum * drawn_classes(style), pool)


def _render(first: AvatarAddress, resolution: int, masks: bool, index: int) -> RenderedAvatar:
    return render_avatar(replace(first, index=index), resolution, masks)


def _in_order(render: partial[RenderedAvatar], indices: range, workers: int | None) -> Iterator[RenderedAvatar]:
    """Render in order, in spawned processes where that pays."""
    workers = min(workers or os.cpu_count() or 1, len(indices) // _CHUNK + 1)
    if workers == 1 or len(indices) < _POOL_FROM:
        yield from map(render, indices)
        return
    # Spawn, not fork: the parent may hold threads (torch, a CUDA context) that a forked child cannot use.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(render, indices, chunksize=_CHUNK)


def _as_table(rendered: list[RenderedAvatar], masks: bool) -> AvatarTable:
    return AvatarTable(
        # Laid out as the cache gives them back: another layout is another order of sums in training.
        images=np.ascontiguousarray(np.stack([r.image for r in rendered])),
        masks=np.stack([r.mask for r in rendered]) if masks else None,
        attributes=[r.attributes for r in rendered],
    )


def _check(count: int, split: str, resolution: int, style: str, masks: bool) -> None:
    if split not in SPLITS:
        raise GanvasError(f"There is no avatar split {split!r}; choose one of: {', '.join(SPLITS)}.")
    if count < 1:
        raise GanvasError(f"The number of avatars must be at least 1, got {count}.")
    if resolution < 1:
        raise GanvasError(f"The resolution of avatars must be at least 1 pixel, got {resolution}.")
    style_definition(style)
    if masks:
        drawn_classes(style)   # refuses a style without a table before any work is done
