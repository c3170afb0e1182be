"""Metrics agree with other implementations where the definition is the same, and with hand-made cases elsewhere."""

from __future__ import annotations

import math
from importlib import import_module

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from networks.metrics import (
    SegmentationScore,
    fid,
    image_uncertainty,
    jensen_shannon,
    kid,
    precision_recall,
    psnr,
    risk_coverage,
)
from networks.metrics.kid import extract_features, mmd2
from networks.metrics.precision_recall import neighbour_radii
from networks.metrics.segmentation import confusion_matrix
from networks.torchvision_shim import declare_torchvision_ops


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def tm():
    declare_torchvision_ops()
    return pytest.importorskip("torchmetrics")


# --- KID


def test_mmd2_is_that_of_torchmetrics(tm) -> None:
    from torchmetrics.image.kid import poly_mmd

    x = torch.randn(40, 12, generator=seeded(), dtype=torch.float64)
    y = torch.randn(40, 12, generator=seeded(1), dtype=torch.float64) * 1.3 + 0.1
    torch.testing.assert_close(mmd2(x, y), poly_mmd(x, y, degree=3, gamma=None, coef=1.0))


def test_mmd2_is_unbiased_for_equal_distributions() -> None:
    random = seeded()
    draws = torch.stack([mmd2(*torch.randn(2, 20, 4, generator=random, dtype=torch.float64)) for _ in range(400)])
    assert draws.mean().abs() < 3 * draws.std() / math.sqrt(len(draws))


def test_kid_tells_distributions_apart_and_repeats_with_its_seed() -> None:
    a, b = torch.randn(2, 300, 16, generator=seeded()).unbind()
    near, _ = kid(a, b, subsets=20, subset_size=100, seed=3)
    far, deviation = kid(a, b + 0.5, subsets=20, subset_size=100, seed=3)
    assert abs(near) < 0.2 * far
    assert deviation > 0
    assert kid(a, b, 20, 100, seed=3) == kid(a, b, 20, 100, seed=3) != kid(a, b, 20, 100, seed=4)


def test_kid_of_whole_sets_is_one_mmd2() -> None:
    a, b = torch.randn(2, 50, 8, generator=seeded(), dtype=torch.float64).unbind()
    mean, deviation = kid(a, b, subsets=3, subset_size=50)
    assert mean == pytest.approx(mmd2(a, b).item())
    assert deviation == pytest.approx(0, abs=1e-9)


def test_large_sets_give_the_same_figure_subset_by_subset(monkeypatch: pytest.MonkeyPatch) -> None:
    real, fake = torch.randn(60, 8, generator=seeded()), torch.randn(50, 8, generator=seeded(1)) + 0.3
    at_once = kid(real, fake, subsets=5, subset_size=20)
    monkeypatch.setattr(import_module("networks.metrics.kid"), "WHOLE", 59)
    assert kid(real, fake, subsets=5, subset_size=20) == pytest.approx(at_once, rel=1e-12)


def test_kid_refuses_subsets_larger_than_a_set() -> None:
    with pytest.raises(ValueError, match="cannot draw 10 subsets of 100 from 50 and 200 vectors"):
        kid(torch.zeros(50, 4), torch.zeros(200, 4), subsets=10, subset_size=100)
    with pytest.raises(ValueError, match="two samples"):
        mmd2(torch.zeros(1, 4), torch.zeros(5, 4))
    with pytest.raises(ValueError, match="of one width"):
        kid(torch.zeros(9, 4), torch.zeros(9, 5), subsets=1, subset_size=5)


def test_features_come_in_the_order_of_the_batches() -> None:
    batches = torch.arange(12.0).view(6, 2).split(4)
    torch.testing.assert_close(extract_features(torch.nn.Identity(), batches), torch.arange(12.0).view(6, 2))


# --- FID


def test_fid_is_that_of_torchmetrics(tm) -> None:
    from torchmetrics.image.fid import _compute_fid

    x = torch.randn(60, 12, generator=seeded(), dtype=torch.float64)
    y = torch.randn(50, 12, generator=seeded(1), dtype=torch.float64) @ torch.rand(12, 12, generator=seeded(2)).double()
    expected = _compute_fid(x.mean(0), x.T.cov(), y.mean(0), y.T.cov()).item()
    assert fid(x, y) == pytest.approx(expected, rel=1e-9)
    assert fid(x.float(), y.float()) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("turned", [False, True])
