"""Labelled images agree with themselves."""

from __future__ import annotations

import numpy as np
import pytest

from datamodules.masks import LabelledImages
from networks.checkpoints.classes import ClassList

THREE = ClassList(("sky", "sea", "land"), ((0, 0, 0), (0, 0, 255), (90, 60, 30)))


def test_labelled_images_check_their_shapes_and_can_be_chosen_from() -> None:
    images = np.arange(3 * 3 * 2 * 2, dtype=np.uint8).reshape(3, 3, 2, 2)
    masks = np.array([[[0, 0], [1, 2]]] * 3, dtype=np.uint8)
    labelled = LabelledImages(images, masks, ("a", "b", "c"), THREE)
    chosen = labelled.take([2, 0])
    assert chosen.names == ("c", "a")
    np.testing.assert_array_equal(chosen.images, images[[2, 0]])
    np.testing.assert_array_equal(labelled.class_pixels(), [[2, 1, 1]] * 3)
    with pytest.raises(ValueError, match=r"masks must be uint8 \[3, 2, 2\]"):
        LabelledImages(images, masks[:2], ("a", "b", "c"), THREE)
    with pytest.raises(ValueError, match="come together"):
        LabelledImages(images, masks, ("a", "b", "c"), None)
