"""A classifier that says which class of a generator an image shows: the judge of collages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from launch.edit_judges import judge_name
from networks.attributes import AttributeClassifier, load_attributes
from networks.checkpoints.errors import GanvasError

TOP = 5   # of the values that it finds likeliest


@dataclass(frozen=True)
class ClassJudge:
    """One attribute of a classifier, whose values are the classes."""

    network: AttributeClassifier
    attribute: str
    values: Tensor    # int64 [classes]: the number of the value that each class is
    name: str         # beside figures, with its own held-out accuracy

    @classmethod
    def load(cls, path: str, classes: Sequence[str]) -> ClassJudge:
        """The judge in a bundle of ``task=attributes``.

        Raises:
            GanvasError: if the bundle cannot be used, or knows other classes.
        """
        network, manifest = load_attributes(path)
        for attribute in network.attributes:
            if set(classes) <= set(attribute.values):
                scores = manifest.get("metrics", {}).get("by_attribute", {}).get(attribute.name, {})
                own = f", held-out accuracy {scores['accuracy']:.4f}" if "accuracy" in scores else ""
                values = torch.tensor([attribute.values.index(name) for name in classes])
                return cls(network, attribute.name, values, judge_name(manifest) + own)
        raise GanvasError(f"judge={path} does not tell {', '.join(classes)} apart: give one that does, as `ganvas "
                          "train experiment=attributes/styles32` makes for styles of avatars.")  # fmt: skip

    def likely(self, images: Tensor, classes: Tensor, among: int = 1) -> Tensor:
        """Whether the judge finds a class among the likeliest, bool ``[N]``.

        Args:
            images: ``[N, 3, R, R]`` in [-1, 1].
            classes: one for each image, int64 ``[N]``.
            among: how many count as the likeliest.
        """
        found = self.network.probabilities(images)[self.attribute]
        best = found.topk(min(among, found.shape[1]), dim=1).indices
        return (best == self.values[classes.cpu()][:, None]).any(1)
