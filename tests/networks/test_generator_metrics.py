"""Figures of a generator: they tell one that draws the images themselves from others, and say what they are."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from networks.checkpoints.errors import GanvasError
from networks.latent import Latent
from networks.metrics import generator_metrics
from networks.metrics.generator_metrics import METRICS, GeneratorMetrics, headline
from networks.metrics.kid import intra_kid
from networks.metrics.share import Share

KID, FID, PRECISION, RECALL = (
    "kid_mean_colour_x1000", "fid_mean_colour", "precision_mean_colour", "recall_mean_colour"
)  # fmt: skip


class Uniform:
    """Draws images of one colour from a range."""

    device = torch.device("cpu")

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high

    def sample(self, n: int, seed: int, label: None = None, truncation: float = 1.0) -> Latent:
        z = torch.rand(n, 3, generator=torch.Generator().manual_seed(seed))
        return Latent("z", {"z": self.low + (self.high - self.low) * z * truncation})

    def render(self, latent: Latent) -> Tensor:
        return latent.tensors["z"][:, :, None, None].expand(-1, 3, 4, 4)


class Mean(nn.Module):
    """A feature network: the mean colour."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def forward(self, images: Tensor) -> Tensor:
        self.seen += len(images)
        return images.mean(dim=(2, 3))


@pytest.fixture
def real() -> Tensor:
    G = Uniform(-1, 1)
    return ((G.render(G.sample(200, 1)) + 1) * 127.5).round().byte()


@pytest.fixture
def score(real: Tensor, monkeypatch: pytest.MonkeyPatch) -> GeneratorMetrics:
    monkeypatch.setattr(generator_metrics, "feature_network", lambda *_: Mean())
    return GeneratorMetrics(real, "mean-colour", batch=64)


def test_it_tells_a_good_generator_from_a_bad_one(score: GeneratorMetrics) -> None:
    good, half, narrow = score(Uniform(-1, 1)), score(Uniform(0, 1)), score(Uniform(-1, 1), truncation=0.1)
    assert abs(good[KID]) < 50 < min(half[KID], narrow[KID])
    assert good[FID] < 0.1 < min(half[FID], narrow[FID])
    assert min(good[PRECISION], good[RECALL]) > 0.8
    # What is missing costs recall; what is drawn lies among the images.
    assert half[RECALL] < 0.5 < half[PRECISION]


