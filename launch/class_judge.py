"""A classifier that says which class of a generator an image shows: the judge of collages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from launch.edit_judges import JUDGES, attribute_judge
from networks.attributes import AttributePanel
from networks.checkpoints.errors import GanvasError

TOP = 5   # of the values that it finds likeliest


@dataclass(frozen=True)
class ClassJudge:
    """One attribute of a classifier, whose values are the classes."""

    network: AttributePanel
    attribute: str
    values: Tensor    # int64 [classes]: the number of the value that each class is
    name: str         # beside figures, with its own held-out accuracy

    @classmethod
    def load(cls, paths: Sequence[str], classes: Sequence[str]) -> ClassJudge:
        """The judge in a bundle of ``task=attributes``, or in several.

        Raises:
            GanvasError: if a bundle cannot be used, or knows other classes.
        """
        panel, judge, accuracy = attribute_judge(paths)
        for attribute in panel.attributes:
            if set(classes) <= set(attribute.values):
                own = f", held-out accuracy {accuracy[attribute.name]:.4f}" if attribute.name in accuracy else ""
                values = torch.tensor([attribute.values.index(name) for name in classes])
                return cls(panel, attribute.name, values, judge + own)
        given = ", ".join(paths or JUDGES[:1])
        raise GanvasError(f"judge={given} does not tell {', '.join(classes)} apart: give one that does, as `ganvas "
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
