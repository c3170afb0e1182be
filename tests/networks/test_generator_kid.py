"""KID of a generator: about zero for one that draws the images themselves, larger for one that does not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from networks.checkpoints.errors import GanvasError
from networks.latent import Latent
from networks.metrics import generator_kid
from networks.metrics.generator_kid import GeneratorKID


class Uniform:
    """Draws images of one colour from a range."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high

    def sample(self, n: int, seed: int, label: None = None, truncation: float = 1.0) -> Latent:
        z = torch.rand(n, 3, generator=torch.Generator().manual_seed(seed))
        return Latent("z", {"z": self.low + (self.high - self.low) * z * truncation})

    def render(self, latent: Latent) -> Tensor:
        return latent.tensors["z"][:, :, None, None].expand(-1, 3, 4, 4)


class Mean(nn.Module):
    """A feature network: the mean colour."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean(dim=(2, 3))


@pytest.fixture
def score(monkeypatch: pytest.MonkeyPatch) -> GeneratorKID:
    monkeypatch.setattr(generator_kid, "feature_network", lambda name: Mean())
    G = Uniform(-1, 1)
    real = ((G.render(G.sample(200, 1)) + 1) * 127.5).round().byte()
    return GeneratorKID(real, "mean-colour", batch=64)


def test_it_tells_a_good_generator_from_a_bad_one(score: GeneratorKID) -> None:
    good, bad = score(Uniform(-1, 1))[0], score(Uniform(0, 1))[0]
    assert abs(good) < 50 < bad
    assert score(Uniform(-1, 1), truncation=0.1)[0] > 50


def test_same_seed_same_figure(score: GeneratorKID) -> None:
    assert score(Uniform(-1, 1), seed=4) == score(Uniform(-1, 1), seed=4)
    assert score(Uniform(-1, 1), seed=4) != score(Uniform(-1, 1), seed=5)


def test_values_outside_the_range_are_clipped_as_a_file_would(score: GeneratorKID) -> None:
    assert score(Uniform(1, 1))[0] == pytest.approx(score(Uniform(3, 3))[0])


def test_name_and_protocol_say_what_the_figure_is(score: GeneratorKID) -> None:
    assert score.name == "kid_mean_colour_x1000"
    assert "100 subsets of 200" in score.protocol


def test_an_unknown_feature_network_is_named() -> None:
    with pytest.raises(GanvasError, match="unknown feature network 'inception'"):
        GeneratorKID(torch.zeros(2, 3, 32, 32, dtype=torch.uint8), "inception")