def test_a_conditional_generator_draws_for_the_images_labels(real: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    class Labelled(Uniform):
        asked: Tensor | None = None

        def sample(self, n: int, seed: int, label: Tensor | None = None, truncation: float = 1.0) -> Latent:
            self.asked = label
            return super().sample(n, seed, None, truncation)

    monkeypatch.setattr(generator_metrics, "feature_network", lambda *_: Mean())
    labels = torch.eye(3)[torch.arange(len(real)) % 2]  # of three classes, one is not there
    G = Labelled(-1, 1)
    GeneratorMetrics(real, "mean-colour", ["fid"], labels=labels)(G)
    assert torch.equal(G.asked, labels)


def test_within_classes_a_generator_that_mixes_them_up_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    class Two(Uniform):
        """Class 0 is dark and class 1 bright, or the other way round."""

        def sample(self, n: int, seed: int, label: Tensor | None = None, truncation: float = 1.0) -> Latent:
            codes = super().sample(n, seed).tensors["z"]
            return Latent("z", {"z": torch.where(label[:, :1] > 0, codes * 0.1 + self.low, codes * 0.1 + self.high)})

    monkeypatch.setattr(generator_metrics, "feature_network", lambda *_: Mean())
    labels, right, wrong = torch.eye(2)[torch.arange(80) % 2], Two(-0.5, 0.5), Two(0.5, -0.5)
    real = ((right.render(right.sample(80, 1, labels)) + 1) * 127.5).round().byte()
    score = GeneratorMetrics(real, "mean-colour", ["kid"], labels=labels)
    good, mixed = score(right), score(wrong)
    assert abs(mixed[KID]) < 20     # all together they are the same images
    assert abs(good["kid_intra_mean_colour_x1000"]) < 20 < 100 < mixed["kid_intra_mean_colour_x1000"]
    assert score.protocol.endswith("and the mean over classes of the same within each")
    soft = GeneratorMetrics(real, "mean-colour", ["kid"], labels=labels * 0.5)
    assert "kid_intra_mean_colour_x1000" not in soft(right)
    assert math.isnan(intra_kid(torch.zeros(2, 3), torch.zeros(2, 3), torch.tensor([0, 1])))
    with pytest.raises(ValueError, match="as many vectors as classes"):
        intra_kid(torch.zeros(2, 3), torch.zeros(2, 3), torch.tensor([0]))


def test_same_seed_same_figures(score: GeneratorMetrics) -> None:
    assert score(Uniform(-1, 1), seed=4) == score(Uniform(-1, 1), seed=4)
    assert score(Uniform(-1, 1), seed=4) != score(Uniform(-1, 1), seed=5)


def test_values_outside_the_range_are_clipped_as_a_file_would(score: GeneratorMetrics) -> None:
    assert score(Uniform(1, 1)) == pytest.approx(score(Uniform(3, 3)))


def test_features_are_extracted_once(score: GeneratorMetrics) -> None:
    score(Uniform(-1, 1))
    assert score.network.seen == 200 + 200  # images and samples, for four figures
    score(Uniform(-1, 1))
    assert score.network.seen == 200 + 2 * 200


def test_names_and_protocol_say_what_the_figures_are(score: GeneratorMetrics) -> None:
    figures = score(Uniform(-1, 1))
    assert list(figures) == [KID, f"{KID}_std", FID, PRECISION, RECALL]
    assert list(headline(figures)) == [KID, FID, PRECISION, RECALL]
    assert score.protocol == (
        "KID x 1000: unbiased, cubic kernel, mean of 100 subsets of 200; "
        "FID: of 200 and 200 images, biased upwards the fewer they are; "
        "precision and recall: k = 3, of 200 and 200 images"
    )


@given(count=st.integers(1, 20), of=st.integers(1, 5))
def test_shares_make_the_whole(count: int, of: int) -> None:
    shares = [Share(rank, of) for rank in range(of)]
    parts = [share.indices(count) for share in shares]
    assert len({len(part) for part in parts}) == 1  # as many for each, or devices would wait for another
    assert Share(0, of, lambda _: torch.cat(parts)).whole(parts[0], count).tolist() == list(range(count))


def test_several_devices_measure_what_one_does(real: Tensor, score: GeneratorMetrics) -> None:
    G, of = Uniform(-1, 1), 3
    expected = score(G)
    parts: list[list[Tensor]] = [[] for _ in range(of)]  # of images and of samples, by device
    for rank, own in enumerate(parts):
        GeneratorMetrics(real, "mean-colour", batch=16)(G, share=Share(rank, of, kept(own)))
    both = iter([torch.cat([own[turn] for own in parts]) for turn in range(2)])
    measured = GeneratorMetrics(real, "mean-colour", batch=16)(G, share=Share(0, of, lambda _: next(both)))
    assert measured == pytest.approx(expected, rel=1e-4, abs=1e-4)


def kept(into: list[Tensor]) -> Callable[[Tensor], Tensor]:
    """An exchange that keeps what one gives, and gives it back for all."""

    def everyone(values: Tensor) -> Tensor:
        into.append(values)
        return values.repeat(3, 1)

    return everyone


@pytest.mark.parametrize("metric", METRICS)
def test_one_figure_alone(metric: str, real: Tensor, score: GeneratorMetrics) -> None:
    alone = GeneratorMetrics(real, "mean-colour", [metric], batch=64)
    figures = alone(Uniform(-1, 1))
    assert all(name.startswith(metric) for name in figures)
    together = score(Uniform(-1, 1))
    assert figures == {name: together[name] for name in figures}
    assert alone.protocol.count(";") == 0


def test_what_cannot_be_measured_is_refused() -> None:
    few = torch.zeros(3, 3, 32, 32, dtype=torch.uint8)
    with pytest.raises(GanvasError, match="unknown feature network 'vgg'"):
        GeneratorMetrics(few, "vgg", ["kid"])
    with pytest.raises(GanvasError, match="unknown metric 'is': choose from kid, fid, precision, recall"):
        GeneratorMetrics(few, "stlpips-alex", ["kid", "is"])
    with pytest.raises(GanvasError, match="no metric is named: choose from kid"):
        GeneratorMetrics(few, "stlpips-alex", [])
    with pytest.raises(GanvasError, match="precision and recall need more than 3 images, got 3"):
        GeneratorMetrics(few, "stlpips-alex", ["recall"])
