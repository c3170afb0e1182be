"""Styles as classes: images in turn, the same for any count, and mistakes in one sentence."""

from __future__ import annotations

import numpy as np
import pytest

from datamodules.avatar_styles import label_styles, render_styles
from datamodules.avatars import AVATAR_CLASSES, render_avatars
from networks.checkpoints.errors import GanvasError

STYLES = ("avataaars", "lorelei", "micah")


def test_images_are_of_the_styles_in_turn() -> None:
    drawn = render_styles(STYLES, 5, "train", 0, 16)
    assert drawn.labels.argmax(1).tolist() == [0, 1, 2, 0, 1]
    assert drawn.labels.dtype == np.float32
    assert np.array_equal(drawn.images[1::3], render_avatars(2, "train", 0, 16, style="lorelei").images)
    assert np.array_equal(render_styles(STYLES, 3, "train", 0, 16).images, drawn.images[:3])


def test_masks_come_in_the_same_order() -> None:
    styles = ("avataaars", "micah")
    drawn, labelled = render_styles(styles, 5, "labels", 2, 16), label_styles(styles, 5, "labels", 2, 16)
    assert np.array_equal(drawn.images, labelled.images)
    assert [name.partition("-")[0] for name in labelled.names] == ["avataaars", "micah"] * 2 + ["avataaars"]
    assert labelled.classes == AVATAR_CLASSES
    one = render_avatars(2, "labels", 2, 16, masks=True, style="micah")
    assert np.array_equal(labelled.masks[1::2], one.masks)
    assert len(label_styles(styles, 1, "labels", 2, 16)) == 1
    assert label_styles(("avataaars", "lorelei"), 2, "labels", 2, 16, masks=False).masks is None
    with pytest.raises(GanvasError, match="lorelei"):
        label_styles(("avataaars", "lorelei"), 2, "labels", 2, 16)
    with pytest.raises(GanvasError, match="none twice"):
        label_styles(("micah",), 2, "labels", 2, 16)


@pytest.mark.parametrize(
    ("styles", "count", "sentence"),
    [(["micah"], 4, "at least two styles, none twice, got micah"), ([], 4, "got none"),
     (["micah", "micah"], 4, "none twice"), (["micah", "lorelei"], 1, "1 images cannot show 2 styles"),
     (["micah", "nobody"], 4, "nobody")],
)  # fmt: skip
def test_a_mistake_gets_one_sentence(styles: list[str], count: int, sentence: str) -> None:
    with pytest.raises(GanvasError, match=sentence):
        render_styles(styles, count, "train", 0, 16)