def test_fid_of_known_gaussians(turned: bool) -> None:
    a, b = torch.tensor([1.0, 4.0, 0.0]).double(), torch.tensor([9.0, 0.25, 4.0]).double()  # variances; one is 0
    white = torch.randn(40, 3, generator=seeded(), dtype=torch.float64)
    white = torch.linalg.qr(white - white.mean(0)).Q * 39**0.5  # mean 0 and covariance 1, exactly
    x, y = white * a.sqrt() + torch.tensor([3.0, 0.0, 4.0]), white.flip(1) * b.sqrt()
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=seeded(), dtype=torch.float64)).Q
    if turned:
        x, y = x @ rotation, y @ rotation
    assert fid(x, y) == pytest.approx(25 + ((a.sqrt() - b.sqrt()) ** 2).sum().item())


def test_fid_stays_exact_with_fewer_vectors_than_dimensions() -> None:
    x = torch.randn(20, 300, generator=seeded())
    assert fid(x, x) == pytest.approx(0, abs=1e-4)
    assert fid(x, x + 2) == pytest.approx(4 * 300, rel=1e-6)
    assert fid(x, 3 * x) == pytest.approx(fid(3 * x, x), rel=1e-6)


def test_fid_refuses_what_has_no_covariance() -> None:
    with pytest.raises(ValueError, match=r"of one width, got \[5, 4\] and \[1, 4\]"):
        fid(torch.zeros(5, 4), torch.zeros(1, 4))
    with pytest.raises(ValueError, match=r"of one width, got \[5, 4\] and \[5, 3\]"):
        fid(torch.zeros(5, 4), torch.zeros(5, 3))


# --- precision and recall


def brute_force(real: torch.Tensor, fake: torch.Tensor, k: int) -> tuple[float, float]:
    """The definition, one pair of vectors after another."""

    def share(points: torch.Tensor, centres: torch.Tensor) -> float:
        inside = 0
        for p in points:
            for i, c in enumerate(centres):
                others = sorted(float((c - o).norm()) for j, o in enumerate(centres) if j != i)
                if float((p - c).norm()) <= others[k - 1]:
                    inside += 1
                    break
        return inside / len(points)

    return share(fake, real), share(real, fake)


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_precision_and_recall_are_those_of_the_definition(k: int, rows: int) -> None:
    real = torch.randn(23, 4, generator=seeded(), dtype=torch.float64)
    fake = torch.randn(19, 4, generator=seeded(1), dtype=torch.float64) + torch.tensor([2.0, 0, 0, 0])
    expected = brute_force(real, fake, k)
    assert precision_recall(real, fake, k, rows) == pytest.approx(expected)
    assert 0 < min(expected) < max(expected) < 1  # the two differ, and neither is trivial


def test_precision_is_of_the_samples_and_recall_of_the_images() -> None:
    both = torch.cat([torch.randn(50, 8, generator=seeded()), torch.randn(50, 8, generator=seeded(1)) + 100])
    one = torch.randn(50, 8, generator=seeded(2))  # one of the two clusters
    precision, recall = precision_recall(both, one)
    assert precision > 0.7
    assert 0.4 < recall <= 0.5
    assert precision_recall(one, both) == (recall, precision)


def test_a_vector_is_no_neighbour_of_itself() -> None:
    line = torch.tensor([[0.0], [1.0], [3.0], [7.0]], dtype=torch.float64)
    torch.testing.assert_close(neighbour_radii(line, k=1), torch.tensor([1.0, 1.0, 2.0, 4.0], dtype=torch.float64))
    torch.testing.assert_close(neighbour_radii(line, k=3), torch.tensor([7.0, 6.0, 4.0, 7.0], dtype=torch.float64))


def test_precision_refuses_sets_without_neighbours() -> None:
    with pytest.raises(ValueError, match=r"need features \[N > 3, D\] for neighbour 3, got \[3, 4\]"):
        precision_recall(torch.zeros(5, 4), torch.zeros(3, 4))
    with pytest.raises(ValueError, match="one width"):
        precision_recall(torch.zeros(5, 4), torch.zeros(5, 3))


# --- segmentation


