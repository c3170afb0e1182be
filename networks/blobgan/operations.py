"""What can be done to the blobs of scenes: each operation takes layouts and gives layouts (BlobGAN, section 4).

A blob keeps its number for good: one that is removed stays, with no opacity, and a copy gets the next free number.
Which blob covers which is then said by ``depth``, not by the numbers.

``share`` says how much of an operation is done: 0 nothing, 1 all of it, 0.5 half of the way, where there is a way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from networks.blobgan.layout import Layout, turned

Place = int | Literal["front", "back"]
HIDDEN_SIZE = -30.0  # the logit of an opacity of 1e-13: what a removed blob has, since a layout must be finite
FEATURES = ("structure", "style")
TINY = 1e-12  # mean squared distance below which blobs do not differ


def move(layout: Layout, blobs: Sequence[int], right: float, down: float) -> Layout:
    """Move blobs by widths of the image; they may leave it."""
    return layout.replace(centre=_put(layout.centre, blobs, layout.centre[:, blobs] + _like(layout, [right, down])))


def place(layout: Layout, blobs: Sequence[int], x: float, y: float, share: float = 1.0) -> Layout:
    """Move blobs towards the point (x, y), in widths of the image from its upper left corner."""
    return layout.replace(
        centre=_put(layout.centre, blobs, _lerp(layout.centre[:, blobs], _like(layout, [x, y]), share))
    )


def resize(layout: Layout, blobs: Sequence[int], by: float) -> Layout:
    """Add to the size of blobs, the logit of the opacity in their middle."""
    return layout.replace(size=_put(layout.size, blobs, layout.size[:, blobs] + by))


def remove(layout: Layout, blobs: Sequence[int], share: float = 1.0) -> Layout:
    """Lower the opacity in the middle of blobs by a share, to nothing: so they shrink, and are then as left out.

    Outside [0, 1] a share counts as 0 or 1: there is nothing beyond.
    """
    return layout.replace(size=_put(layout.size, blobs, _faded(layout.size[:, blobs], 1 - min(max(share, 0.0), 1.0))))


def rotate(layout: Layout, blobs: Sequence[int], degrees: float) -> Layout:
    """Turn blobs about their centres, clockwise as one looks at the image."""
    return layout.replace(angle=_put(layout.angle, blobs, turned(layout.angle[:, blobs], math.radians(degrees))))


def stretch(layout: Layout, blobs: Sequence[int], factor: float, share: float = 1.0) -> Layout:
    """Make blobs longer along their angle and thinner across; their area stays.

    Length over width becomes ``factor ** share`` times what it was.
    """
    by = share * math.log(factor)
    return layout.replace(log_aspect=_put(layout.log_aspect, blobs, layout.log_aspect[:, blobs] + by))


def duplicate(
    layout: Layout, blobs: Sequence[int], right: float, down: float, at: Place | None = None, share: float = 1.0
) -> Layout:  # fmt: skip
    """Copy blobs to a place right and down of them; copies get the next free numbers, in the order of ``blobs``.

    Args:
        layout: the scenes.
        blobs: what is copied.
        right: where to, in widths of the image.
        down: the same.
        at: the copy's place in the order, see :func:`reorder`; None: just in front of the original.
        share: opacity in the middle of the copy as a share of the original's, from 0 to 1.
    """
    for blob in blobs:
        order = ranks(layout)
        tensors = {
            name: torch.cat([t, t[:, [blob + (name in FEATURES)]]], dim=1) for name, t in layout.tensors().items()
        }
        tensors["depth"] = torch.cat([order, order[:, [blob]] + 0.5], dim=1)
        layout = Layout(**tensors)
        layout = layout.replace(depth=ranks(layout))
        new = [layout.k - 1]
        layout = remove(move(layout, new, right, down), new, 1 - share)
        layout = layout if at is None else reorder(layout, new, at)
    return layout


def reorder(layout: Layout, blobs: Sequence[int], to: Place, share: float = 1.0) -> Layout:
    """Put blobs in front of others or behind: each passes the blobs on its way, the rest keep their order.

    Args:
        layout: the scenes.
        blobs: which; several are put there one after another.
        to: ``front``, ``back``, or a place counted from the back, 0 being the hindmost.
        share: of the way through the order.
    """
    last = layout.k - 1
    goal = {"front": last, "back": 0}[to] if isinstance(to, str) else min(to, last)
    for blob in blobs:
        order = ranks(layout)
        now = order[:, [blob]]
        there = _lerp(now, torch.full_like(now, goal), share).round().clamp(0, last)
        # Half a place beyond the goal on the far side, so that the one who is there makes way.
        order[:, [blob]] = there + 0.5 * (there - now).sign()
        layout = layout.replace(depth=order)
        layout = layout.replace(depth=ranks(layout))
    return layout


def take_features(
    layout: Layout, rows: Sequence[int], other: Layout, theirs: Sequence[int], names: Sequence[str], share: float = 1.0
) -> Layout:  # fmt: skip
    """Give rows of ``structure`` or ``style`` what rows of another layout have; row 0 is the background's.

    Args:
        layout: the scenes.
        rows: which of their rows.
        other: as many scenes, or one for all.
        theirs: as many rows of these, or one for all.
        names: ``structure``, ``style`` or both.
        share: of the way.

    Raises:
        ValueError: if the features have another width, or there are neither one nor as many scenes.
    """
    changed = {}
    for name in names:
        mine, there = getattr(layout, name), getattr(other, name)[:, theirs]
        if there.shape[2] != mine.shape[2] or len(other) not in (1, len(layout)):
            raise ValueError(f"{name} {list(mine.shape)} cannot be taken from {list(getattr(other, name).shape)}")
        changed[name] = _put(mine, rows, _blend(mine[:, rows], there.to(mine), share))
    return layout.replace(**changed)


def approach(layout: Layout, other: Layout, share: float) -> Layout:
    """Move everything towards another layout, blob by blob; blobs that only one of the two has stay as they are.

    Angles turn the shorter way: an ellipse turned by half a circle is the same.
    """
    k = min(layout.k, other.k)
    return _towards(layout, list(range(k)), list(range(k + 1)), other, share)


def surround(layout: Layout, blobs: Sequence[int], other: Layout, share: float = 1.0) -> Layout:
    """Move everything but some blobs towards another layout: the background, the other blobs, and the order.

    Other blobs that the other layout lacks are removed, those that only it has come in, each by its opacity.

    Args:
        layout: the scenes.
        blobs: what stays as it is.
        other: as many scenes, or one for all.
        share: of the way.
    """
    rest = [blob for blob in range(min(layout.k, other.k)) if blob not in blobs]
    layout = remove(layout, [blob for blob in range(other.k, layout.k) if blob not in blobs], share)
    new = list(range(layout.k, other.k))
    for _ in new:
        layout = duplicate(layout, [0], 0.0, 0.0, "front")
    layout = remove(_towards(layout, new, [blob + 1 for blob in new], other, 1.0), new, 1 - share)
    layout = _towards(layout, rest, [0, *(blob + 1 for blob in rest)], other, share)
    mine, theirs = ranks(layout), ranks(other).to(layout.size).expand(len(layout), -1)
    beyond = torch.arange(other.k, layout.k).to(mine).expand(len(layout), -1)   # in front of all that it has
    theirs = torch.cat([theirs, beyond], dim=1)
    between = _lerp(mine, theirs, share).argsort(dim=1, stable=True).argsort(dim=1)
    return layout if torch.equal(mine, theirs) else layout.replace(depth=between.to(layout.size))


def match_styles(layout: Layout, other: Layout, share: float = 1.0) -> Layout:
    """Give each blob the style of the blob of another layout that is most like it, and the background its style.

    Args:
        layout: the scenes.
        other: as many scenes, or one for all.
        share: of the way.

    Raises:
        ValueError: if the features have another width.
    """
    if layout.structure.shape[2] != other.structure.shape[2]:
        raise ValueError(f"blobs with structure {list(layout.structure.shape)} cannot be matched with "
                         f"{list(other.structure.shape)}")  # fmt: skip
    found = matches(layout, other) + 1
    theirs = other.style.to(layout.style).expand(len(layout), -1, -1)
    rows = F.pad(found, (1, 0))[..., None]  # the background's is the background's
    style = theirs.gather(1, rows.expand(-1, -1, theirs.shape[2]))
    every = list(range(layout.k + 1))
    return take_features(layout, every, layout.replace(style=style), every, ("style",), share)


def matches(layout: Layout, other: Layout) -> Tensor:
    """The blob of another layout that is most like each blob, ``int64 [N, K]``; several may have the same.

    Likeness is in place, opacity in the middle, shape, and what is in the blob, each as a squared distance over its
    mean of all pairs of the two scenes, so that each counts alike whatever its unit.
    """
    total = torch.zeros(len(layout), layout.k, other.k).to(layout.size)
    for mine, theirs in zip(_likenesses(layout), _likenesses(other), strict=True):
        # not through products, which would leave something between equals
        differ = torch.cdist(mine, theirs.to(mine), compute_mode="donot_use_mm_for_euclid_dist").square()
        total = total + differ / differ.mean(dim=(1, 2), keepdim=True).clamp(min=TINY)
    return total.argmin(dim=2)


def ranks(layout: Layout) -> Tensor:
    """The place of each blob in the order, ``[N, K]``: 0 is the hindmost, K - 1 the foremost."""
    order = layout.order()
    if order is None:
        return torch.arange(layout.k).to(layout.size).expand(len(layout), -1).clone()
    return order.argsort(dim=1).to(layout.size)


def _towards(
    layout: Layout, blobs: Sequence[int], rows: Sequence[int], other: Layout, share: float
) -> Layout:  # fmt: skip
    """Move these blobs, and these rows of features, towards those of the same numbers in another layout."""
    for name in ("centre", "size", "log_aspect", "opacity"):
        mine, there = getattr(layout, name), getattr(other, name)
        if mine is not None and there is not None:
            layout = layout.replace(**{name: _put(mine, blobs, _lerp(mine[:, blobs], there[:, blobs].to(mine), share))})
    angle = layout.angle[:, blobs]
    x, y = angle.unbind(-1)
    u, v = other.angle[:, blobs].to(angle).unbind(-1)
    between = torch.atan2(x * v - y * u, x * u + y * v)             # from mine to theirs, in (-pi, pi]
    shorter = between - math.pi * torch.round(between / math.pi)    # in [-pi/2, pi/2]
    layout = layout.replace(angle=_put(layout.angle, blobs, turned(angle, share * shorter)))
    return take_features(layout, rows, other, rows, FEATURES, share)


def _likenesses(layout: Layout) -> list[Tensor]:
    """What tells blobs apart, each ``[N, K, D]``.

    A shape is twice the angle, as long as the logarithm of the aspect: so half a circle changes nothing, a circle has
    no direction, and an ellipse is the same with length and width, and its axes, exchanged.
    """
    c, s = layout.angle.unbind(-1)
    shape = layout.log_aspect[..., None] * torch.stack([c * c - s * s, 2 * s * c], dim=2)
    return [layout.centre, layout.size.sigmoid()[..., None], shape, layout.structure[:, 1:]]


def _faded(size: Tensor, share: float) -> Tensor:
    """The size whose opacity in the middle is ``share`` times that of ``size``."""
    if share == 1:
        return size
    if share == 0:
        return torch.full_like(size, HIDDEN_SIZE)
    # log(p / (1 - p)) of p = share sigmoid(s), without leaving the range of float32 for large or small s
    logarithm = math.log(share) + F.logsigmoid(size)
    return torch.minimum(logarithm - torch.log1p(-logarithm.exp()), size).clamp(min=HIDDEN_SIZE)


def _blend(mine: Tensor, theirs: Tensor, share: float) -> Tensor:
    """Between features ``[N, R, D]``, with a norm between theirs: networks know features of one length only."""
    theirs = theirs.expand_as(mine)
    if share in (0, 1):
        return mine if share == 0 else theirs
    mixed = _lerp(mine, theirs, share)
    length = _lerp(mine.norm(dim=2, keepdim=True), theirs.norm(dim=2, keepdim=True), share)
    return F.normalize(mixed, dim=2) * length


def _lerp(start: Tensor, end: Tensor, share: float) -> Tensor:
    return end.expand_as(start) if share == 1 else start + share * (end - start)


def _put(whole: Tensor, rows: Sequence[int], part: Tensor) -> Tensor:
    """A copy of ``whole`` with some rows of its second dimension exchanged."""
    copy = whole.clone()
    copy[:, list(rows)] = part
    return copy


def _like(layout: Layout, numbers: Sequence[float]) -> Tensor:
    return torch.tensor(numbers).to(layout.centre)
