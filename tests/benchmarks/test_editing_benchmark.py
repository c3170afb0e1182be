"""The original's step is what it says, and its parts are its step."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from benchmarks import editing
from benchmarks.editing import MIDDLE, SMALL, Arm, Size, box, measure
from benchmarks.original_edit import RATE
from benchmarks.workloads import random_generator
from networks.checkpoints.classifiers import head_of_members
from networks.segmentation import ReferenceHead
from networks.stylegan2 import Generator


@pytest.fixture(scope="module")
def generator() -> Generator:
    return random_generator(32, channel_base=512)


@pytest.fixture(scope="module")
def arm(generator: Generator) -> Arm:
    return Arm.of(generator, MIDDLE, whole=True)


def test_a_box_takes_its_share() -> None:
    assert abs(box(512, 0.1).float().mean() - 0.1) < 1e-3
    assert not box(512, 0.1)[0].any()


def test_the_original_classifies_what_our_reference_head_does(arm: Arm, generator: Generator) -> None:
    """The same weights and the same enlargement: the stack and its projections give one cross-entropy."""
    original = arm.original
    ours = head_of_members([member.state_dict() for member in original.members], generator)
    nearest = ReferenceHead(**{**ours.arguments, "upsampling": "nearest"}).eval()
    nearest.load_state_dict(ours.state_dict())
    with torch.no_grad():
        _, maps = generator.render(original.latent, features=True)
        expected = cross_entropy(nearest(maps).mean(0)[0][:, original.region].T, original.wish)
        pixels = torch.cat([original.enlarged(x) for x in maps.values()], dim=1)[0][:, original.region].T
        torch.testing.assert_close(original.classification(pixels), expected, rtol=0, atol=1e-6)


def test_a_step_of_the_original_is_one_of_adam_and_keeps_the_outside(generator: Generator) -> None:
    original = Arm.of(generator, MIDDLE, whole=True).original
    with torch.no_grad():
        image, maps = original.render()
        pixels = torch.cat([original.enlarged(x) for x in maps], dim=1)[0][:, original.region].T
        assert float(original.distance(original.image)) == 0
        inside = torch.where(original.region, 0, original.image)
        torch.testing.assert_close(original.distance(inside), torch.tensor(0.0))
        assert float(original.distance(image + 0.1)) > 0
        expected = original.classification(pixels)
    before = original.ws.detach().clone()
    torch.testing.assert_close(original.step(), expected, rtol=0, atol=1e-5)  # nothing has changed outside yet
    moved = (original.ws.detach() - before).abs()
    torch.testing.assert_close(moved.max(), torch.tensor(RATE), rtol=1e-2, atol=0)


def test_every_figure_has_a_number(generator: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(editing, "MEMBERS", 2)
    size = Size(large=64, channel_base=512, repeats=1, small_repeats=1, shares=(SMALL, MIDDLE))
    figures, rows = measure(size, "cpu", generator)
    assert {"edit_speedup", "branch_inference_ratio", "vector_over_synthesis", "batch16_over_1"} <= figures.keys()
    assert all(math.isfinite(value) and value > 0 for value in figures.values())
    assert [(row["size"], row["region"]) for row in rows] == [(64, SMALL), (64, MIDDLE), (32, SMALL), (32, MIDDLE)]
    assert json.dumps(rows)
