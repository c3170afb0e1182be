"""The original recipe: it learns, it stops by its rule, and its formulas give the published numbers."""

from __future__ import annotations

import doctest
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from benchmarks import formulas, original_recipe
from benchmarks.inference import counted_macs
from benchmarks.original_recipe import (
    BATCH,
    PixelClassifier,
    Pixels,
    StopRule,
    concatenated,
    gather_pixels,
    loader_batches,
    mean_logits,
    shuffled_batches,
    small_class_limit,
    train_ensemble,
    train_member,
)
from benchmarks.workloads import random_generator, random_labels, smooth_masks
from networks.checkpoints.classifiers import head_of_members
from networks.stylegan2 import Generator


@pytest.fixture(scope="module")
def generator() -> Generator:
    return random_generator(32, channel_base=512)


@pytest.fixture(scope="module")
def blobs() -> Pixels:
    """Three classes that overlap, each around its own centre."""
    rng = torch.Generator().manual_seed(0)
    classes = torch.randint(3, (1000,), generator=rng)
    centres = torch.randn(3, 8, generator=rng)
    return Pixels(centres[classes] + torch.randn(1000, 8, generator=rng), classes)


@pytest.mark.parametrize("module", [formulas, original_recipe])
def test_examples_in_docstrings(module) -> None:
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0


def test_learns_and_stops_in_the_fifth_epoch(blobs: Pixels) -> None:
    trained = train_ensemble(blobs, 3, members=2)
    accuracy = (trained.logits(blobs.values).argmax(1) == blobs.classes).float().mean().item()
    assert accuracy > 0.8
    epoch = -(-len(blobs.classes) // BATCH)
    for steps in trained.steps:
        assert 4 * epoch + 51 <= steps < 100 * epoch


def test_members_differ_and_repeat(blobs: Pixels) -> None:
    first, second = (train_ensemble(blobs, 3, seed=5, members=2, max_epochs=1) for _ in range(2))
    a, b = first.members
    assert not torch.equal(a[0].weight, b[0].weight)
    torch.testing.assert_close(a.state_dict(), second.members[0].state_dict())


@settings(deadline=None, max_examples=50)
@given(losses=st.lists(st.floats(0, 10), min_size=1, max_size=300))
def test_stop_rule_fires_after_51_batches_without_a_new_lowest(losses: list[float]) -> None:
    rule, lowest, since = StopRule(), math.inf, 0
    for loss in losses:
        lowest, since = (loss, 0) if loss < lowest else (lowest, since + 1)
        assert rule(4, loss) == (since > 50)


def test_stop_rule_does_not_look_in_the_first_four_epochs() -> None:
    rule = StopRule()
    assert not any(rule(epoch, 1.0) for epoch in range(4) for _ in range(100))
    assert rule.lowest == math.inf


def test_stop_rule_gives_the_known_median() -> None:
    """Independent losses: it fires a median 87 batches after it begins to look."""
    rng, fired = torch.Generator().manual_seed(0), []
    for _ in range(400):
        rule, losses = StopRule(), torch.rand(2000, generator=rng).tolist()
        fired.append(next(i + 1 for i, loss in enumerate(losses) if rule(4, loss)))
    assert abs(torch.tensor(fired).float().median().item() - original_recipe.MEDIAN_LAST_STEPS) <= 10


@pytest.mark.parametrize("batches", [shuffled_batches, loader_batches])
def test_an_epoch_shows_every_pixel_once(batches) -> None:
    pixels = Pixels(torch.arange(150.0)[:, None], torch.arange(150))
    seen = list(batches(pixels, torch.Generator().manual_seed(0)))
    assert [len(y) for _, y in seen] == [64, 64, 22]
    classes = torch.cat([y for _, y in seen])
    assert classes.sort().values.tolist() == list(range(150))
    assert not torch.equal(classes, pixels.classes)
    torch.testing.assert_close(torch.cat([x for x, _ in seen])[:, 0], classes.float())


def test_epochs_are_shuffled_anew(blobs: Pixels) -> None:
    rng = torch.Generator().manual_seed(0)
    first, second = (next(shuffled_batches(blobs, rng))[1] for _ in range(2))
    assert not torch.equal(first, second)


def test_limit_of_epochs(blobs: Pixels) -> None:
    assert train_member(PixelClassifier(8, 3), blobs, torch.Generator().manual_seed(0), max_epochs=2) == 2 * 16


def test_concatenated_is_every_map_enlarged(generator: Generator) -> None:
    _, features = generator.render(generator.sample(1, 0), features=True)
    values = concatenated(features, 32)
    assert values.shape == (32 * 32, formulas.feature_width(32, channel_base=512))
    expected = torch.cat([nn.Upsample(32, mode="bilinear")(x) for x in features.values()], dim=1)
    torch.testing.assert_close(values.T.reshape(expected.shape), expected)
    torch.testing.assert_close(concatenated(features, 32, rows=5), values[: 5 * 32])


def test_training_set_leaves_ignored_pixels_out(generator: Generator) -> None:
    labels = random_labels(generator, 2, 3)
    labels.masks[1, :4] = 255
    pixels = gather_pixels(generator, labels)
    assert len(pixels.classes) == len(pixels.values) == 2 * 32 * 32 - 4 * 32
    assert pixels.classes.max() < 3


@pytest.mark.parametrize("classes", [5, 33])
def test_reference_head_gives_the_members_logits(generator: Generator, classes: int) -> None:
    labels = random_labels(generator, 2, classes)
    trained = train_ensemble(gather_pixels(generator, labels), classes, members=2, max_epochs=1)
    _, features = generator.render(labels.latents[0], features=True)
    with torch.no_grad():
        logits = head_of_members([m.state_dict() for m in trained.members], generator)(features).mean(0)[0].flatten(1).T
    torch.testing.assert_close(logits, mean_logits(trained.members, concatenated(features, 32)), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("classes", [11, 34])
def test_formula_of_multiply_accumulates_matches_a_counter(classes: int) -> None:
    members = [PixelClassifier(96, classes) for _ in range(2)]
    counted = counted_macs(lambda: mean_logits(members, torch.randn(8 * 8, 96)))
    assert counted == formulas.ensemble_macs(96, 8, classes, members=2)


def test_width_matches_the_generator(generator: Generator) -> None:
    assert sum(c for c, _ in generator.feature_shapes.values()) == formulas.feature_width(32, channel_base=512)


def test_clean_up_limit_follows_the_area() -> None:
    assert [small_class_limit(size) for size in (64, 256, 512, 1024)] == [0, 7, 30, 120]


def test_label_maps_are_smooth_and_repeat() -> None:
    masks = smooth_masks(3, 6, 64)
    assert masks.max() < 6
    assert torch.equal(masks[:2], smooth_masks(2, 6, 64))
    edges = (masks[:, 1:] != masks[:, :-1]).float().mean().item()
    assert 0 < edges < 0.2