def predictions(classes: int = 4, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    probabilities = (2 * torch.randn(3, classes, 8, 8, generator=seeded(seed))).softmax(1)
    truth = torch.randint(0, classes, (3, 8, 8), generator=seeded(seed + 1)).to(torch.uint8)
    truth[0, :2] = 255
    return probabilities, truth


def score_of(prediction: torch.Tensor, truth: torch.Tensor, classes: int = 4) -> SegmentationScore:
    score = SegmentationScore([f"c{i}" for i in range(classes)])
    score.update(prediction, truth)
    return score


def test_scores_are_those_of_torchmetrics(tm) -> None:
    from torchmetrics.functional.classification import (
        multiclass_accuracy,
        multiclass_calibration_error,
        multiclass_jaccard_index,
    )

    probabilities, truth = predictions()
    ours = score_of(probabilities, truth).compute()
    ids, target = probabilities.argmax(1), truth.long()
    per_class = multiclass_jaccard_index(ids, target, 4, average="none", ignore_index=255)
    torch.testing.assert_close(torch.tensor(list(ours["iou"].values())), per_class)
    assert ours["miou"] == pytest.approx(per_class.mean().item())
    expected = multiclass_accuracy(ids, target, 4, average="micro", ignore_index=255).item()
    assert ours["pixel_accuracy"] == pytest.approx(expected)
    expected = multiclass_calibration_error(probabilities, target, 4, n_bins=15, ignore_index=255).item()
    assert ours["ece"] == pytest.approx(expected, abs=1e-6)


def test_an_absent_class_is_left_out_or_counts_as_zero() -> None:
    truth = torch.tensor([[[0, 0, 1, 1]]], dtype=torch.uint8)
    scores = score_of(torch.tensor([[[0, 0, 1, 0]]]), truth, classes=3).compute()
    assert scores["iou"]["c0"] == pytest.approx(2 / 3)
    assert scores["iou"]["c1"] == pytest.approx(1 / 2)
    assert math.isnan(scores["iou"]["c2"])
    assert scores["miou"] == pytest.approx(7 / 12)
    assert scores["miou_datasetgan"] == pytest.approx(7 / 18)


def test_a_class_that_is_only_predicted_counts_in_both_rules() -> None:
    scores = score_of(torch.tensor([[[0, 1]]]), torch.tensor([[[0, 0]]], dtype=torch.uint8), classes=2).compute()
    assert scores["miou"] == scores["miou_datasetgan"] == pytest.approx(0.25)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000), cut=st.integers(1, 2))
def test_batches_add_up(seed: int, cut: int) -> None:
    probabilities, truth = predictions(seed=seed)
    parts = SegmentationScore([f"c{i}" for i in range(4)])
    for batch in (slice(None, cut), slice(cut, None)):
        parts.update(probabilities[batch], truth[batch])
    whole, added = score_of(probabilities, truth).compute(), parts.compute()
    assert added["iou"] == whole["iou"]
    assert added["ece"] == pytest.approx(whole["ece"])


def test_ignored_pixels_change_nothing() -> None:
    probabilities, truth = predictions()
    wrong = probabilities.clone()
    wrong[0, :, :2] = wrong[0, :, :2].flip(1)
    assert score_of(wrong, truth).compute() == score_of(probabilities, truth).compute()


def test_a_perfect_and_sure_prediction_is_calibrated() -> None:
    _, truth = predictions()
    truth[truth == 255] = 0
    scores = score_of(torch.nn.functional.one_hot(truth.long(), 4).movedim(-1, 1).float(), truth).compute()
    assert (scores["miou"], scores["pixel_accuracy"], scores["ece"]) == (1, 1, 0)


def test_ids_carry_no_calibration() -> None:
    probabilities, truth = predictions()
    assert math.isnan(score_of(probabilities.argmax(1), truth).compute()["ece"])


def test_wrong_predictions_are_named() -> None:
    truth = torch.zeros(1, 2, 2, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"probabilities must be \[N, 4, H, W\], got \[1, 3, 2, 2\]"):
        score_of(torch.zeros(1, 3, 2, 2), truth)
    with pytest.raises(ValueError, match="truth holds class id 7, but there are 4 classes"):
        confusion_matrix(truth, torch.full_like(truth, 7), 4)
    with pytest.raises(ValueError, match="one shape"):
        confusion_matrix(truth, truth[0], 4)
    with pytest.raises(ValueError, match="no pixel was scored"):
        score_of(truth, torch.full_like(truth, 255)).compute()


