"""Scripted masks: each action does what its name says, keeps margins, and says what it cannot do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from editors.mask_programs import ACTIONS, parse_program
from networks.checkpoints.classes import IGNORE, ClassList
from networks.checkpoints.errors import GanvasError

CLASSES = ClassList.of_names(["background", "skin", "facial hair", "mouth"])
SIDE = 40


def face() -> np.ndarray:
    """A disc of skin with a square mouth, and a margin on the left."""
    rows, columns = np.indices((SIDE, SIDE))
    mask = ((rows - 20) ** 2 + (columns - 20) ** 2 < 15**2).astype(np.uint8)
    mask[24:28, 16:24] = 3
    mask[:, :2] = IGNORE
    return mask


def run(program, mask: np.ndarray | None = None) -> np.ndarray:
    return parse_program(program)(face() if mask is None else mask, CLASSES)


def area(mask: np.ndarray, k: int) -> int:
    return int((mask == k).sum())


def test_growing_takes_what_is_near() -> None:
    grown = run("grow mouth 0.05")
    assert (grown[22:30, 16:24] == 3).all()  # two pixels
    assert (grown[face() == 3] == 3).all()
    changed = grown != face()
    assert area(grown, 3) == area(face(), 3) + changed.sum()


def test_shrinking_leaves_the_middle_and_removing_leaves_nothing() -> None:
    small = run("shrink mouth 0.025")
    assert area(small, 3) == 2 * 6
    assert (small[25:27, 17:23] == 3).all()
    gone = run("remove mouth")
    assert area(gone, 3) == 0
    assert (gone[24:28, 16:24] == 1).all()  # skin has grown over it


def test_shifting_moves_every_pixel() -> None:
    moved = run("shift mouth 0.05 -0.1")
    assert np.array_equal(np.argwhere(moved == 3), np.argwhere(face() == 3) + np.array([-4, 2]))
    assert area(run("shift mouth 2 0"), 3) == 0  # out of the picture


def test_scaling_keeps_the_centre_of_each_piece() -> None:
    mask = face()
    mask[10:13, 12:15] = mask[10:13, 26:29] = 2
    large = run("scale facial-hair 2", mask)
    for half in (slice(0, 20), slice(20, 40)):
        where, before = np.argwhere(large[:, half] == 2), np.argwhere(mask[:, half] == 2)
        assert abs(where.mean(0) - before.mean(0)).max() <= 0.51
        assert 3 * len(before) < len(where) < 6 * len(before)
    assert np.array_equal(run("scale facial-hair 1", mask), mask)


def test_replacing_renames() -> None:
    assert np.array_equal(run("replace mouth facial-hair") == 2, face() == 3)


def test_words_and_data_say_the_same() -> None:
    words = run("grow mouth 0.05; shift mouth 0.1 0; replace mouth skin")
    data = run([
        {"do": "grow", "class": "mouth", "by": 0.05}, {"do": "shift", "class": "mouth", "right": 0.1, "down": 0},
        {"do": "replace", "class": "mouth", "with": "skin"},
    ])  # fmt: skip
    assert np.array_equal(words, data)


@given(data=st.data())
@hypothesis_settings(deadline=None, max_examples=60)
def test_margins_stay_and_no_class_is_invented(data: st.DataObject) -> None:
    action = data.draw(st.sampled_from(sorted(ACTIONS)))
    numbers = [data.draw(st.floats(0.01, 0.3)) for _ in ACTIONS[action].numbers]
    rest = ["skin"] if action == "replace" else [f"{value:.3f}" for value in numbers]
    before = face()
    after = run(" ".join([action, "mouth", *rest]), before)
    assert np.array_equal(before, face())  # given masks are not written to
    assert after.dtype == np.uint8
    assert np.array_equal(after == IGNORE, before == IGNORE)
    assert set(np.unique(after)) <= set(np.unique(before))


@pytest.mark.parametrize(("program", "says"), [
    ("", "has no step"), ("grow", "names no action and class"), ("paint mouth 1", "a mask can grow"),
    ("grow mouth", "must read `grow CLASS BY`"), ("grow mouth much", "where a number should be"),
    ("grow mouth nan", "must read"), ("shift mouth 1", "must read `shift CLASS RIGHT DOWN`"),
    ("replace mouth", "`replace CLASS OTHER`"), ("grow nose 0.1", "no class 'nose'"),
    ("remove facial-hair", "no facial-hair in the mask"), ("scale mouth 0", "above 0"),
    ([{"do": "grow", "class": "mouth", "by": 0.1, "speed": 2}], "speed, which grow does not know"),
    ([{"do": "paint", "class": "mouth"}], "a mask can grow"), ([{"class": "mouth"}], "needs `do` and `class`"),
])  # fmt: skip
def test_what_cannot_be_done_is_said(program, says: str) -> None:
    with pytest.raises(GanvasError, match=says):
        run(program)


def test_a_class_that_is_everything_cannot_be_removed() -> None:
    with pytest.raises(GanvasError, match="covers the whole mask"):
        run("remove skin", np.ones((4, 4), np.uint8))
