"""Success and leakage of an edit, by hand."""

from __future__ import annotations

import pytest
import torch

from networks.checkpoints.attributes import UNKNOWN, Attribute
from networks.checkpoints.errors import GanvasError
from networks.metrics.edits import leakage, overlap, reached

KNOWN = (Attribute("smile", ("no", "yes")), Attribute("hat", ("no", "yes")), Attribute("eyes", ("open", "closed")))


def test_success_counts_what_the_judge_sees() -> None:
    labels = torch.tensor([[1, 0, 0], [0, 1, 0], [1, 1, 1], [1, 0, 0]])
    assert reached(labels, KNOWN, "smile", "yes") == 0.75
    assert reached(labels, KNOWN, "eyes", "closed") == 0.25
    with pytest.raises(GanvasError, match="no attribute 'nose'"):
        reached(labels, KNOWN, "nose", "big")
    with pytest.raises(GanvasError, match="hat is never 'maybe'"):
        reached(labels, KNOWN, "hat", "maybe")


def test_leakage_counts_changes_of_what_was_seen_truly_before() -> None:
    truth = torch.tensor([[0, 0, 0], [0, 0, UNKNOWN], [0, 1, 1], [0, 1, 0]])
    before = torch.tensor([[0, 0, 0], [0, 1, 0], [0, 1, 1], [0, 1, 0]])   # wrong of the second's hat
    after = torch.tensor([[1, 0, 0], [1, 0, 1], [1, 0, 0], [1, 1, 0]])
    third = pytest.approx(1 / 3)
    assert leakage(before, after, KNOWN, {"smile"}, truth) == {"hat": third, "eyes": third}
    assert leakage(before, after, KNOWN) == {"smile": 1.0, "hat": 0.5, "eyes": 0.5}
    assert leakage(before, before, KNOWN, (), truth) == {"smile": 0.0, "hat": 0.0, "eyes": 0.0}
    hidden = torch.full_like(truth, UNKNOWN)
    assert leakage(before, after, KNOWN, (), hidden) == {}
    with pytest.raises(ValueError, match="labels must have one shape"):
        leakage(before, after[:2], KNOWN)


def test_overlap_takes_classes_as_one_over_all_images() -> None:
    seen = torch.tensor([[[1, 2, 0, 0]], [[0, 1, 1, 0]]], dtype=torch.uint8)
    truth = torch.tensor([[[2, 1, 1, 0]], [[0, 0, 1, 3]]], dtype=torch.uint8)
    assert overlap(seen, truth, [1, 2]) == 3 / 5
    assert overlap(seen, truth, [3]) == 0
    assert overlap(seen, truth, [7]) == 1   # nobody sees any
    with pytest.raises(ValueError, match="one shape"):
        overlap(seen, truth[:1], [1])
