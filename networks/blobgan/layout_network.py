"""The layout network of BlobGAN: noise to blobs (Epstein et al. 2022, section 3.1)."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cuda_ops.blob_splat import MAX_BLOBS
from networks.blobgan.layout import Layout
from networks.blobgan.limits import MOST_STRETCHED
from networks.stylegan2.layers import FullyConnected

Covariance = Literal["learned", "frozen"]
Depth = Literal["index", "learned"]
SHAPE = 7        # numbers of a blob beside its features: x, y, size, two for the aspect, two for the angle
EPSILON = 1e-5   # in the norms of z and of features: the release's, where StyleGAN2 has 1e-8


class LayoutNetwork(nn.Module):
    """``z -> hidden -> layout``: normalisation, equalised layers with leaky ReLU, and a linear one that names blobs.

    The last layer gives the background's two features, then for each blob its numbers (see :data:`SHAPE`), where asked
    for a logit of its greatest opacity and a depth, and its two features.

    Raises:
        ValueError: if an argument makes no sense.
    """

    hidden_avg: Tensor

    def __init__(
        self,
        k: int,                          # blobs of a scene, 1 to MAX_BLOBS
        z_dim: int = 512,                # width of z
        hidden_dim: int = 1024,          # width of the layers
        layers: int = 8,                 # depth, the linear layer included
        structure_dim: int = 768,        # width of what is in a blob
        style_dim: int = 512,            # width of how it looks
        lr_mult: float = 0.01,           # learning-rate multiplier of the layers
        covariance: Covariance = "learned",  # frozen: aspect and angle get no gradient, as in early releases
        own_opacity: bool = False,       # a bound of the opacity beside the size, which else means both
        depth: Depth = "index",          # which blob is in front: the later one, or a learned number's
        aspect_bound: float | None = None,  # bound on |log_aspect|; none in the release, but what can be rendered
        hidden_avg_beta: float = 0.998,  # decay of the running mean of the hidden code, for truncation
    ) -> None:  # fmt: skip
        super().__init__()
        if k < 1 or layers < 2:
            raise ValueError(f"k must be at least 1 and layers at least 2, got {k} and {layers}")
        if k > MAX_BLOBS:
            raise ValueError(f"k must be at most {MAX_BLOBS}, the blobs that can be rendered, got {k}")
        if covariance not in get_args(Covariance) or depth not in get_args(Depth):
            raise ValueError(f"covariance must be one of {get_args(Covariance)} and depth one of {get_args(Depth)}, "
                             f"got {covariance!r} and {depth!r}")  # fmt: skip
        if aspect_bound is not None and not 0 < aspect_bound < math.inf:
            raise ValueError(f"aspect_bound must be above 0 and finite, got {aspect_bound}")
        self.k, self.z_dim, self.hidden_dim, self.num_layers = k, z_dim, hidden_dim, layers
        self.structure_dim, self.style_dim = structure_dim, style_dim
        self.covariance, self.own_opacity, self.depth, self.aspect_bound = covariance, own_opacity, depth, aspect_bound
        self.hidden_avg_beta = hidden_avg_beta
        self.register_buffer("hidden_avg", torch.zeros(hidden_dim))
        for i, (a, b) in enumerate(pairwise([z_dim, *[hidden_dim] * (layers - 1)])):
            self.add_module(f"fc{i}", FullyConnected(a, b, act="lrelu", lr_mult=lr_mult))
        self.blobs = FullyConnected(hidden_dim, sum(self.background) + k * sum(self.blob), lr_mult=lr_mult)

    @property
    def background(self) -> tuple[int, int]:
        """Widths of the background's parts of the last layer."""
        return self.structure_dim, self.style_dim

    @property
    def blob(self) -> tuple[int, ...]:
        """Widths of a blob's parts: its shape, its opacity and its depth where they are learned, its two features."""
        return SHAPE, int(self.own_opacity), int(self.depth == "learned"), self.structure_dim, self.style_dim

    def hidden(self, z: Tensor, update_avg: bool = False) -> Tensor:
        """Z ``[N, z_dim]`` to the code before the last layer, ``[N, hidden_dim]``.

        Raises:
            ValueError: if ``z`` has another shape.
        """
        if z.ndim != 2 or z.shape[1] != self.z_dim:
            raise ValueError(f"z must be [N, {self.z_dim}], got {list(z.shape)}")
        x = normalised(z.to(torch.float32))
        for i in range(self.num_layers - 1):
            x = getattr(self, f"fc{i}")(x)
        x = x.to(torch.float32)
        if update_avg:
            self.hidden_avg.copy_(x.detach().mean(dim=0).lerp(self.hidden_avg, self.hidden_avg_beta))
        return x

    def truncated(self, hidden: Tensor, truncation: float) -> Tensor:
        """``hidden`` moved towards its mean: 1 leaves it, 0 gives the mean."""
        return hidden if truncation == 1 else self.hidden_avg.lerp(hidden, truncation)

    def layout(self, hidden: Tensor) -> Layout:
        """The code before the last layer ``[N, hidden_dim]`` to blobs.

        Raises:
            ValueError: if ``hidden`` has another shape.
        """
        if hidden.ndim != 2 or hidden.shape[1] != self.hidden_dim:
            raise ValueError(f"the hidden code must be [N, {self.hidden_dim}], got {list(hidden.shape)}")
        out = self.blobs(hidden.to(torch.float32)).to(torch.float32)
        behind, front = out.split([sum(self.background), self.k * sum(self.blob)], dim=1)
        shape, opacity, depth, structure, style = front.unflatten(1, (self.k, -1)).split(self.blob, dim=2)
        structure_behind, style_behind = behind[:, None].split(self.background, dim=2)
        x, y, size, r1, r2, cosine, sine = shape.unbind(2)
        log_aspect = (F.logsigmoid(r1) - F.logsigmoid(r2)) / 2
        if self.aspect_bound is not None:
            log_aspect = self.aspect_bound * torch.tanh(log_aspect / self.aspect_bound)
        log_aspect = log_aspect.clamp(-MOST_STRETCHED, MOST_STRETCHED)  # no more can be rendered
        angle = F.normalize(torch.stack([cosine, sine], 2), dim=2)
        if self.covariance == "frozen":
            log_aspect, angle = log_aspect.detach(), angle.detach()
        return Layout(
            torch.stack([x, y], 2).sigmoid(), size, log_aspect, angle,
            normalised(torch.cat([structure_behind, structure], 1)), normalised(torch.cat([style_behind, style], 1)),
            opacity.squeeze(2).sigmoid() if self.own_opacity else None,
            depth.squeeze(2) if self.depth == "learned" else None,
        )  # fmt: skip

    def forward(self, z: Tensor, truncation: float = 1.0, update_avg: bool = False) -> Layout:
        return self.layout(self.truncated(self.hidden(z, update_avg), truncation))


def normalised(x: Tensor) -> Tensor:
    """Rows ``[..., D]`` to unit second moment: z, and the features that the synthesis network knows."""
    return x * (x.square().mean(dim=-1, keepdim=True) + EPSILON).rsqrt()
