"""Images with exact masks that are made here, by the name of their ``data`` group: avatars, styles, rooms, scenes."""

from __future__ import annotations

import numpy as np
from omegaconf import DictConfig

from datamodules.avatar_styles import label_styles
from datamodules.avatars import render_avatars, stratified_labels
from datamodules.masks import LabelledImages
from datamodules.rooms import default_count, render_rooms
from datamodules.scenes import draw_scenes
from datamodules.stratified import draw_stratified, require_draw, shown_classes
from launch.classed import classed_name
from launch.figures import Source

RENDERED = ("avatars", "styles", "rooms", "scenes")  # kinds of data
OFTEN = 2              # labelled images that every class of styles, rooms and scenes is to occur in


def is_rendered(data: DictConfig) -> bool:
    """Whether images of this ``data`` group are made here."""
    return data.get("kind") in RENDERED


def render(
    data: DictConfig, count: int | None, split: str, seed: int, resolution: int | None = None, masks: bool = True
) -> LabelledImages:  # fmt: skip
    """Images of one of :data:`RENDERED`; image ``i`` depends only on the split, the seed and ``i``.

    Args:
        data: the ``data`` group.
        count: how many; None, which only rooms may have: :func:`datamodules.rooms.default_count`.
        split: train, teacher, heldout or labels; they share no image.
        seed: of the draw within the split.
        resolution: pixels a side; None: the group's.
        masks: avatars are rendered faster without.

    Raises:
        GanvasError: for a count or a resolution below one, and unusable or missing furniture.
    """
    size = resolution or data.resolution
    match data.kind:
        case "avatars":
            return render_avatars(count, split, seed, size, masks, data.style)
        case "styles":
            return label_styles(data.styles, count, split, seed, size, masks)
        case "rooms":
            return render_rooms(default_count(size) if count is None else count, data.furniture, split, seed, size)
        case "scenes":
            return draw_scenes(count, split, seed, size)
    raise ValueError(f"data={data.kind} is not rendered; {', '.join(RENDERED)} are")


def label_few(
    data: DictConfig, count: int, seed: int, resolution: int, pool: int = 256
) -> LabelledImages:  # fmt: skip
    """Images of the split ``labels`` so drawn that 16 of them show every class, where the candidates do.

    Args:
        data: the ``data`` group.
        count: how many; fewer are the beginning of more.
        seed: of the draw.
        resolution: pixels a side.
        pool: how many candidates there are of styles, rooms and scenes.

    Raises:
        GanvasError: as :func:`render`, and for a count below 1 or a pool below 16.
    """
    if data.kind == "avatars":
        return stratified_labels(seed, count, resolution=resolution, style=data.style)
    require_draw(count, pool)
    candidates = render(data, max(pool, count), "labels", seed, resolution)
    # A class that few candidates show, or none: a room without a sofa is no mistake.
    minimum = np.minimum(OFTEN, shown_classes(candidates)[:pool].sum(axis=0))
    return draw_stratified(candidates, count, minimum, pool)


def name_of(data: DictConfig) -> str:
    """What the images are called beside figures."""
    names = {"rooms": "rendered rooms", "scenes": "drawn scenes"}
    if data.kind == "styles":
        return classed_name(data)
    return names.get(data.kind) or f"rendered {data.style}"


def heldout_source(data: DictConfig, seed: int) -> Source:
    """What held-out images with masks are called beside figures."""
    return Source(f"{name_of(data)} with exact masks", f"split heldout, seed {seed}")
