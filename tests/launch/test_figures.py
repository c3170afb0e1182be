"""``figures.json``: a figure comes back with its protocol, and what is no such file is one sentence."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launch.compose import compose
from launch.figures import FILE, Figure, Protocol, Source, all_by, read_figures, values, write_figures
from networks.checkpoints.errors import GanvasError

HELDOUT = Protocol("rendered squares", "split heldout, seed 0", 64, network="eyes", generator="abc", how="inverted")


def written(folder: Path, figures: dict[str, Figure]) -> Path:
    cfg = compose("train", ["experiment=segmentation/demo"], command="ganvas train experiment=segmentation/demo")
    return write_figures(folder, "train", cfg, figures, 2.5, "a machine", each=[{"name": "a", "psnr": 3.0}])


def test_what_is_written_is_read(tmp_path: Path) -> None:
    figures = {**all_by(HELDOUT, {"mIoU": 0.5, "n": 64}), "IoU hat": Figure(math.nan, HELDOUT)}
    written(tmp_path, figures)
    found = read_figures(tmp_path)
    assert math.isnan(found.figures.pop("IoU hat").value)
    assert found.figures == all_by(HELDOUT, {"mIoU": 0.5, "n": 64})
    assert (found.verb, found.experiment, found.seconds) == ("train", "segmentation/demo", 2.5)
    assert found.command == "ganvas train experiment=segmentation/demo"
    assert found.each == [{"name": "a", "psnr": 3.0}]
    assert values(found.figures) == {"mIoU": 0.5, "n": 64}


def test_work_that_is_not_finished_has_none(tmp_path: Path) -> None:
    assert read_figures(tmp_path) is None


def test_protocols_are_told_apart_by_what_was_done_and_not_by_how_it_is_said() -> None:
    said = Protocol("rendered squares", "split heldout, seed 0", 64, text="64 squares at 29.5 dB")
    again = Protocol("rendered squares", "split heldout, seed 0", 64, text="64 squares at 29.6 dB")
    assert said == again
    assert said != Protocol("rendered squares", "split heldout, seed 0", 300)
    assert str(said) == "64 squares at 29.5 dB"
    assert str(HELDOUT) == "64 rendered squares (split heldout, seed 0), inverted, eyes"
    assert str(Source("images of a folder")) == "images of a folder"


def test_work_that_had_nothing_to_measure_on_is_finished_all_the_same(tmp_path: Path) -> None:
    written(tmp_path, {})
    assert read_figures(tmp_path).figures == {}


def spoilt(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        record = json.loads(path.read_text())
        change(record)
        path.write_text(json.dumps(record))

    return apply


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda path: path.write_text(path.read_text()[:50]), "is damaged"),
        (spoilt(lambda record: record.pop("figures")), "is damaged .'figures'.: delete it and run the command again"),
        (spoilt(lambda record: record["protocols"].pop("mIoU")), "is damaged .'mIoU'."),
        (spoilt(lambda record: record.update(format=2)), "is of format 2 and this version reads 1"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(tmp_path: Path, spoil: Callable[[Path], None], sentence: str) -> None:
    written(tmp_path, all_by(HELDOUT, {"mIoU": 0.5}))
    spoil(tmp_path / FILE)
    with pytest.raises(GanvasError, match=sentence):
        read_figures(tmp_path)