def test_a_reliability_diagram_says_how_right_each_degree_of_sureness_is() -> None:
    probabilities = torch.tensor([[0.9, 0.9, 0.55, 0.55], [0.1, 0.1, 0.45, 0.45]]).view(1, 2, 2, 2)
    score = score_of(probabilities, torch.tensor([[[0, 0], [1, 0]]], dtype=torch.uint8), classes=2)
    found = score.reliability()
    seen = found.count > 0
    assert found.count[seen].tolist() == [2, 2]
    torch.testing.assert_close(found.confidence[seen], torch.tensor([0.55, 0.9], dtype=torch.float64))
    assert found.accuracy[seen].tolist() == [0.5, 1]
    assert found.accuracy[~seen].isnan().all()
    assert found.edges[0] == 0
    assert found.edges[-1] == 1
    assert found.error == pytest.approx(score.compute()["ece"]) == pytest.approx(0.075)


# --- uncertainty


def test_agreement_has_no_divergence_and_full_disagreement_has_log_2() -> None:
    sure = torch.eye(2)[:, None, :, None, None]  # two members, each certain of another class
    torch.testing.assert_close(jensen_shannon(sure), torch.full((1, 1, 1), math.log(2)))
    same = torch.rand(1, 2, 3, 4, 4, generator=seeded()).softmax(2).expand(5, -1, -1, -1, -1)
    assert jensen_shannon(same).abs().max() < 1e-6


@settings(deadline=None, max_examples=20)
@given(members=st.integers(2, 5), classes=st.integers(2, 5), seed=st.integers(0, 999))
def test_divergence_is_bounded(members: int, classes: int, seed: int) -> None:
    p = (5 * torch.randn(members, 2, classes, 3, 3, generator=seeded(seed))).softmax(2)
    divergence = jensen_shannon(p)
    assert divergence.shape == (2, 3, 3)
    assert divergence.min() >= 0
    assert divergence.max() <= math.log(min(members, classes)) + 1e-5


def test_an_images_uncertainty_is_that_of_its_worst_tenth() -> None:
    pixels = torch.zeros(2, 10, 10)
    pixels[1, 0] = 0.5
    assert image_uncertainty(pixels).tolist() == [0, 0.5]
    with pytest.raises(ValueError, match=r"\(0, 1\]"):
        image_uncertainty(pixels, fraction=0)


def test_risk_coverage_of_a_perfect_order() -> None:
    error = torch.tensor([0.0, 0, 0, 1])
    good = risk_coverage(torch.tensor([0.1, 0.2, 0.3, 0.9]), error)
    assert good.coverage.tolist() == [0.25, 0.5, 0.75, 1]
    assert good.risk.tolist() == [0, 0, 0, 0.25]
    assert good.aurc == pytest.approx(0.25 / 4)
    bad = risk_coverage(torch.tensor([0.9, 0.8, 0.7, 0.1]), error)
    assert bad.aurc == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 999))
def test_constant_uncertainty_has_a_flat_curve_whatever_the_order(seed: int) -> None:
    error = torch.rand(50, generator=seeded(seed))
    curve = risk_coverage(torch.ones(50), error, points=7)
    torch.testing.assert_close(curve.risk, error.double().mean().expand(7))
    assert curve.aurc == pytest.approx(error.double().mean().item())


def test_wrong_uncertainty_shapes_are_named() -> None:
    with pytest.raises(ValueError, match=r"\[M, N, K, H, W\], got \[2, 3\]"):
        jensen_shannon(torch.zeros(2, 3))
    with pytest.raises(ValueError, match="one error an item"):
        risk_coverage(torch.zeros(3), torch.zeros(4))


# --- PSNR


def test_psnr_is_that_of_torchmetrics(tm) -> None:
    from torchmetrics.functional.image import peak_signal_noise_ratio

    x, y = (torch.rand(2, 4, 3, 8, 8, generator=seeded()) * 2 - 1).unbind()
    expected = peak_signal_noise_ratio(x, y, data_range=2.0, reduction="none", dim=(1, 2, 3))
    torch.testing.assert_close(psnr(x, y), expected)
    assert psnr(x, x).isinf().all()
    with pytest.raises(ValueError, match="one shape"):
        psnr(x, y[:1])
