"""The LPIPS distance as a squared Euclidean distance between embeddings (Zhang et al. 2018, arXiv 1801.03924, eq. 1).

    d(x, y) = sum_l 1/(H_l W_l) sum_hw || w_l * (x_l - y_l) ||^2

with x_l the features of layer l, scaled to unit length at each pixel. The weights of the linear heads are not negative,
so their square root and the 1/(H_l W_l) can be moved into the features: a constant target is then embedded once.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

Embedding = tuple[Tensor, ...]  # one map [N, C_l, H_l, W_l] a layer


def embed(maps: Sequence[Tensor], heads: Sequence[Tensor], eps: float = 1e-10) -> Embedding:
    """Trunk features to maps whose summed squared difference is the LPIPS distance.

    Args:
        maps: features of each layer, ``[N, C_l, H_l, W_l]``.
        heads: weights of each linear head, ``[C_l]``, not negative.
        eps: added to the squared length. A pixel without any feature has length 0, where the gradient of the
            square root is infinite; the floor of 1e-5 on the length keeps it finite.
    """
    return tuple(
        x * (x.square().sum(1, keepdim=True) + eps).rsqrt() * (w / x[0, 0].numel()).sqrt().view(1, -1, 1, 1)
        for x, w in zip(maps, heads, strict=True)
    )


class PerceptualCritic(nn.Module):
    """A frozen perceptual distance between images in [-1, 1].

    ``critic(x, y)`` compares; ``critic.distance(critic.features(x), target)`` does the same with
    ``target = critic.features(y)`` computed once, which halves the work of an inversion.

    Args:
        heads: weights of the linear heads, ``[C_l]`` each.
        min_size: smallest height and width that the trunk accepts.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, heads: Sequence[Tensor], min_size: int) -> None:
        super().__init__()
        # ImageNet statistics carried over to the [-1, 1] range, as LPIPS defines them.
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1), persistent=False)
        self.min_size = min_size
        self.layers = len(heads)
        for i, weight in enumerate(heads):
            self.register_buffer(f"head{i}", weight.detach().clone().flatten(), persistent=False)

    @abstractmethod
    def trunk(self, x: Tensor) -> list[Tensor]:
        """Features of every layer for normalised images."""

    def maps(self, images: Tensor) -> list[Tensor]:
        """Raw trunk features of ``images [N, 3, H, W]`` in [-1, 1].

        Raises:
            ValueError: if the images are not RGB or are too small for the trunk.
        """
        if images.ndim != 4 or images.shape[1] != 3 or min(images.shape[-2:]) < self.min_size:
            raise ValueError(f"images must be [N, 3, H, W] with H, W >= {self.min_size}, got {list(images.shape)}")
        return self.trunk((images - self.shift) / self.scale)

    def features(self, images: Tensor) -> Embedding:
        """Embedding of ``images [N, 3, H, W]``, to be compared by :meth:`distance`."""
        return embed(self.maps(images), [getattr(self, f"head{i}") for i in range(self.layers)])

    def distance(self, x: Embedding, y: Embedding) -> Tensor:
        """Distance of two embeddings, ``[N]``."""
        per_layer = [(a - b).square().flatten(1).sum(1) for a, b in zip(x, y, strict=True)]
        return torch.stack(per_layer).sum(0)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Distance of two batches of images, ``[N]``; 0 for the same image."""
        if x.shape != y.shape:
            raise ValueError(f"images must have one shape, got {list(x.shape)} and {list(y.shape)}")
        return self.distance(self.features(x), self.features(y))
