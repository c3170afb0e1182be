"""Drawn rooms: determined by their address, masks that fit their images."""

from __future__ import annotations

import numpy as np
import pytest

from datamodules.scenes import SCENE_CLASSES, draw_scenes
from networks.checkpoints.errors import GanvasError


def test_a_scene_depends_on_its_address_alone() -> None:
    few, many = draw_scenes(3, seed=1, resolution=32), draw_scenes(6, seed=1, resolution=32)
    assert np.array_equal(few.images, many.images[:3])
    assert few.shapes == many.shapes[:3]
    others = (draw_scenes(3, "heldout", 1, 32), draw_scenes(3, "train", 2, 32))
    assert not any(np.array_equal(few.images, other.images) for other in others)


def test_every_class_occurs_and_the_mask_is_the_image_s() -> None:
    scenes = draw_scenes(60, resolution=48)
    assert (scenes.class_pixels().sum(axis=0) > 0).all()
    for image, mask, shapes in zip(scenes.images, scenes.masks, scenes.shapes, strict=True):
        wall = np.abs(image[:, mask == 0].astype(int) - np.array(shapes[0].color)[:, None]).max(axis=0)
        assert (wall == 0).mean() > 0.8  # but for pixels that the edge of another part runs through
        assert {SCENE_CLASSES.names[i] for i in np.unique(mask)} <= {shape.name for shape in shapes}


def test_each_class_of_a_scene_is_one_object() -> None:
    scenes = draw_scenes(2, resolution=16)
    instances = scenes.instances()
    assert instances.dtype == np.uint8
    for mask, found in zip(scenes.masks, instances, strict=True):
        assert len(np.unique(np.stack([mask, found]).reshape(2, -1), axis=1).T) == len(np.unique(mask))
        assert found.min() > 0


def test_the_larger_picture_is_the_same_scene() -> None:
    small, large = draw_scenes(4, resolution=32), draw_scenes(4, resolution=64)
    shrunk = large.images.reshape(4, 3, 32, 2, 32, 2).mean(axis=(3, 5))
    assert np.abs(shrunk - small.images).mean() < 3
    assert small.shapes == large.shapes


@pytest.mark.parametrize("wrong", [{"split": "odd"}, {"count": 0}, {"resolution": 0}])
def test_what_cannot_be_drawn_is_said(wrong: dict[str, object]) -> None:
    with pytest.raises(GanvasError, match=r"scenes|Scenes"):
        draw_scenes(**{"count": 2, **wrong})
