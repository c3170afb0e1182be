"""A scene as blobs: where they are, how large, what is in them, how it looks (Epstein et al. 2022, section 3).

Blob ``i`` covers a pixel with opacity ``o_i = m_i sigmoid(s_i - d_i^2)``, where ``d_i`` is the Mahalanobis distance
from its centre; later blobs lie in front, unless there is a ``depth``. The background stands behind all of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from cuda_ops.blob_splat import AREA, blob_splat
from networks.blobgan.learned_order import Blobs, with_learned_order
from networks.latent import Latent

PER_BLOB = ("centre", "size", "log_aspect", "angle", "opacity", "depth")  # one row a blob
WITH_BACKGROUND = ("structure", "style")                                  # the first row is the background's
OPTIONAL = ("opacity", "depth")


@dataclass(frozen=True)
class Layout:
    """The blobs of a batch of scenes.

    Args:
        centre: x to the right and y down, in widths of the image, ``[N, K, 2]``; may lie outside [0, 1].
        size: logit of the opacity at the centre, ``[N, K]``; a large negative one hides the blob.
        log_aspect: t, the logarithm of a blob's length along ``angle`` over its width, ``[N, K]``: its standard
            deviations are ``sqrt(area) e^(t/2)`` and ``sqrt(area) e^(-t/2)``.
        angle: unit vectors (cos, sin), ``[N, K, 2]``; an ellipse turned by half a circle is the same.
        structure: what is in the blob, ``[N, K + 1, D]``, the background's first.
        style: how it looks, ``[N, K + 1, S]``, the background's first.
        opacity: bounds of the opacities in [0, 1], ``[N, K]``; None for 1.
        depth: larger is nearer, ``[N, K]``; None for the order of the blobs.

    Raises:
        ValueError: if the shapes do not go together.
    """

    centre: Tensor
    size: Tensor
    log_aspect: Tensor
    angle: Tensor
    structure: Tensor = field(repr=False)
    style: Tensor = field(repr=False)
    opacity: Tensor | None = None
    depth: Tensor | None = None

    def __post_init__(self) -> None:
        if self.centre.ndim != 3 or self.centre.shape[2] != 2:
            raise ValueError(f"centre must be [N, K, 2], got {list(self.centre.shape)}")
        n, k = self.centre.shape[:2]
        for name, tensor in self.tensors().items():
            if name in WITH_BACKGROUND:
                fits, wanted = tensor.ndim == 3 and tensor.shape[:2] == (n, k + 1), f"[{n}, {k + 1}, D]"
            else:
                shape = [n, k, 2] if name in ("centre", "angle") else [n, k]
                fits, wanted = list(tensor.shape) == shape, str(shape)
            if not fits:
                raise ValueError(f"{name} must be {wanted} for {k} blobs in {n} scenes, got {list(tensor.shape)}")

    def __len__(self) -> int:
        return len(self.centre)

    @property
    def k(self) -> int:
        """How many blobs a scene has, the background left out."""
        return self.centre.shape[1]

    def tensors(self) -> dict[str, Tensor]:
        """All of them by name, as a latent in the space ``layout`` has them."""
        every = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {name: tensor for name, tensor in every.items() if tensor is not None}

    @classmethod
    def of(cls, latent: Latent) -> Layout:
        """The layout that a latent is.

        Raises:
            ValueError: if the latent is in another space, or its tensors are not those of a layout.
        """
        if latent.space != "layout":
            raise ValueError(f"a layout is wanted, this latent is in the space {latent.space!r}")
        names = {f.name for f in dataclasses.fields(cls)}
        missing = names - set(OPTIONAL) - latent.tensors.keys()
        if missing:
            raise ValueError(f"a layout needs {sorted(names - set(OPTIONAL))}, this latent lacks {sorted(missing)}")
        return cls(**{name: tensor for name, tensor in latent.tensors.items() if name in names})

    def latent(self, generator_hash: str | None = None, noise_seed: int | None = None) -> Latent:
        """As a latent, to be rendered, stored and edited like any other."""
        return Latent("layout", self.tensors(), None, generator_hash, noise_seed)

    def replace(self, **tensors: Tensor | None) -> Layout:
        """The same scenes with some of these tensors exchanged."""
        return dataclasses.replace(self, **tensors)

    def take(self, blobs: Sequence[int]) -> Layout:
        """The scenes with these blobs only, in this order; the background stays.

        Raises:
            ValueError: if there is no such blob, or none is left.
        """
        if not blobs or not all(0 <= i < self.k for i in blobs):
            raise ValueError(f"blobs must be some of 0 to {self.k - 1}, got {list(blobs)}")
        rows, behind = list(blobs), [0, *(i + 1 for i in blobs)]
        return Layout(**{
            name: tensor[:, behind if name in WITH_BACKGROUND else rows] for name, tensor in self.tensors().items()
        })  # fmt: skip

    def covariance(self, area: float = AREA) -> Tensor:
        """``R diag(area e^t, area e^-t) R^T``, ``[N, K, 2, 2]``: its determinant is ``area^2`` whatever the shape."""
        along = self.angle.unsqueeze(-1)  # [N, K, 2, 1]
        across = torch.stack([-self.angle[..., 1], self.angle[..., 0]], -1).unsqueeze(-1)
        stretch = self.log_aspect.exp()[..., None, None] * area
        return stretch * along @ along.mT + area * area / stretch * across @ across.mT

    def order(self) -> Tensor | None:
        """The blobs' indices from back to front, ``int64 [N, K]``; None if that is ascending."""
        return None if self.depth is None else self.depth.argsort(dim=1)

    def weights(
        self, resolution: int, smallest: int, area: float = AREA, offset: float = 0.0, dtype: torch.dtype | None = None
    ) -> dict[int, Tensor]:
        """The share of the background and of each blob in each pixel, from ``resolution`` down to ``smallest``.

        They depend on the order of the depths, whose gradient is that of ``networks/blobgan/learned_order.py``.

        Returns:
            ``[N, K + 1, R, R]`` by resolution, the largest first; they sum to 1 over the maps.
        """
        levels = blob_splat(
            self.centre, self.size, self.log_aspect, self.angle, resolution, smallest, opacity=self.opacity,
            order=self.order(), area=area, offset=offset, dtype=dtype,
        )  # fmt: skip
        if self.depth is None or not (self.depth.requires_grad and torch.is_grad_enabled()):
            return levels
        blobs = Blobs(self.depth, self.centre, self.size, self.log_aspect, self.angle, self.opacity)
        return with_learned_order(levels, blobs, area, offset)


