"""Scenes whose blobs are moved and removed one at a time, and what a judge sees before and after."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from editors.blobs import edited_region
from networks.blobgan import BlobGenerator, Layout, operations
from networks.checkpoints.classes import ClassList
from networks.critics import perceptual
from networks.critics.sizes import for_critic
from networks.latent import Latent
from networks.metrics.blob_edits import (
    VISIBLE,
    Association,
    Followed,
    associate,
    class_shares,
    followed,
    outside,
    owned,
    removed,
)

SCENES = 100             # where neither n= nor layout= says it
CRITIC = "stlpips-alex"  # perceptual distance
THERE = 0.25             # least share of a blob's weight that lies on its class for a removal to have an object
GONE = 0.5               # least share of an object that a removal must take to have succeeded
NEAR = 0.5               # largest error of a move that has succeeded, as a share of the way


@dataclass(frozen=True)
class Seen:
    """Scenes, and what the judge says of them."""

    images: Tensor   # [N, C, R, R] in [-1, 1]
    masks: Tensor    # uint8 [N, R, R]

    def __getitem__(self, items: list[int] | Tensor) -> Seen:
        return Seen(self.images[items], self.masks[items])


@dataclass(frozen=True)
class Judge:
    """What says what pixels show."""

    name: str
    classes: ClassList
    see: Callable[[Latent], Seen]   # on the CPU


@dataclass(frozen=True)
class Change:
    """One edit of one blob, in the scenes where it is visible."""

    after: Seen
    psnr: Tensor         # [n], outside of the edit, dB
    perceptual: Tensor   # [n], outside of it


@dataclass(frozen=True)
class BlobOutcome:
    """What became of one blob's edits."""

    blob: int
    scenes: Tensor               # int64 [n], where it is visible
    weight: Tensor               # [n, R, R], of the blob in each pixel of these
    vector: Tensor               # [n, 2], by which it is moved, in widths of the image
    before: Seen                 # of these
    move: Change
    removal: Change
    follows: Tensor              # bool [n], where it has an object for itself: whose moves are measured
    followed: Followed | None    # of these; None if there are none
    arrived: Tensor              # bool, of these: whether the object ended within NEAR of the way
    there: Tensor                # bool [n], where it has an object
    gone: Tensor                 # of these, what was removed of it


@dataclass(frozen=True)
class Trial:
    """Scenes whose blobs are tried one at a time."""

    generator: BlobGenerator
    judge: Judge
    latent: Latent
    background: frozenset[int]   # ids of classes that are no objects
    move: float                  # in widths of the image
    batch: int = 16              # scenes whose weights are made at once

    @cached_property
    def seen(self) -> Seen:
        """The scenes as they are."""
        return self.judge.see(self.latent)

    @cached_property
    def association(self) -> Association:
        """Which class each blob is, as the judge sees it."""
        return self.association_on(self.seen.masks)

    def association_on(self, masks: Tensor) -> Association:
        """Which class each blob is by masks of the scenes, uint8 ``[N, R, R]``."""
        shares, visible, classes = [], [], len(self.judge.classes)
        for piece, shown in zip(self.latent.split(self.batch), masks.split(self.batch), strict=True):
            weights = self._weights(Layout.of(piece))
            shares.append(class_shares(weights, shown, classes))
            visible.append(weights.mean((2, 3)) >= VISIBLE)
        expected = torch.bincount(masks.flatten().long(), minlength=256)[:classes].float()
        return associate(torch.cat(shares), expected / expected.sum(), torch.cat(visible))

    @cached_property
    def critic(self) -> Callable[[Tensor, Tensor], Tensor]:
        """Perceptual distance of images of any size."""
        network = perceptual(CRITIC)
        return lambda x, y: network(for_critic(x), for_critic(y))

    @torch.no_grad()
    def outcome(self, blob: int) -> BlobOutcome:
        """One blob moved, and removed, in each scene where it is visible."""
        scenes = self.association.visible[:, blob].nonzero().flatten()
        labels = self.association.in_scene[scenes, blob]
        layout, before = Layout.of(self.latent[scenes.to(self.generator.device)]), self.seen[scenes]
        weight = self._weights(layout)[:, blob]
        shift = torch.where(layout.centre[:, blob, :1] < 0.5, self.move, -self.move)  # towards the middle
        vector = torch.cat([shift, torch.zeros_like(shift)], dim=1)
        centre = layout.centre.clone()
        centre[:, blob] += vector
        vector = vector.cpu()
        move = self._change(layout, layout.replace(centre=centre), before)
        removal = self._change(layout, operations.remove(layout, [blob]), before)
        objects = ~torch.isin(labels, torch.tensor(sorted(self.background), dtype=labels.dtype))
        on = weight * (before.masks == labels[:, None, None])
        there = objects & (on.sum((1, 2)) >= THERE * weight.sum((1, 2)))
        follows = there & owned(weight, before.masks, labels)
        gone = removed(before.masks[there], removal.after.masks[there], weight[there], labels[there])
        went, arrived = None, torch.zeros(0, dtype=torch.bool)
        if follows.any():
            went = followed(before.masks[follows], move.after.masks[follows], labels[follows], vector[follows])
            arrived = self.arrived(went)
        return BlobOutcome(
            blob, scenes, weight, vector, before, move, removal, follows, went, arrived, there, gone
        )

    def arrived(self, went: Followed) -> Tensor:
        """Which objects ended within ``NEAR`` of the way of where they should, bool ``[n]``."""
        return went.error <= NEAR * abs(self.move)

    def _weights(self, layout: Layout) -> Tensor:
        """The weights of the blobs in each pixel, ``[n, K, R, R]``, on the CPU."""
        return self.generator.synthesis.weights(layout)[self.generator.img_resolution][:, 1:].cpu()

    def _change(self, layout: Layout, changed: Layout, before: Seen) -> Change:
        after = self.judge.see(changed.latent(self.generator.hash or None))
        region = edited_region(self.generator, layout, changed).cpu()
        return Change(after, *outside(before.images, after.images, region, self.critic))


def joined(parts: Iterable[Tensor]) -> Tensor:
    """Numbers of several blobs in one row; none of no blob."""
    return torch.cat([torch.zeros(0), *parts])
