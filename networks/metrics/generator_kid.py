"""KID of a generator: its samples against a fixed set of images."""

from __future__ import annotations

from torch import Tensor

from networks.critics import feature_network
from networks.metrics.kid import extract_features, kid
from networks.protocol import Generator
from networks.rendering import render_batches

SUBSETS = 100
SUBSET_SIZE = 1000  # at most; fewer where there are fewer images


class GeneratorKID:
    """Times 1000, as it is usually printed. The features of the images are computed once.

    Args:
        real: ``uint8 [N, 3, R, R]``; as many samples are drawn.
        features: name of the feature network, see :func:`networks.critics.feature_network`.
        batch: images rendered and judged at once.

    Raises:
        GanvasError: if the feature network is unknown or missing.
    """

    def __init__(self, real: Tensor, features: str, batch: int = 64) -> None:
        self.features, self.batch = features, batch
        self.network = feature_network(features)
        self.real = extract_features(self.network, (part.float() / 127.5 - 1 for part in real.split(batch)))

    @property
    def name(self) -> str:
        """The name of the figure, which tells its feature network."""
        return f"kid_{self.features.replace('-', '_')}_x1000"

    @property
    def protocol(self) -> str:
        """What the figure is, beside which images and samples were compared."""
        return f"unbiased KID x 1000, cubic kernel, mean of {SUBSETS} subsets of {self._subset_size}"

    @property
    def _subset_size(self) -> int:
        return min(SUBSET_SIZE, len(self.real))

    def __call__(self, generator: Generator, seed: int = 0, truncation: float = 1.0) -> tuple[float, float]:
        """Mean over the subsets and the deviation of one subset."""
        latent = generator.sample(len(self.real), seed, truncation=truncation)
        images = (part.clamp(-1, 1) for part in render_batches(generator, latent, self.batch))
        fake = extract_features(self.network, images)
        mean, deviation = kid(self.real, fake, SUBSETS, self._subset_size)
        return 1000 * mean, 1000 * deviation
