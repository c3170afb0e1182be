"""Labels from an avatar's parts, the same person with another expression, and parts drawn otherwise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datamodules.avatar_attributes import ATTRIBUTES, avatar_attributes, avatar_labels
from datamodules.avatar_parts import DISTRIBUTIONS, EXPRESSIONS
from datamodules.avatar_render import style_definition
from datamodules.avatars import AVATAR_CLASSES, redraw_avatars, render_avatars
from networks.checkpoints.attributes import UNKNOWN, column_of
from networks.checkpoints.errors import GanvasError

STYLE = "avataaars"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "cache"))


def drawn(count: int, **kwargs):
    return render_avatars(count, "heldout", progress=False, resolution=16, **kwargs)


@pytest.mark.parametrize("told", ATTRIBUTES[STYLE], ids=lambda told: told.name)
def test_every_part_that_is_drawn_has_a_value(told) -> None:
    table, part = DISTRIBUTIONS[STYLE], told.parts[0]
    known = table.colors[part.removesuffix("Color")] if part.endswith("Color") else table.parts[part]
    valued = {variant for variants in told.values.values() for variant in variants}
    assert set(known) <= valued | set(told.hidden_by.get(part, ()))
    assert sum(len(variants) for variants in told.values.values()) == len(valued)  # none has two


def test_labels_say_what_the_parts_say() -> None:
    avatars = drawn(60)
    labels, attributes = avatar_labels(STYLE, avatars.attributes), avatar_attributes(STYLE)
    assert labels.shape == (60, len(attributes))
    assert labels.dtype == np.uint8

    def values(name: str) -> list[str | None]:
        column = column_of(attributes, name)
        return [None if k == UNKNOWN else attributes[column].values[k] for k in labels[:, column]]

    for parts, smile, mouth, glasses, eyes in zip(
        avatars.attributes, *map(values, ("smile", "mouth", "glasses", "eyes")), strict=True
    ):
        assert (smile == "yes") == (parts["mouth"] in ("smile", "twinkle", "default"))
        assert (mouth == "serious") == (parts["mouth"] == "serious")
        assert (glasses == "none") == (parts["accessories"] is None)
        assert (eyes is None) == (glasses == "sunglasses")  # nobody sees the eyes behind them


@pytest.mark.parametrize("style", sorted(ATTRIBUTES.keys() - {STYLE}))
def test_other_styles_say_the_same_by_the_same_names(style: str) -> None:
    judged = {attribute.name: set(attribute.values) for attribute in avatar_attributes(STYLE)}
    components = style_definition(style)["components"]
    for told in ATTRIBUTES[style]:
        assert set(told.values) <= judged[told.name]
        variants = [variant for found in told.values.values() for variant in found]
        assert len(variants) == len(set(variants))
        assert {variant for variant in variants if variant} <= set(components[told.parts[0]]["variants"])
    labels = avatar_labels(style, drawn(40, style=style).attributes)
    smile = column_of(avatar_attributes(style), "smile")
    assert {0, 1} <= set(labels[:, smile].tolist())


def test_a_style_without_a_table_is_refused() -> None:
    with pytest.raises(GanvasError, match="'lorelei' has no table of attributes; use one of: avataaars"):
        avatar_attributes("lorelei")


def test_another_expression_changes_that_and_the_background_alone() -> None:
    plain, other, again = drawn(12), drawn(12, expression=1), drawn(12, expression=2)
    changes = set(EXPRESSIONS[STYLE]) | {"background"}
    for a, b, c in zip(plain.attributes, other.attributes, again.attributes, strict=True):
        assert all(a[name] == b[name] == c[name] for name in a if name not in changes)
        assert a["background"] != b["background"] != c["background"]
    assert any(a["mouth"] != b["mouth"] for a, b in zip(plain.attributes, other.attributes, strict=True))
    np.testing.assert_array_equal(drawn(12).images, plain.images)  # not mixed up in the cache


def test_a_style_without_expressions_is_refused() -> None:
    with pytest.raises(GanvasError, match="are its expression; use one of: avataaars"):
        drawn(1, style="lorelei", expression=1)


def test_a_part_can_be_drawn_otherwise_or_left_out() -> None:
    plain, which = drawn(12, masks=True), [7, 2, 11]
    screaming = redraw_avatars(which, {"mouth": "screamOpen", "accessories": None}, "heldout", 0, 16)
    assert screaming.names == tuple(plain.names[i] for i in which)
    for i, after in zip(which, screaming.attributes, strict=True):
        before = plain.attributes[i]
        assert (after["mouth"], after["accessories"]) == ("screamOpen", None)
        kept = before.keys() - {"mouth", "accessories", "accessoriesColor"}
        assert all(before[name] == after[name] for name in kept)
    assert not (screaming.masks == AVATAR_CLASSES.id_of("glasses")).any()
    same = redraw_avatars([3], {"mouth": plain.attributes[3]["mouth"]}, "heldout", 0, 16)
    np.testing.assert_array_equal(same.images[0], plain.images[3])


@pytest.mark.parametrize(("changed", "says"), [
    ({"mouth": "beak"}, "cannot be drawn with mouth=beak; it has mouth concerned"),
    ({"wings": "large"}, "cannot be drawn with wings=large; it has the parts"),
])  # fmt: skip
def test_a_part_that_is_not_there_is_refused(changed: dict, says: str) -> None:
    with pytest.raises(GanvasError, match=says):
        redraw_avatars([0], changed)
