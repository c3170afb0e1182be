"""Classifiers of attributes and embeddings of persons: shapes, losses, bundles, and figures beside references."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from networks.attributes import (
    AttributeClassifier,
    AttributePanel,
    attribute_loss,
    load_attributes,
    save_attributes,
)
from networks.checkpoints.attributes import UNKNOWN, Attribute, attributes_from_json, attributes_to_json, column_of
from networks.checkpoints.errors import GanvasError
from networks.identity import IdentityNetwork, load_identity, pair_loss, save_identity
from networks.metrics.attributes import attribute_scores, recognition
from networks.trunks import TRUNKS, build_trunk

MOOD = (Attribute("mood", ("glad", "sad", "calm")), Attribute("hat", ("no", "yes")))


def images(n: int = 3, size: int = 16) -> torch.Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("trunk", TRUNKS)
def test_a_classifier_tells_each_attribute(trunk: str) -> None:
    network = AttributeClassifier(MOOD, 16, trunk, 8).eval()
    found = network.probabilities(images(), batch=2)
    assert {name: list(p.shape) for name, p in found.items()} == {"mood": [3, 3], "hat": [3, 2]}
    for p in found.values():
        torch.testing.assert_close(p.sum(1), torch.ones(3))
    assert network.labels(images())[:, 0].tolist() == found["mood"].argmax(1).tolist()
    network.probabilities(images(size=40))  # any size


def test_a_panel_judges_by_the_mean_of_its_members() -> None:
    torch.manual_seed(0)
    one = AttributeClassifier(MOOD, 16, width=8).eval()
    other = copy.deepcopy(one)   # it says the opposite of every hat, and is surer of it
    with torch.no_grad():
        for weight in other.heads[1].parameters():
            weight.mul_(-2)
    panel, pictures = AttributePanel([one, other]), images(20)
    ours, theirs = one.probabilities(pictures), other.probabilities(pictures)
    torch.testing.assert_close(panel.probabilities(pictures)["hat"], (ours["hat"] + theirs["hat"]) / 2)
    assert torch.equal(panel.labels(pictures)[:, 1], other.labels(pictures)[:, 1])
    agreed = panel.agreed(pictures)
    assert torch.equal(agreed[:, 0], panel.labels(pictures)[:, 0])
    assert (agreed[:, 1] == UNKNOWN).all()
    assert torch.equal(AttributePanel([one]).agreed(pictures), one.labels(pictures))
    with pytest.raises(GanvasError, match="must tell the same attributes"):
        AttributePanel([one, AttributeClassifier(MOOD[:1], 16, width=8)])


@pytest.mark.parametrize("trunk", TRUNKS)
def test_every_weight_learns(trunk: str) -> None:
    torch.manual_seed(0)
    network = AttributeClassifier(MOOD, 16, trunk, 8)
    attribute_loss(network(images()), torch.tensor([[0, 1], [1, 0], [2, 1]])).backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in network.parameters())


def test_what_does_not_fit_a_trunk_is_one_sentence() -> None:
    with pytest.raises(GanvasError, match="no trunk 'tree': choose one of dense, mixer"):
        build_trunk("tree", 8, 16)
    with pytest.raises(GanvasError, match="a dense trunk takes images of multiples of 4 pixels a side, not of 30"):
        build_trunk("dense", 8, 30)
    with pytest.raises(ValueError, match=r"images must be floats \[N, 3, H, W\]"):
        AttributeClassifier(MOOD, 16, width=8)(torch.zeros(2, 1, 16, 16))


def test_unknown_labels_count_in_nothing() -> None:
    logits = {"mood": torch.randn(4, 3), "hat": torch.randn(4, 2)}
    labels = torch.tensor([[0, 1], [UNKNOWN, 0], [2, UNKNOWN], [UNKNOWN, UNKNOWN]], dtype=torch.uint8)
    mood = F.cross_entropy(logits["mood"][[0, 2]], torch.tensor([0, 2]))
    hat = F.cross_entropy(logits["hat"][:2], torch.tensor([1, 0]))
    torch.testing.assert_close(attribute_loss(logits, labels), (mood + hat) / 2)
    assert attribute_loss(logits, torch.full_like(labels, UNKNOWN)) == 0


def test_bundles_give_back_what_was_saved(tmp_path: Path) -> None:
    for trunk in TRUNKS:
        network = AttributeClassifier(MOOD, 16, trunk, 8)
        network(images())  # moves the running statistics of the mixer
        save_attributes(tmp_path / "a.safetensors", network, {"metrics": {"accuracy": 0.5}})
        again, manifest = load_attributes(tmp_path / "a.safetensors")
        assert again.attributes == MOOD
        assert manifest["metrics"]["accuracy"] == 0.5
        for name, p in network.eval().probabilities(images()).items():
            torch.testing.assert_close(again.probabilities(images())[name], p)
    person = IdentityNetwork(16, width=8, dim=4).eval()
    save_identity(tmp_path / "i.safetensors", person, {})
    torch.testing.assert_close(load_identity(tmp_path / "i.safetensors")[0].embed(images()), person.embed(images()))
    with pytest.raises(GanvasError, match="a bundle of kind 'identity': give one of kind 'attributes'"):
        load_attributes(tmp_path / "i.safetensors")


def test_a_bundle_whose_weights_are_others_is_one_sentence(tmp_path: Path) -> None:
    network = AttributeClassifier(MOOD, 16, width=8)
    network._config["width"] = 16
    save_attributes(tmp_path / "a.safetensors", network, {})
    with pytest.raises(GanvasError, match="do not fit their manifest"):
        load_attributes(tmp_path / "a.safetensors")


def test_attributes_are_plain_data() -> None:
    assert attributes_from_json(attributes_to_json(MOOD)) == MOOD
    assert column_of(MOOD, "hat") == 1
    with pytest.raises(ValueError, match="different values"):
        Attribute("mood", ("glad", "glad"))


# --- persons


def test_embeddings_are_unit_vectors() -> None:
    vectors = IdentityNetwork(16, "mixer", 8, dim=4).eval().embed(images(5, 20), batch=2)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(5))


def test_the_pair_loss_is_least_for_pairs_that_stand_alone() -> None:
    apart = torch.eye(4)
    assert pair_loss(apart, apart) < 1e-3
    assert pair_loss(apart, apart.roll(1, 0)) > 9
    torch.testing.assert_close(pair_loss(torch.ones(4, 4) / 2, torch.ones(4, 4) / 2), torch.tensor(math.log(4)))
    with pytest.raises(ValueError, match=r"pairs must be \[N, D\] both"):
        pair_loss(apart, apart[:2])


def test_recognition_by_hand() -> None:
    first = F.normalize(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), dim=1)
    found = recognition(first, first)
    assert found["rank1"] == 1
    assert found["auc"] == 1
    assert found["same"] == pytest.approx(1)
    assert found["different"] == pytest.approx((0 + 2 * math.sqrt(0.5)) / 3)
    swapped = recognition(first, first[[1, 0, 2]])
    assert swapped["rank1"] == pytest.approx(1 / 3)
    # Of 3 own pairs (cosines 0, 0, 1) against 6 others (1, 1 and four of 0.71): one beats four.
    assert swapped["auc"] == pytest.approx(4 / 18)


def test_scores_stand_beside_what_guessing_gives() -> None:
    truth = torch.tensor([[0, 0], [0, 1], [0, UNKNOWN], [1, 1]])
    told = torch.tensor([[0, 0], [0, 0], [1, 0], [1, 1]])
    found = attribute_scores(told, truth, MOOD)
    assert found["mood"] == (0.75, pytest.approx((2 / 3 + 1) / 2), 0.75, 4)
    assert found["hat"] == (pytest.approx(2 / 3), 0.75, pytest.approx(2 / 3), 3)
    assert list(attribute_scores(told[2:3], truth[2:3], MOOD)) == ["mood"]  # this image hides the other
