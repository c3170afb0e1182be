"""What an image shows, by one network with a head for each attribute: the judge of edits and the source of labels.

``load_attributes(path)[0].probabilities(images)["smile"]`` is ``[N, 2]``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from networks.checkpoints.attributes import UNKNOWN, Attribute, attributes_from_json, attributes_to_json
from networks.checkpoints.bundle import Manifest, save_bundle
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.modules import load_module
from networks.trunks import build_trunk, fitted

KIND = "attributes"  # of its bundles


class AttributeClassifier(nn.Module):
    """Logits of each value of each attribute, ``[N, 3, R, R]`` in [-1, 1] -> ``{name: [N, values]}``.

    Raises:
        GanvasError: if the trunk is unknown or cannot take images of this resolution.
    """

    def __init__(
        self,
        attributes: Sequence[Attribute],   # what it tells, in the order of the labels
        resolution: int,                   # pixels a side of its images; others are resized
        trunk: str = "dense",              # a key of networks.trunks.TRUNKS
        width: int = 24,                   # of the trunk
    ) -> None:  # fmt: skip
        super().__init__()
        self.attributes, self.resolution = tuple(attributes), resolution
        self.trunk = build_trunk(trunk, width, resolution)
        self.heads = nn.ModuleList(nn.Linear(self.trunk.features, len(a.values)) for a in self.attributes)
        self._config = {"resolution": resolution, "trunk": trunk, "width": width}

    @property
    def config(self) -> dict[str, Any]:
        """Constructor arguments but for the attributes, as a manifest stores them."""
        return dict(self._config)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        x = self.trunk(fitted(images, self.resolution))
        return {a.name: head(x) for a, head in zip(self.attributes, self.heads, strict=True)}

    @torch.no_grad()
    def probabilities(self, images: Tensor, batch: int = 64) -> dict[str, Tensor]:
        """Probabilities of the values of each attribute, ``{name: [N, values]}``, on the CPU.

        Args:
            images: ``[N, 3, R, R]`` in [-1, 1], of any size, anywhere.
            batch: images at once.
        """
        device = next(self.parameters()).device
        parts = [self(part.to(device)) for part in images.split(batch)]
        return {a.name: torch.cat([part[a.name].softmax(1).cpu() for part in parts]) for a in self.attributes}

    def labels(self, images: Tensor, batch: int = 64) -> Tensor:
        """The likeliest values as labels, ``uint8 [N, attributes]``."""
        return _likeliest(self.probabilities(images, batch))


class AttributePanel:
    """Classifiers of the same attributes that judge together, by the mean of their probabilities; one alone, too.

    Raises:
        GanvasError: if they tell different attributes.
    """

    def __init__(self, members: Sequence[AttributeClassifier]) -> None:
        self.members, self.attributes = tuple(members), members[0].attributes
        if any(member.attributes != self.attributes for member in self.members):
            raise GanvasError("judges of several bundles must tell the same attributes and values, in one order: give "
                              "judge= bundles that were trained on the same table.")  # fmt: skip

    def probabilities(self, images: Tensor, batch: int = 64) -> dict[str, Tensor]:
        """As :meth:`AttributeClassifier.probabilities`."""
        found = [member.probabilities(images, batch) for member in self.members]
        return {a.name: torch.stack([each[a.name] for each in found]).mean(0) for a in self.attributes}

    def labels(self, images: Tensor, batch: int = 64) -> Tensor:
        """The likeliest values as labels, ``uint8 [N, attributes]``."""
        return _likeliest(self.probabilities(images, batch))

    def agreed(self, images: Tensor, batch: int = 64) -> Tensor:
        """The labels on which all members agree, ``uint8 [N, attributes]``; ``UNKNOWN`` elsewhere."""
        first, *others = (member.labels(images, batch) for member in self.members)
        same = torch.stack([torch.ones_like(first, dtype=torch.bool), *(first == other for other in others)]).all(0)
        return torch.where(same, first, torch.full_like(first, UNKNOWN))


def _likeliest(probabilities: Mapping[str, Tensor]) -> Tensor:
    return torch.stack([p.argmax(1) for p in probabilities.values()], 1).to(torch.uint8)


def attribute_loss(logits: Mapping[str, Tensor], labels: Tensor) -> Tensor:
    """Cross-entropy, averaged over the images that show an attribute and then over the attributes.

    Args:
        logits: of each attribute ``[N, values]``, in the order of the labels.
        labels: ``[N, attributes]`` numbers of values; ``UNKNOWN`` counts in nothing.

    Example:
        >>> attribute_loss({"a": torch.zeros(2, 2)}, torch.tensor([[1], [UNKNOWN]])).exp().item()
        2.0
    """
    losses = []
    for scores, truth in zip(logits.values(), labels.long().unbind(1), strict=True):
        total = F.cross_entropy(scores.float(), truth, ignore_index=UNKNOWN, reduction="sum")
        losses.append(total / (truth != UNKNOWN).sum().clamp_min(1))
    return torch.stack(losses).mean()


def save_attributes(path: str | Path, network: AttributeClassifier, extra: Mapping[str, Any]) -> Path:
    """Write a classifier as a bundle of kind ``attributes``.

    Args:
        path: the ``.safetensors`` file to write.
        network: what to write.
        extra: further manifest entries: ``metrics``, ``command``, ``licence``.
    """
    manifest = {**extra, "kind": KIND, "config": network.config, "attributes": attributes_to_json(network.attributes)}
    return save_bundle(path, network.state_dict(), manifest)


def load_attributes(path: str | Path) -> tuple[AttributeClassifier, Manifest]:
    """Read a classifier's bundle; ``zoo/NAME`` is also looked for in the zoo.

    Returns:
        The network in eval mode, frozen, and the manifest with its ``metrics``.

    Raises:
        GanvasError: if the bundle is unusable, of another kind, or its weights do not fit its constructor.
    """
    return load_module(path, KIND, _from_manifest)


def _from_manifest(manifest: Manifest) -> AttributeClassifier:
    return AttributeClassifier(attributes_from_json(manifest["attributes"]), **manifest["config"])
