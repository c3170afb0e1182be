"""Figures of a generator: its samples against a fixed set of images, in the space of one feature network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from torch import Tensor

from networks.checkpoints.errors import GanvasError
from networks.critics import feature_network
from networks.metrics.fid import fid
from networks.metrics.kid import extract_features, intra_kid, kid
from networks.metrics.precision_recall import NEIGHBOURS, precision_recall
from networks.metrics.share import ALL, Share
from networks.protocol import Generator
from networks.rendering import render_batches

METRICS = ("kid", "fid", "precision", "recall")
SUBSETS = 100       # of KID
SUBSET_SIZE = 1000  # at most; fewer where there are fewer images


class GeneratorMetrics:
    """Extracts features once and gives every figure asked for. Those of the images are extracted at the first call.

    Raises:
        GanvasError: if a metric or the feature network is unknown, its weights are missing, or the images are too few.
    """

    def __init__(
        self,
        real: Tensor,                        # uint8 [N, 3, R, R]; as many samples are drawn
        features: str,                       # name of the feature network, see networks.critics.feature_network
        metrics: Sequence[str] = METRICS,    # which figures
        batch: int = 64,                     # images rendered and judged at once
        weights: str | Path | None = None,   # file of an Inception's weights, where they are not in the hub folder
        allow_download: bool = False,        # whether an Inception may be fetched
        labels: Tensor | None = None,        # of the images, [N, c_dim]: a conditional generator draws for these
    ) -> None:  # fmt: skip
        unknown = [name for name in metrics if name not in METRICS]
        if unknown or not metrics:
            raise GanvasError(f"unknown metric {unknown[0]!r}: choose from {', '.join(METRICS)}." if unknown else
                              f"no metric is named: choose from {', '.join(METRICS)}.")  # fmt: skip
        if len(real) <= NEIGHBOURS and {"precision", "recall"} & {*metrics}:
            raise GanvasError(f"precision and recall need more than {NEIGHBOURS} images, got {len(real)}: raise their "
                              "number, or leave the two out.")  # fmt: skip
        self.metrics, self.features, self.batch = tuple(metrics), features, batch
        self.network = feature_network(features, weights, allow_download)
        self._images, self._labels, self._classes = real, labels, _classes(labels)
        self._real: Tensor | None = None

    @property
    def protocol(self) -> str:
        """What the figures are, beside which images and samples were compared."""
        n = len(self._images)
        said = {
            "kid": f"KID x 1000: unbiased, cubic kernel, mean of {SUBSETS} subsets of {self._subset_size}"
                   + ("" if self._classes is None else ", and the mean over classes of the same within each"),
            "fid": f"FID: of {n} and {n} images, biased upwards the fewer they are",
            "precision": f"precision and recall: k = {NEIGHBOURS}, of {n} and {n} images",
        }
        said["recall"] = said["precision"]
        return "; ".join(dict.fromkeys(said[name] for name in METRICS if name in self.metrics))

    @property
    def _subset_size(self) -> int:
        return min(SUBSET_SIZE, len(self._images))

    def __call__(
        self, generator: Generator, seed: int = 0, truncation: float = 1.0, share: Share = ALL
    ) -> dict[str, float]:
        """Every figure by its name, which tells its feature network: ``fid_efficientnet_lite0``.

        KID is times 1000, as it is usually printed (``kid_..._x1000``), and comes with the deviation of one subset
        (``kid_..._x1000_std``); where labels are of classes also within these (``kid_intra_..._x1000``).
        Features are extracted where the generator is, of several devices on each those of its ``share``.
        """
        count = len(self._images)
        indices = share.indices(count)
        if self._real is None:
            parts = (self._images[some].float() / 127.5 - 1 for some in indices.split(self.batch))
            self._real = share.whole(self._extract(parts, generator), count)
        latent = generator.sample(count, seed, self._labels, truncation)[indices]
        fake = self._extract((part.clamp(-1, 1) for part in render_batches(generator, latent, self.batch)), generator)
        return self._figures(self._real, share.whole(fake, count))

    def _extract(self, batches: Iterable[Tensor], generator: Generator) -> Tensor:
        network = self.network.to(generator.device)
        return extract_features(network, (part.to(generator.device) for part in batches))

    def _figures(self, real: Tensor, fake: Tensor) -> dict[str, float]:
        name = self.features.replace("-", "_")
        figures: dict[str, float] = {}
        if "kid" in self.metrics:
            mean, deviation = kid(real, fake, SUBSETS, self._subset_size)
            figures |= {f"kid_{name}_x1000": 1000 * mean, f"kid_{name}_x1000_std": 1000 * deviation}
        if "kid" in self.metrics and self._classes is not None:
            within = intra_kid(real, fake, self._classes, SUBSETS, self._subset_size)
            figures[f"kid_intra_{name}_x1000"] = 1000 * within
        if "fid" in self.metrics:
            figures[f"fid_{name}"] = fid(real, fake)
        if {"precision", "recall"} & {*self.metrics}:
            both = dict(zip(("precision", "recall"), precision_recall(real, fake), strict=True))
            figures |= {f"{metric}_{name}": both[metric] for metric in both if metric in self.metrics}
        return figures


def _classes(labels: Tensor | None) -> Tensor | None:
    """The class of each label ``[N, c_dim]``, int64 ``[N]``; None if they are not one-hot, or no class occurs twice."""
    if labels is None or not ((labels == 0) | (labels == 1)).all() or not (labels.sum(1) == 1).all():
        return None
    return labels.argmax(1) if labels.sum(0).max() >= 2 else None


def headline(figures: dict[str, float]) -> dict[str, float]:
    """The figures without their deviations."""
    return {name: value for name, value in figures.items() if not name.endswith("_std")}