@dataclass(frozen=True)
class Jitter:
    """How far blobs are moved at random in training, so that what they hold follows them (section 3.4)."""

    centre: float = 0.0  # at most so far in x and in y, in widths of the image; 0.04 in the paper's models
    size: float = 0.0    # at most so much on the logit; 0.5 there
    angle: float = 0.0   # at most so many radians; 0.1 there

    def __post_init__(self) -> None:
        for name in ("centre", "size", "angle"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"jitter of {name} must be a number not below 0, got {getattr(self, name)}")

    def scaled(self, share: float) -> Jitter:
        """A share of it, for schedules."""
        return Jitter(self.centre * share, self.size * share, self.angle * share)

    def __call__(self, layout: Layout, generator: torch.Generator | None = None) -> Layout:
        """Move the blobs; with all three at 0 the layout itself.

        The angle's basis is turned by ``delta``, ``(c cos d - s sin d, s cos d + c sin d)``: small steps stay small and
        gradients are exact. The release goes through ``arccos`` instead, which loses the sine's sign and mirrors every
        blob that points down.
        """

        def draw(like: Tensor, bound: float) -> Tensor:
            drawn = torch.rand(like.shape, generator=generator, device="cpu" if generator is None else generator.device)
            return (2 * drawn.to(like) - 1) * bound

        if self.centre:
            layout = layout.replace(centre=layout.centre + draw(layout.centre, self.centre))
        if self.size:
            layout = layout.replace(size=layout.size + draw(layout.size, self.size))
        if self.angle:
            delta = draw(layout.size, self.angle)
            layout = layout.replace(angle=turned(layout.angle, delta))
        return layout


def turned(angle: Tensor, by: Tensor | float) -> Tensor:
    """Unit vectors ``[..., 2]`` turned by so many radians, from x towards y: clockwise as one looks at the image."""
    by = torch.as_tensor(by, dtype=angle.dtype, device=angle.device)
    c, s = angle.unbind(-1)
    return torch.stack([c * by.cos() - s * by.sin(), s * by.cos() + c * by.sin()], -1)
