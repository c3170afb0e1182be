"""The script that compares variants of a head and its training."""

from __future__ import annotations

import pytest

from benchmarks import variants
from benchmarks.workloads import random_generator, random_labels
from networks.checkpoints.errors import GanvasError
from networks.segmentation.maps import CONTRAST, IMAGE


def test_changes_go_where_they_belong() -> None:
    found = variants.Variant.parse("dice=0.5 width=48 labels=8 left_out=[image,contrast]")
    assert (found.head, found.labels) == ("default", 8)
    assert found.training == {"dice": 0.5}
    assert found.arguments == {"width": 48, "left_out": [IMAGE, CONTRAST]}
    head = found.fresh(random_generator(32, channel_base=512), 3, seed=0)
    assert not {IMAGE, CONTRAST, "b4.const"} & set(head.feature_names)
    assert "b4.const" in variants.Variant.parse("head=reference").fresh(random_generator(32, 512), 3, 0).feature_names
    with pytest.raises(GanvasError, match="'dice' in the variant 'dice' is no key=value"):
        variants.Variant.parse("dice")


@pytest.mark.parametrize("how", [[], ["--kfold"]])
def test_a_row_for_each_variant(how: list[str], monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    generator = random_generator(32, channel_base=512)
    monkeypatch.setattr(variants, "load_generator", lambda path: generator)
    monkeypatch.setattr(variants, "draw_labels", lambda generator, _, draw: random_labels(generator, 4, 3, seed=draw))
    monkeypatch.setattr(variants, "_development", lambda generator, images: random_labels(generator, images, 3, seed=9))
    quick = "labels=4 passes=1 least_steps=1 members=2"
    variants.main([quick, f"{quick} dice=0", "--draws", "0", "1", "--images", "2", *how])
    rows = capsys.readouterr().out.strip().splitlines()[2:]
    assert [row.split(" | ")[0] for row in rows] == [f"| {quick}", f"| {quick} dice=0"]
    assert len(rows[1].split(" | ")[2].split(", ")) == 2
